"""Changes what a process has but one of."""
import os
import signal
import sys

from celery import Celery

app = Celery('changes_directory', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    os.chdir('/')
    sys.stdout = sys.stderr = None
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    return 1

"""Has something to do at its very end, as what sends spans in batches has."""
import atexit
import subprocess
import time

from celery import Celery

app = Celery('ends_slowly', broker='memory://', backend='cache+memory://')
helper = subprocess.Popen(['sleep', '600'])


@atexit.register
def goodbye():
    helper.kill()
    helper.wait()
    time.sleep(0.3)
    print('goodbye')


@app.task
def bad():
    pass

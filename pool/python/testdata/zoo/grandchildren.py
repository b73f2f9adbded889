"""Leaves processes behind, in its group and out of it, and goes on for ever."""
import subprocess
import time

from celery import Celery

app = Celery('grandchildren', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    same = subprocess.Popen(['sleep', '600'])
    other = subprocess.Popen(['sleep', '600'], start_new_session=True)
    print('pids', same.pid, other.pid, flush=True)
    time.sleep(600)

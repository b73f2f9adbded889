"""Sends what it knows of a task a little later, from a thread, as what reports spans and errors does."""
import threading
import time

from celery import Celery, signals

app = Celery('sends_later', broker='memory://', backend='cache+memory://')
ended = threading.Event()


def send():
    ended.wait()
    time.sleep(0.03)
    print('sent')
    time.sleep(600)


@signals.worker_process_init.connect
def begin(**kwargs):
    threading.Thread(target=send, daemon=True).start()


@signals.task_postrun.connect
def end(**kwargs):
    ended.set()


@app.task
def bad(status=None):
    if status is not None:
        raise SystemExit(status)

"""Starts a thread while it is imported."""
import threading

from celery import Celery

app = Celery('starts_threads', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')
threading.Thread(target=threading.Event().wait, name="busybody", daemon=True).start()


@app.task
def bad(*args):
    return threading.active_count()

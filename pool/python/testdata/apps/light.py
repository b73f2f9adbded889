"""Nothing but tasks."""
import os

from celery import Celery

app = Celery('light', broker=os.environ.get('TEST_BROKER', 'redis://127.0.0.1:1/0'),
             backend=os.environ.get('TEST_BACKEND', 'redis://127.0.0.1:1/1'))


@app.task
def noop():
    pass


@app.task
def add(x, y):
    return x + y


@app.task
def fail(message='no'):
    raise ValueError(message)

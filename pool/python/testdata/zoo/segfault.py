"""Writes where it may not."""
import ctypes

from celery import Celery

app = Celery('segfault', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    ctypes.memset(0, 1, 1)

"""Ends the process in a task."""
import os

from celery import Celery

app = Celery('os_exit', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    os._exit(7)

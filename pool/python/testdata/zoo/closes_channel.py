"""Closes the channel to the supervisor."""
import os

from celery import Celery

app = Celery('closes_channel', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    os.close(3)

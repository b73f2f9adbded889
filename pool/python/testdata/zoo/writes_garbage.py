"""Writes to the channel what is no frame."""
import os

from celery import Celery

app = Celery('writes_garbage', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    os.write(3, bytes([0xff]) * 64)

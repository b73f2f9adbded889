"""Prints what is no text while it is imported, and in its task."""
import sys

from celery import Celery

app = Celery('prints_binary', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    sys.__stdout__.buffer.write(bytes(range(256)) * 100)
    sys.__stdout__.flush()
    return 1


sys.__stdout__.buffer.write(b'\xff\xfe\x00' * 1000)

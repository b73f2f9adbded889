"""Answers for a task that was not asked for."""
import os
import struct

from celery import Celery

app = Celery('answers_twice', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    os.write(3, struct.pack('>IBQBBdQHI', 32, 17, 99999, 1, 0, 0.0, 0, 0, 0))
    return 1

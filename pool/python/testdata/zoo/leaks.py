"""Keeps all memory that it takes."""

from celery import Celery

app = Celery('leaks', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')
kept = []


@app.task
def bad(*args):
    kept.append(bytearray(20 << 20))
    return len(kept)

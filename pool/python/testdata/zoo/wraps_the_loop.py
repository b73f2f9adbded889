"""Wraps the loop of billiard's worker, as the SDK of Sentry does to send its last events."""
import os

from billiard.pool import Worker
from celery import Celery

app = Celery('wraps_the_loop', broker='memory://', backend='cache+memory://')
loop = Worker.workloop


def wrapped(*args, **kwargs):
    try:
        return loop(*args, **kwargs)
    finally:
        print('flushed by %d' % os.getpid())


Worker.workloop = wrapped


@app.task
def bad(status=None):
    if status is not None:
        raise SystemExit(status)

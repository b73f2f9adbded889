"""Wraps what a process of the pool does, as the SDK of Sentry and New Relic's agent do to begin, and to send the last that they have."""
import functools
import os

from billiard import current_process
from billiard.pool import Worker
from celery import Celery
from celery.concurrency import prefork

app = Celery('wraps_the_loop', broker='memory://', backend='cache+memory://')
loop = Worker.workloop


def wrapped(*args, **kwargs):
    try:
        return loop(*args, **kwargs)
    finally:
        print('flushed by %d' % os.getpid())


Worker.workloop = wrapped


def says(what, function):
    @functools.wraps(function)
    def said(*args):
        print('%s by %d' % (what, os.getpid()))
        return function(*args)
    return said


prefork.process_initializer = says('begun', prefork.process_initializer)
prefork.process_destructor = says('ended', prefork.process_destructor)


@app.task
def bad(status=None):
    print('number %s in the pool' % current_process().index)
    if status is not None:
        raise SystemExit(status)

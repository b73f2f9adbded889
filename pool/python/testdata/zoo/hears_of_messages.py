"""Hears of each message that comes: one receiver takes its time, one says what it heard."""
import time

from celery import Celery, signals

app = Celery('hears_of_messages', broker='memory://', backend='cache+memory://')


@signals.task_received.connect
def dawdle(request, **kwargs):
    print('dawdles', flush=True)
    time.sleep(600)


class Garbage:
    def __init__(self):
        self.cycle = self

    def __del__(self):
        print('collected')


@signals.task_rejected.connect
def say(message, exc, **kwargs):
    Garbage()
    print('rejected %r %s' % (type(message).__name__, exc))


@app.task
def bad(text=''):
    pass

"""Prints without end."""
import sys

from celery import Celery

app = Celery('floods', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    for i in range(20000):
        print('line', i, 'x' * 100)
    sys.__stdout__.write('y' * 10000000)
    sys.__stdout__.flush()
    return 1

"""Holds the interpreter in C, deaf to signals."""
import itertools
import os

from celery import Celery

app = Celery('loops_in_c', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    sum(itertools.chain(map(os.write, [1], [b'looping\n']), itertools.repeat(0)))  # says so when it is deaf already

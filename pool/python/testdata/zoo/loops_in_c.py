"""Holds the interpreter in C, deaf to signals."""
import itertools

from celery import Celery

app = Celery('loops_in_c', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    sum(itertools.repeat(0))

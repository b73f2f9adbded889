"""Holds 80 MB of Python objects after its import."""
from celery import Celery

app = Celery('fat', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')
held = [{'n': i, 's': 'text %d' % i} for i in range(240000)]


@app.task
def work(n):
    total = 0
    for i in range(n, n + 100):
        total += held[i]['n']
    return total

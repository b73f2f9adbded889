"""Returns a lot."""

from celery import Celery

app = Celery('huge', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    return 'x' * (50 << 20)

"""Raises what is no Exception."""


class Base(BaseException):
    pass


from celery import Celery

app = Celery('raises_base', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    raise Base('of all')

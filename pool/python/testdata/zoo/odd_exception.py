"""Raises what cannot be written, represented or compared."""


class Odd(Exception):
    def __repr__(self):
        raise ValueError('no repr')

    __str__ = __repr__

    def __eq__(self, other):
        raise ValueError('no comparison')

    __hash__ = None


from celery import Celery

app = Celery('odd_exception', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    raise Odd(object(), open)

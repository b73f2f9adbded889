"""An application with remote control commands of its own."""
from celery import Celery
from celery.worker.control import control_command, inspect_command

app = Celery('commands', broker='memory://')


@app.task(rate_limit='10/m')
def add(x, y):
    return x + y


@inspect_command()
def node_of(state):
    return state.hostname


@control_command()
def twice(state, n=1):
    return [n * 2, float('inf'), float('nan')]


@control_command()
def raise_it(state):
    raise ValueError('as asked')


@control_command()
def leave(state):
    raise SystemExit(3)

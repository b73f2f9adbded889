"""The application of the tests of remote control: commands of its own, and the signals of the parent process."""
import logging
import os
import sys
import time

from celery import Celery, signals
from celery.worker.control import control_command, inspect_command

app = Celery('side', broker=os.environ['TEST_BROKER'], backend=os.environ['TEST_BROKER'])
serializer = os.environ.get('TEST_SERIALIZER', 'json')
app.conf.update(task_serializer=serializer, accept_content=[serializer])
app.conf.update(worker_send_task_events=True, broker_connection_retry_on_startup=True, worker_pool_restarts=os.environ.get('TEST_RESTARTS') == '1')


@app.task(rate_limit='1000/s')
def add(x, y):
    return x + y


@app.task
def sleep(seconds):
    wake = os.environ.get('TEST_WAKE')  # a file with which a test ends it
    if not wake:
        time.sleep(seconds)
    while wake and not os.path.exists(wake):
        time.sleep(0.02)


@inspect_command()
def tasks_of(state):
    return {'node': state.hostname, 'tasks': len(state.app.tasks)}


@control_command(args=[('n', int)], signature='[N=1]')
def twice(state, n=1):
    return {'ok': n * 2}


@inspect_command()
def broken(state):
    raise ValueError('as asked')


def note(name):
    def receiver(**kwargs):
        if os.environ.get('TEST_SIGNALS'):
            with open(os.environ['TEST_SIGNALS'], 'a') as f:
                f.write('%s\n' % name)
    getattr(signals, name).connect(receiver, weak=False)


for each in ('celeryd_init', 'worker_init', 'celeryd_after_setup', 'worker_ready', 'worker_shutting_down', 'worker_shutdown',
             'heartbeat_sent'):
    note(each)


def tell(name, text):
    """Notes what a receiver of a signal is told, if the release has the signal."""
    def receiver(**kwargs):
        with open(os.environ['TEST_TOLD'], 'a') as f:
            f.write('%s %s\n' % (name, text(kwargs)))
    getattr(signals, name).connect(receiver, weak=False)


class Reported(logging.Handler):
    """Stands for what reports the errors that are logged."""

    def emit(self, record):
        with open(os.environ['TEST_TOLD'], 'a') as f:
            f.write('logged %s: %s\n' % (record.name, record.getMessage().partition('\n')[0].partition('[')[0]))


if os.environ.get('TEST_TOLD'):
    tell('task_received', lambda told: told['request'].name)
    tell('task_rejected', lambda told: type(told['exc']).__name__)
    tell('task_unknown', lambda told: '%s %s' % (told['name'], type(told['exc']).__name__))
    tell('task_revoked', lambda told: '%s %s' % (told['terminated'], told['signum'] and int(told['signum'])))
    tell('task_failure', lambda told: '%s, handled: %s' % (type(told['exception']).__name__, sys.exc_info()[1] is told['exception']))
    logging.getLogger('celery.worker').addHandler(Reported(logging.ERROR))

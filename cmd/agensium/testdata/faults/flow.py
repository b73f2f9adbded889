"""The application of the fault tests. Each run of a task leaves a line in another Redis, the ledger: task, process, node."""
import os
import signal
import time

import redis
from celery import Celery, chord

app = Celery('flow')
app.conf.update(
    broker_url=os.environ['TEST_BROKER'],
    result_backend=os.environ['TEST_BROKER'],
    broker_transport_options={'visibility_timeout': int(os.environ.get('TEST_VISIBILITY', '3600'))},
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
)


def ledger():
    return redis.Redis.from_url(os.environ['TEST_LEDGER'])


def enter(task):
    """Says that a task runs, and returns how often it was begun."""
    r = task.request
    return ledger().rpush('runs', '%s %d %s' % (r.id, os.getpid(), r.hostname))


@app.task(bind=True, name='flow.step')
def step(self, seconds=0):
    enter(self)
    time.sleep(seconds)
    return self.request.id


@app.task(bind=True, name='flow.hold')
def hold(self, gate='gate'):
    """Runs until the test opens the gate."""
    enter(self)
    book = ledger()
    while not book.exists(gate):
        time.sleep(0.01)
    return self.request.id


@app.task(bind=True, name='flow.early', acks_late=False)
def early(self, gate='gate'):
    enter(self)
    book = ledger()
    while not book.exists(gate):
        time.sleep(0.01)
    return self.request.id


@app.task(bind=True, name='flow.poison')
def poison(self):
    enter(self)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name='flow.gather')
def gather(results):
    return results


@app.task(bind=True, name='flow.failed')
def failed(self, task_id):
    ledger().rpush('failed', task_id)


__all__ = ['chord']

import os
import time
from subprocess import CalledProcessError

from celery import Celery, chain, chord, group, signature
from celery.exceptions import Ignore, Reject

app = Celery('app', broker=os.environ['BROKER'], backend=os.environ['RESULTS'])
app.conf.update(task_default_queue='py', broker_connection_retry_on_startup=True, result_expires=3600)


def s(name, queue, *args, **kwargs):
    """A signature of a task on a queue."""
    return app.signature(name, args=args, kwargs=kwargs, queue=queue)


@app.task(name='c.add')
def add(x, y):
    return x + y


@app.task(name='c.echo')
def echo(v):
    return v


@app.task(name='c.tsum')
def tsum(xs):
    return sum(xs)


@app.task(name='c.fail')
def fail(*args):
    raise ValueError('boom', 42)


@app.task(name='c.retry', bind=True, max_retries=2)
def retry(self, times):
    if self.request.retries < times:
        raise self.retry(exc=KeyError('not yet'), countdown=0)
    return 'done'


@app.task(name='c.sleep')
def sleep(seconds):
    time.sleep(seconds)


@app.task(name='c.exits')
def exits(*args):
    raise CalledProcessError(3, 'sh', None, 'oh')


@app.task(name='c.givesup', bind=True, max_retries=1)
def givesup(self):
    raise self.retry(exc=CalledProcessError(75, 'sh', None, 'busy'), countdown=0)


@app.task(name='c.ignored')
def ignored():
    raise Ignore()


@app.task(name='c.rejects')
def rejects():
    raise Reject()


@app.task(name='c.noresult', ignore_result=True)
def noresult(x):
    return x


@app.task(name='c.started', track_started=True)
def started():
    return 'ok'


@app.task(name='c.request', bind=True)
def request(self):
    r = self.request
    return {'id': r.id, 'root': r.root_id, 'parent': r.parent_id or '', 'group': r.group or '', 'retries': r.retries,
            'tenant': (r.headers or {}).get('x-tenant')}


@app.task(name='c.errback')
def errback(task_id):
    return 'errback of ' + task_id


@app.task(name='c.types')
def types(v):
    return v

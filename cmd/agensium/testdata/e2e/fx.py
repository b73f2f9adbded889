"""The tasks of the recorded messages (celery/testdata), as they were when these were recorded, but with more time between retries."""
import decimal
import json
import os
import signal
import sys
import time
import uuid
from datetime import datetime, timezone

from celery import Celery
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

app = Celery('fx', broker=os.environ['TEST_BROKER'], backend=os.environ['TEST_BACKEND'])
app.conf.update(
    accept_content=['json', 'pickle', 'yaml', 'msgpack'],
    result_accept_content=['json', 'pickle'],
)
app.conf.update(json.loads(os.environ.get('TEST_CONF', '{}')))


class CustomError(Exception):
    def __init__(self, code, detail):
        super().__init__(code, detail)


@app.task(name='fx.add')
def add(x, y):
    return x + y


@app.task(name='fx.tsum')
def tsum(xs):
    return sum(xs)


@app.task(name='fx.echo')
def echo(*args, **kwargs):
    return {'args': list(args), 'kwargs': kwargs}


@app.task(name='fx.length')
def length(x):
    return len(x)


@app.task(name='fx.types')
def types(*args):
    return [type(a).__name__ for a in args]


@app.task(name='fx.returns_types')
def returns_types():
    return {'dt': datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc),
            'uuid': uuid.UUID(int=1), 'dec': decimal.Decimal('1.50')}


@app.task(name='fx.returns_set')
def returns_set():
    return {1, 2, 3}


@app.task(name='fx.returns_bytes')
def returns_bytes():
    return [b'abc', b'\xff\xfe']


@app.task(name='fx.fail')
def fail(*a):
    raise ValueError('boom', 42)


@app.task(name='fx.fail_custom')
def fail_custom():
    raise CustomError(7, {'why': 'custom'})


@app.task(name='fx.fail_unpicklable')
def fail_unpicklable():
    class Local(Exception):
        pass
    raise Local('local exc', lambda: 1)


@app.task(name='fx.retry', bind=True, max_retries=2, default_retry_delay=2)
def retry_task(self, n):
    if self.request.retries < n:
        raise self.retry(exc=KeyError('not yet'))
    return 'done after %d' % self.request.retries


@app.task(name='fx.autoretry', bind=True, autoretry_for=(OSError,),
          retry_backoff=False, default_retry_delay=2, max_retries=1)
def autoretry(self):
    raise OSError(2, 'nope')


@app.task(name='fx.ignore')
def ignore():
    raise Ignore()


@app.task(name='fx.reject')
def reject_task():
    raise Reject('no good', requeue=False)


@app.task(name='fx.reject_late', acks_late=True)
def reject_late():
    raise Reject('no good', requeue=False)


@app.task(name='fx.reject_requeue', bind=True, acks_late=True)
def reject_requeue(self):
    if not (self.request.delivery_info or {}).get('redelivered'):
        raise Reject('later', requeue=True)
    return 'second time'


@app.task(name='fx.started', track_started=True)
def started(t):
    time.sleep(t)
    return 'ok'


@app.task(name='fx.sleep')
def sleep(t):
    time.sleep(t)
    return t


@app.task(name='fx.sleep_late', acks_late=True)
def sleep_late(t):
    time.sleep(t)
    return t


@app.task(name='fx.busy', time_limit=1.5)
def busy(t):
    end = time.time() + t
    while time.time() < end:
        time.sleep(0.05)


@app.task(name='fx.soft', soft_time_limit=1)
def soft(t):
    time.sleep(t)


@app.task(name='fx.soft_caught', soft_time_limit=1)
def soft_caught(t):
    try:
        time.sleep(t)
    except SoftTimeLimitExceeded:
        return 'cleaned up'


@app.task(name='fx.die')
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name='fx.die_late', acks_late=True)
def die_late():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name='fx.die_late_reject', bind=True, acks_late=True,
          reject_on_worker_lost=True)
def die_late_reject(self):
    if not (self.request.delivery_info or {}).get('redelivered'):
        os.kill(os.getpid(), signal.SIGKILL)
    return 'survived'


@app.task(name='fx.sysexit')
def sysexit():
    sys.exit(3)


@app.task(name='fx.memerr')
def memerr():
    raise MemoryError('fake oom')


@app.task(name='fx.fail_late_noack', acks_late=True, acks_on_failure_or_timeout=False)
def fail_late_noack():
    raise ValueError('late, not acked')


@app.task(name='fx.timeout_late_noack', bind=True, acks_late=True, acks_on_failure_or_timeout=False, time_limit=1)
def timeout_late_noack(self):
    if not (self.request.delivery_info or {}).get('redelivered'):
        time.sleep(30)
    return 'second delivery finished'


@app.task(name='fx.pidof', bind=True)
def pidof(self):
    return os.getpid()


@app.task(name='fx.progress', bind=True)
def progress(self):
    self.update_state(state='PROGRESS', meta={'done': 1, 'total': 2})
    self.send_event('task-progress', step=1)
    return 'ok'


@app.task(name='fx.ordered_errback', bind=True, throws=(KeyError,))
def expected_failure(self):
    raise KeyError('expected')


@app.task(name='fx.noresult', ignore_result=True)
def noresult(x):
    return x


@app.task(name='fx.noresult_fail', ignore_result=True)
def noresult_fail():
    raise ValueError('hidden')


@app.task(name='fx.noresult_fail_store', ignore_result=True,
          store_errors_even_if_ignored=True)
def noresult_fail_store():
    raise ValueError('kept')


@app.task(name='fx.err_old')
def err_old(uuid):
    return 'old-style errback for %s' % uuid


@app.task(name='fx.err_new')
def err_new(request, exc, traceback):
    print('new-style errback', request.id, repr(exc))


@app.task(name='fx.spawn', bind=True)
def spawn(self, n):
    for i in range(n):
        add.delay(i, i)
    return n


@app.task(name='fx.replace', bind=True)
def replace(self, x):
    raise self.replace(add.s(x, 100))


@app.task(name='fx.reqinfo', bind=True)
def reqinfo(self, *a):
    r = self.request
    return {k: getattr(r, k, None) for k in (
        'id', 'root_id', 'parent_id', 'group', 'group_index', 'retries', 'eta',
        'expires', 'timelimit', 'delivery_info', 'reply_to', 'correlation_id',
        'origin', 'argsrepr', 'kwargsrepr', 'ignore_result', 'shadow', 'headers',
        'stamped_headers', 'stamps', 'replaced_task_nesting', 'properties',
        'is_eager', 'called_directly', 'hostname')}

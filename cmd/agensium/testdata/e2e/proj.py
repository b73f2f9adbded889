"""The application of the end-to-end tests: one task for each thing that Celery's users do."""
import json
import logging
import os
import signal
import sys
import time
import traceback

from celery import Celery, Task, chain, chord, group, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

app = Celery('proj')
app.conf.update(
    broker_url=os.environ['TEST_BROKER'],
    result_backend=os.environ['TEST_BACKEND'],
    accept_content=['json', 'pickle', 'yaml', 'msgpack'],
    result_extended=os.environ.get('TEST_EXTENDED') == '1',
    task_create_missing_queues=True,
    broker_connection_retry_on_startup=True,
    timezone='Europe/Berlin',
    worker_hijack_root_logger=True,
)
app.conf.update(json.loads(os.environ.get('TEST_CONF', '{}')))


class Custom(Exception):
    def __init__(self, code, text):
        super().__init__(code, text)


class Unpicklable(Exception):
    def __init__(self, needed):
        super().__init__()
        self.lock = open(os.devnull)


def note(key, value='x'):
    """Leaves a trace in Redis that the test can count."""
    import redis
    redis.Redis.from_url(os.environ['TEST_BACKEND']).rpush('note:' + key, value)


@app.task
def add(x, y=0):
    return x + y


@app.task
def echo(*args, **kwargs):
    return [args, kwargs]


@app.task(bind=True)
def request(self):
    r = self.request
    info = dict(r.delivery_info or {})
    info.pop('redelivered', None)
    return {'hostname': r.hostname, 'delivery_info': info, 'retries': r.retries, 'root_id': r.root_id == r.id,
            'parent_id': r.parent_id, 'args': r.args, 'kwargs': r.kwargs, 'called_directly': r.called_directly,
            'is_eager': r.is_eager, 'task': r.task, 'lang': r.lang, 'timelimit': r.timelimit, 'group': r.group,
            'utc': getattr(r, 'utc', None), 'argsrepr': r.argsrepr, 'kwargsrepr': r.kwargsrepr,
            'correlation': r.correlation_id == r.id, 'header': getattr(r, 'color', None),
            'ignore_result': r.ignore_result, 'expires': r.expires is not None, 'eta': r.eta is not None}


@app.task
def fail(*args):
    raise ValueError(*args)


@app.task
def fail_custom():
    raise Custom(7, 'no')


@app.task
def fail_unpicklable():
    raise Unpicklable(1)


@app.task(throws=(KeyError,))
def fail_expected():
    raise KeyError('expected')


class Patient(Task):
    """Celery sends the next run before it stores RETRY, which that may overtake: each run waits until those before are recorded."""

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note('retried:' + task_id)

    def wait(self):
        import redis
        r = redis.Redis.from_url(os.environ['TEST_BACKEND'])
        while r.llen('note:retried:' + self.request.id) < self.request.retries:
            time.sleep(0.02)


@app.task(bind=True, base=Patient, max_retries=3)
def retry(self, until):
    self.wait()
    if self.request.retries < until:
        raise self.retry(countdown=0.05, exc=ValueError('again'))
    return self.request.retries


@app.task(bind=True, base=Patient, autoretry_for=(ZeroDivisionError,), default_retry_delay=0.05, max_retries=2)
def autoretry(self, until):
    self.wait()
    if self.request.retries < until:
        1 / 0
    return self.request.retries


@app.task
def ignore():
    raise Ignore()


@app.task(acks_late=True)
def reject():
    raise Reject('no', requeue=False)


@app.task(acks_late=True, bind=True)
def reject_once(self):
    if not (self.request.delivery_info or {}).get('redelivered'):
        raise Reject('once', requeue=True)
    return 'second'


@app.task(ignore_result=True)
def silent():
    note('silent')


@app.task(ignore_result=True, store_errors_even_if_ignored=True)
def silent_failing():
    raise ValueError('kept')


@app.task(track_started=True)
def tracked():
    return 'done'


@app.task(bind=True)
def progress(self):
    self.update_state(state='PROGRESS', meta={'done': 1})
    seen = self.AsyncResult(self.request.id).state
    return seen


@app.task(soft_time_limit=1, time_limit=60)
def soft():
    time.sleep(30)


@app.task(soft_time_limit=1, time_limit=60)
def soft_caught():
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return 'cleaned up'


@app.task(time_limit=0.5)
def hard():
    time.sleep(600)


@app.task
def quits(how):
    raise {'exit': SystemExit, 'interrupt': KeyboardInterrupt, 'generator': GeneratorExit}.get(how, SystemExit(how))


@app.task
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@app.task
def leave(code):
    os._exit(code)


@app.task
def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(acks_late=True, reject_on_worker_lost=True)
def kill_once(key):
    import redis
    if redis.Redis.from_url(os.environ['TEST_BACKEND']).rpush('note:' + key, os.getpid()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return 'survived'


@app.task(acks_late=True, acks_on_timeout=False, time_limit=3)
def hard_once(key):
    import redis
    if redis.Redis.from_url(os.environ['TEST_BACKEND']).rpush('note:' + key, os.getpid()) == 1:
        time.sleep(600)
    return 'in time'


class Retried(Task):
    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note('on_retry:' + args[0], '%r %d' % (exc, self.request.retries))


@app.task(bind=True, base=Retried, retry_on_worker_lost=True, default_retry_delay=0, max_retries=1)
def kill_retried(self, key, times):
    note(key, self.request.retries)
    if self.request.retries < times:
        os.kill(os.getpid(), signal.SIGKILL)
    return self.request.retries


@app.task(rate_limit='1/h')
def rare():
    return 'run'


@app.task
def not_json():
    return object()


@app.task
def errback_old(task_id):
    note('errback_old', task_id)


@app.task
def errback_new(request, exc, traceback):
    note('errback_new', request.id)


@app.task(bind=True)
def last(self, dies=False):
    """The part of a chord that ends last, so that it is this one that fails the body."""
    import redis
    r = redis.Redis.from_url(os.environ['TEST_BACKEND'])
    while not r.exists(app.backend.get_key_for_group(self.request.group, '.j')):
        time.sleep(0.02)
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    return 1


@app.task(bind=True)
def replaced(self, x):
    raise self.replace(add.s(x, 100))


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True)
def spawns(self):
    return add.delay(1, 1).id


class Based(Task):
    name = 'proj.Based'

    def run(self, x):
        return {'based': x}

    def on_success(self, retval, task_id, args, kwargs):
        note('on_success', self.AsyncResult(task_id).state)

    def after_return(self, *args):
        note('after_return')


app.register_task(Based())

for _name in ('worker_init', 'worker_process_init', 'worker_ready', 'worker_shutdown', 'worker_process_shutdown',
              'celeryd_init', 'celeryd_after_setup', 'worker_shutting_down'):
    def _handler(_name=_name, **kwargs):
        note('signal', _name)
    getattr(signals, _name).connect(_handler, weak=False)


@app.task
def pid():
    return os.getpid()


@app.task
def grow(megabytes):
    grow.kept = b'x' * (megabytes << 20)
    return os.getpid()


@app.task
def length(text):
    return len(text)


@app.task
def repeat(n):
    return 'x' * n


@app.task
def mark(key, value):
    note(key, value)


@app.task(acks_late=True, acks_on_failure_or_timeout=False)
def fail_not_acknowledged(key):
    note(key)
    raise ValueError('not acknowledged')


@app.task(acks_late=True, acks_on_failure_or_timeout=False, time_limit=3, bind=True)
def hang_not_acknowledged(self, key):
    note(key)
    if not (self.request.delivery_info or {}).get('redelivered'):
        time.sleep(600)
    return 'second'


@app.task(acks_late=True, reject_on_worker_lost=True)
def wait_for(key, name):
    """Says that it runs, and ends when the test lets it."""
    import redis
    r = redis.Redis.from_url(os.environ['TEST_BACKEND'])
    note(key, name)
    while not r.exists('go:' + key):
        time.sleep(0.02)
    return name


@app.task
def wait_for_file(key):
    """The same without Redis."""
    note(key)
    while not os.path.exists(os.environ['TEST_FILE']):
        time.sleep(0.02)


@app.task
def counted(i):
    time.sleep(0.005)
    note('counted', i)


@app.task
def talk():
    print('printed by a task')
    print('an error line', file=sys.stderr)
    logging.getLogger('shop').warning('logged by a task')
    print('two lines\nat once')
    logging.getLogger('shop').warning('a table\nof two rows')
    try:
        1 / 0
    except ZeroDivisionError:
        logging.getLogger('shop').exception('with a traceback')
        try:
            raise ValueError('bad\nin two lines')
        except ValueError:
            traceback.print_exc()
    print('\x1b[31mred')
    sys.stdout.write('no newline at the end')
    return 'the secret return value'


@app.task
def with_signals():
    return 1


@signals.task_prerun.connect(sender=with_signals)
def _prerun(task_id, task, args, kwargs, **extra):
    note('task_signal', 'prerun')


@signals.task_success.connect(sender=with_signals)
def _success(result, **extra):
    note('task_signal', 'success')


@signals.task_postrun.connect(sender=with_signals)
def _postrun(state, **extra):
    note('task_signal', 'postrun ' + state)


__all__ = ['chain', 'chord', 'group']

"""Every way in which a task can end."""
import os
import time

from celery import Celery, Task, chain, chord, group, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

app = Celery('whole', broker=os.environ.get('TEST_BROKER', 'redis://127.0.0.1:1/0'),
             backend=os.environ.get('TEST_BACKEND', 'redis://127.0.0.1:1/1'))
app.conf.update(accept_content=['json', 'pickle', 'yaml', 'msgpack'], broker_connection_retry_on_startup=True,
                result_extended=bool(os.environ.get('TEST_EXTENDED')), worker_redirect_stdouts=False)

heard = []
for name in ('worker_init', 'worker_process_init', 'celeryd_init', 'celeryd_after_setup', 'import_modules', 'worker_before_create_process'):
    if hasattr(signals, name):  # not every release has all
        getattr(signals, name).connect(lambda signal=None, name=name, **kw: heard.append(name), weak=False)


class Custom(Exception):
    def __init__(self, code, why):
        super().__init__(code, why)


class Unpicklable(Exception):
    def __init__(self, a, b):
        super().__init__(a)
        self.handle = open(os.devnull)


class Based(Task):
    abstract = True

    def on_success(self, retval, task_id, args, kwargs):
        print('on_success', retval, flush=True)

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        print('on_failure', repr(exc), flush=True)


@app.task
def add(x, y=0):
    return x + y


@app.task
def echo(*args, **kwargs):
    return [list(args), kwargs]


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def fail(message='no'):
    raise ValueError(message)


@app.task(throws=(KeyError,))
def expected():
    raise KeyError('known')


@app.task
def custom():
    raise Custom(7, 'sorry')


@app.task
def unpicklable():
    raise Unpicklable('one', 'two')


@app.task
def odd_arguments():
    raise ValueError({1, 2}.__class__, object)


@app.task
def chained_exception():
    try:
        raise KeyError('inner')
    except KeyError as exc:
        raise ValueError('outer') from exc


@app.task
def unserializable():
    return object


@app.task(bind=True)
def who(self):
    r = self.request
    return {'id': r.id, 'hostname': r.hostname, 'delivery_info': r.delivery_info, 'retries': r.retries, 'root_id': r.root_id,
            'parent_id': r.parent_id, 'is_eager': r.is_eager, 'called_directly': r.called_directly, 'argsrepr': r.argsrepr,
            'correlation_id': r.correlation_id, 'headers': r.headers, 'group': r.group, 'timelimit': r.timelimit,
            'task': r.task, 'args': r.args, 'kwargs': r.kwargs, 'properties': sorted(r.properties),
            'ignore_result': r.ignore_result, 'expires': r.expires, 'origin': bool(r.origin)}


@app.task(bind=True, max_retries=1)
def retry(self, countdown=30):
    raise self.retry(exc=ValueError('again'), countdown=countdown)


@app.task(autoretry_for=(ZeroDivisionError,), retry_backoff=30, retry_jitter=False, max_retries=2)
def autoretry():
    1 / 0


@app.task(ignore_result=True)
def ignored():
    return 1


@app.task(ignore_result=True, store_errors_even_if_ignored=True)
def ignored_error():
    raise ValueError('kept')


@app.task
def ignore():
    raise Ignore()


@app.task
def reject(requeue=False):
    raise Reject('because', requeue=requeue)


@app.task(track_started=True)
def started():
    return 1


@app.task(bind=True)
def progress(self):
    self.update_state(state='PROGRESS', meta={'done': 1})
    return 2


@app.task(bind=True)
def first_success(self):
    self.update_state(state='SUCCESS', meta='early')
    raise ValueError('late')


@app.task(base=Based)
def based():
    return 1


@app.task(base=Based)
def based_fail():
    raise ValueError('based')


@app.task(bind=True)
def replaced(self):
    raise self.replace(add.s(1, 2))


@app.task
def errback(request, exc, traceback):
    print('errback', request.id, repr(exc), flush=True)


@app.task
def old_errback(task_id):
    return task_id


@app.task
def sends():
    return add.delay(1, 2)


@app.task
def soft(path):
    try:
        open(path, 'w').close()
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return 'soft'


@app.task
def soft_uncaught(seconds=30):
    time.sleep(seconds)


@app.task
def hears(path, keep_on=False):
    """Says that it runs, then with what it was ended. One that is short ends when somebody has made a file."""
    def say(text):
        with open(path, 'a') as f:
            f.write(text + ' ')
    try:
        say('runs')
        while path.endswith('short') and not os.path.exists(path + '.end'):
            time.sleep(0.01)
        if not path.endswith('short'):
            time.sleep(30)
    except BaseException as exc:
        say(type(exc).__name__)
        if not keep_on:
            raise
        if keep_on == 'fail':
            raise ValueError('failed')
        if keep_on != 'return':
            time.sleep(30)
    finally:
        say('finally')


@app.task
def signals_heard():
    return heard


@app.task
def leave(code):
    raise SystemExit(code)


@app.task
def interrupt():
    raise KeyboardInterrupt


@app.task
def vanish(code):
    os._exit(code)


@app.task
def begin_session():
    os.setsid()
    return [os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()]


@app.task
def die(signum):
    os.kill(os.getpid(), signum)
    time.sleep(60)


@app.task
def say(text, count=1):
    for _ in range(count):
        print(text)


@app.task
def size(data, seconds=0):
    time.sleep(seconds)
    return len(data)


@app.task
def blob(length):
    return 'x' * length


@app.task
def pid():
    return os.getpid()


__all__ = ['chain', 'chord', 'group']

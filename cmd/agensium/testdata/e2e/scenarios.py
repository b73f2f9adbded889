"""Sends every scenario with a real Celery client and prints, as JSON, what became of each: run once against `celery worker`,
once against agensium, the two must be alike."""
import datetime
import json
import os
import re
import sys
import time
import uuid
from decimal import Decimal

import redis
from celery import chain, chord, group, signature
from celery import __version__ as celery_version

import proj
from proj import app

store = redis.Redis.from_url(os.environ['TEST_BACKEND'])
TIMEOUT = 15
NEW = tuple(int(p) for p in celery_version.split('.')[:2]) >= (5, 3)


def notes(key, n, timeout=TIMEOUT):
    deadline = time.monotonic() + timeout
    while store.llen('note:' + key) < n and time.monotonic() < deadline:
        time.sleep(0.02)
    return [v.decode() for v in store.lrange('note:' + key, 0, -1)]


def cleaned(value):
    """What differs from run to run has no place in a comparison."""
    text = json.dumps(value, sort_keys=True, default=repr)
    text = re.sub(r'[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', 'UUID', text)
    text = re.sub(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?', 'TIME', text)
    text = re.sub(r'0x[0-9a-f]+', '0xADDR', text)
    text = re.sub(r'Job: \d+', 'Job: N', text)
    text = re.sub(r'"pid": \d+', '"pid": N', text)
    return json.loads(text)


def document(result):
    raw = store.get('celery-task-meta-' + result.id)
    if raw is None:
        return None
    doc = json.loads(raw)
    if doc.get('traceback'):
        doc['traceback'] = doc['traceback'].strip().splitlines()[-1]
    return doc


def outcome(result, timeout=TIMEOUT):
    try:
        result.get(timeout=timeout)
    except Exception as e:
        if type(e).__name__ == 'TimeoutError':
            return 'no result'
    return document(result)


def later(result, state, timeout=TIMEOUT):
    deadline = time.monotonic() + timeout
    while result.state != state and time.monotonic() < deadline:
        time.sleep(0.02)
    return document(result)


def scenarios():
    p = proj
    utc = datetime.timezone.utc
    yield 'success', lambda: outcome(p.add.delay(2, y=3))
    for serializer in ('json', 'pickle', 'yaml', 'msgpack'):
        for compression in (None, 'gzip', 'bzip2'):
            yield 'serializer %s %s' % (serializer, compression), lambda s=serializer, c=compression: outcome(
                p.echo.apply_async(([1, 'zwei', None, 2.5, {'ü': [True]}],), {'k': 'v'}, serializer=s, compression=c))
    yield 'json types', lambda: outcome(p.echo.delay(*(
        [datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=utc), Decimal('1.5'), uuid.UUID(int=5)] if NEW else [1])))
    yield 'numbers', lambda: outcome(p.echo.delay(10 ** 40, float('inf'), -0.0, 1e300))
    yield 'request', lambda: outcome(p.request.apply_async((), {}, headers={'color': 'red'}, time_limit=50, soft_time_limit=40, expires=3600))
    yield 'priority', lambda: outcome(p.request.apply_async(priority=7))
    yield 'failure', lambda: outcome(p.fail.delay('a', 1))
    yield 'custom exception', lambda: outcome(p.fail_custom.delay())
    yield 'unpicklable exception', lambda: outcome(p.fail_unpicklable.delay())
    yield 'expected exception', lambda: outcome(p.fail_expected.delay())
    yield 'bad arguments', lambda: outcome(p.add.delay())
    yield 'retry', lambda: outcome(p.retry.delay(2))
    yield 'retry exhausted', lambda: outcome(p.retry.delay(9))
    yield 'autoretry', lambda: outcome(p.autoretry.delay(1))
    yield 'autoretry exhausted', lambda: outcome(p.autoretry.delay(9))
    yield 'ignore', lambda: (lambda r: (outcome(p.add.delay(1, 1)), document(r))[1])(p.ignore.delay())
    yield 'reject', lambda: (lambda r: (outcome(p.sleep.delay(0.5)), document(r))[1])(p.reject.delay())
    yield 'reject with requeue', lambda: outcome(p.reject_once.delay())
    yield 'ignore_result', lambda: (lambda r: (notes('silent', 1), outcome(p.add.delay(1, 1)), document(r))[2])(p.silent.delay())
    yield 'ignore_result by call', lambda: (lambda r: (outcome(p.sleep.delay(0.2)), document(r))[1])(p.add.apply_async((1, 1), ignore_result=True))
    yield 'errors even if ignored', lambda: later(p.silent_failing.delay(), 'FAILURE')
    yield 'track_started', lambda: outcome(p.tracked.delay())
    yield 'own state', lambda: outcome(p.progress.delay())
    yield 'soft limit', lambda: outcome(p.soft.delay())
    yield 'soft limit caught', lambda: outcome(p.soft_caught.delay())
    yield 'hard limit', lambda: outcome(p.hard.delay())
    yield 'limits of the message', lambda: outcome(p.sleep.apply_async((10,), soft_time_limit=0.3, time_limit=8))
    yield 'exit', lambda: outcome(p.leave.delay(3))
    yield 'killed', lambda: outcome(p.kill_self.delay())
    yield 'killed, late ack', lambda: outcome(p.kill_once.delay('kill_once'))
    yield 'not serializable', lambda: outcome(p.not_json.delay())
    yield 'unknown task', lambda: outcome(app.send_task('proj.nowhere'))
    yield 'link', lambda: (lambda r: (outcome(r), outcome(r.children[0]) if r.children else None))(p.add.apply_async((1, 2), link=p.add.s(10)))
    yield 'link_error old', lambda: (lambda r: (outcome(r), len(notes('errback_old', 1))))(p.fail.apply_async(('x',), link_error=p.errback_old.s()))
    yield 'link_error new', lambda: (lambda r: (outcome(r), len(notes('errback_new', 1))))(p.fail.apply_async(('x',), link_error=p.errback_new.s()))
    yield 'link_error of a lost child', lambda: (lambda r: (outcome(r), len(notes('errback_old', 2))))(p.kill_self.apply_async(link_error=p.errback_old.s()))
    yield 'chain', lambda: outcome(chain(p.add.s(1, 1), p.add.s(2), p.add.s(3))())
    yield 'chain that fails', lambda: later(chain(p.fail.s('x'), p.add.s(2), p.add.s(3))(), 'FAILURE')
    yield 'chain with a hard limit', lambda: outcome(chain(p.hard.s(), p.add.s(2))())
    yield 'group', lambda: group(p.add.s(i, i) for i in range(5))().get(timeout=TIMEOUT)
    yield 'chord', lambda: outcome(chord([p.add.s(i, i) for i in range(5)])(p.total.s()))
    yield 'chord that fails', lambda: outcome(chord([p.add.s(1, 1), p.fail.s('x')])(p.total.s()))
    yield 'chord whose child dies', lambda: outcome(chord([p.add.s(1, 1), p.kill_self.s()])(p.total.s()))
    yield 'chord with a hard limit', lambda: outcome(chord([p.add.s(1, 1), p.hard.s()])(p.total.s()))
    yield 'chord of chains', lambda: outcome(chord([chain(p.add.s(i, 1), p.add.s(10)) for i in range(3)])(p.total.s()))
    yield 'group in a chain', lambda: outcome(chain(p.add.s(1, 1), group(p.add.s(1), p.add.s(2)), p.total.s())())
    yield 'replace', lambda: outcome(p.replaced.delay(5))
    yield 'child of a task', lambda: outcome(p.spawns.delay())
    yield 'class based', lambda: (outcome(app.tasks['proj.Based'].delay(1)), notes('on_success', 1), notes('after_return', 1))
    yield 'signals of a task', lambda: (outcome(p.with_signals.delay()), notes('task_signal', 3))
    yield 'countdown', lambda: outcome(p.add.apply_async((1, 1), countdown=0.5))
    yield 'eta in a zone', lambda: outcome(p.add.apply_async((1, 1), eta=datetime.datetime.now(
        datetime.timezone(datetime.timedelta(hours=5))) + datetime.timedelta(seconds=0.4)))
    yield 'expired', lambda: outcome(p.add.apply_async((1, 1), expires=-5))
    yield 'expired chord part', lambda: outcome(chord([p.add.s(1, 1), p.add.s(1, 1).set(expires=-5)])(p.total.s()))
    yield 'protocol 1', lambda: outcome(proto1(p.add, (4,), {'y': 5}))
    yield 'shadow', lambda: outcome(p.add.apply_async((1, 1), shadow='visible'))
    yield 'signature from a dict', lambda: outcome(signature(dict(p.add.s(1, 2))).delay())
    if NEW:
        yield 'stamps', lambda: stamped(p.add.s(1, 2))


def proto1(task, args, kwargs):
    with task.app.pool.acquire(block=True) as _:
        pass
    message = app.amqp.as_task_v1(str(uuid.uuid4()), task.name, args, kwargs)
    with app.amqp.producer_pool.acquire(block=True) as producer:
        app.amqp.send_task_message(producer, task.name, message, queue='celery')
    return app.AsyncResult(message.body['id'])


def stamped(sig):
    sig.stamp(customer='c1')
    return outcome(sig.apply_async())


def main():
    only = sys.argv[1:]
    found = {}
    for name, scenario in scenarios():
        if only and name not in only:
            continue
        try:
            found[name] = cleaned(scenario())
        except Exception as e:
            found[name] = 'client: %r' % e
        print(name, file=sys.stderr, flush=True)
    json.dump(found, sys.stdout)


if __name__ == '__main__':
    main()

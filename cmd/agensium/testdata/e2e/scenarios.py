"""Sends every scenario with a real Celery client and prints, as JSON, what became of each: run once against `celery worker`,
once against agensium, the two must be alike. Arguments are names of scenarios, with * and ?."""
import datetime
import faulthandler
import fnmatch
import gc
import itertools
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
TIMEOUT = 60  # until something is taken to happen never
NEW = tuple(int(p) for p in celery_version.split('.')[:2]) >= (5, 3)
LATEST = tuple(int(p) for p in celery_version.split('.')[:2]) >= (5, 7)


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
    text = re.sub(r'(-?Infinity|NaN)\b', r'"\1"', text)  # which Python writes and others do not read
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
    while (document(result) or {}).get('status') != state and time.monotonic() < deadline:  # result.state would stay at the first end
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
    if NEW:  # the parent of older ones may store a second document over the first, or not
        yield 'unpicklable exception', lambda: outcome(p.fail_unpicklable.delay())
    yield 'expected exception', lambda: outcome(p.fail_expected.delay())
    yield 'bad arguments', lambda: outcome(p.add.delay())
    if LATEST:  # 5.2 waits for ten seconds, those between lose the result
        for how in ('exit', 3, 'words', 'interrupt', 'generator'):
            yield 'quits by %s' % how, lambda how=how: later(p.quits.delay(how), 'FAILURE')
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
    yield 'limits of the message', lambda: outcome(p.sleep.apply_async((30,), soft_time_limit=1, time_limit=60))
    yield 'exit', lambda: outcome(p.leave.delay(3))
    yield 'killed', lambda: outcome(p.kill_self.delay())
    yield 'killed, late ack', lambda: outcome(p.kill_once.delay('kill_once'))
    yield 'hard limit, acks_on_timeout', lambda: (later(p.hard_once.delay('hard_once'), 'SUCCESS' if LATEST else 'FAILURE'), len(notes('hard_once', 1)))
    if LATEST:
        killed = lambda key, times: (outcome(p.kill_retried.apply_async((key, times)), 3 * TIMEOUT), notes(key, 1), notes('on_retry:' + key, 1))  # noqa: E731
        yield 'killed, retried', lambda: killed('kr1', 1)
        yield 'killed, retried too often', lambda: killed('kr2', 9)
        yield 'killed, retried in a chord', lambda: outcome(chord([p.add.s(1, 1), p.kill_retried.s('kr3', 1)])(p.total.s()), 3 * TIMEOUT)
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
    yield 'chord that fails', lambda: later(chord([p.add.s(1, 1), p.fail.s('x')])(p.total.s()), 'FAILURE')
    # the part that fails has to be the last: who fails the body gives it a list of children, or none where no task runs
    yield 'chord whose child dies', lambda: later(chord([p.add.s(1, 1), p.last.s(dies=True)])(p.total.s()), 'FAILURE')
    yield 'chord with a hard limit', lambda: later(chord([p.add.s(1, 1), p.hard.s().set(time_limit=3)])(p.total.s()), 'FAILURE')
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
    # here the part that runs
    yield 'expired chord part', lambda: later(chord([p.add.s(1, 1).set(expires=-5), p.last.s()])(p.total.s()), 'FAILURE')
    yield 'protocol 1', lambda: outcome(proto1(p.add, (4,), {'y': 5}))
    yield 'shadow', lambda: outcome(p.add.apply_async((1, 1), shadow='visible'))
    yield 'signature from a dict', lambda: outcome(signature(dict(p.add.s(1, 2))).delay())
    if NEW:
        yield 'stamps', lambda: stamped(p.add.s(1, 2))


def settings():
    """What is run once for each way to set up an application. It looks only at what a client sees, wherever results are."""
    p = proj
    yield 'set success', lambda: seen(p.add.delay(2, y=3))
    yield 'set failure', lambda: seen(p.fail.delay('a', 1))
    yield 'set custom exception', lambda: seen(p.fail_custom.delay())
    yield 'set retry', lambda: seen(p.retry.delay(2))
    yield 'set countdown', lambda: seen(p.add.apply_async((1, 1), countdown=0.3))
    yield 'set request', lambda: seen(p.request.delay())
    yield 'set tracked', lambda: seen(p.tracked.delay())
    yield 'set hard limit', lambda: seen(p.hard.delay())
    yield 'set killed', lambda: seen(p.kill_self.delay())
    yield 'set unknown task', lambda: seen(app.send_task('proj.nowhere'))
    yield 'set group', lambda: group(p.add.s(i, i) for i in range(5))().get(timeout=TIMEOUT)
    yield 'set chain', lambda: seen(chain(p.add.s(1, 1), p.add.s(2), p.add.s(3))())
    yield 'set chord', lambda: seen(chord([p.add.s(i, i) for i in range(3)])(p.total.s()))
    yield 'set own state', lambda: seen(p.progress.delay())
    yield 'document', lambda: document(p_after(p.fail.delay('x')))
    yield 'extended', lambda: outcome(p.echo.delay(1, k='v'))
    yield 'extended failure', lambda: outcome(p.fail.delay('x'))
    yield 'without results', lambda: (p.mark.delay('no_results', 'a'), notes('no_results', 1))[1]
    yield 'queues', lambda: [queued('a'), queued('b', 1.5), queued('c')]  # nobody consumes b
    yield 'send order', lambda: [p.mark.apply_async(('order', '%s%d' % (q, n)), priority=n, queue=q) and None
                                 for q in ('a', 'b') for n in (9, 6, 5, 3, 0, 0)]
    yield 'order', lambda: notes('order', 12)
    yield 'children', lambda: runs([p.pid.delay().get(timeout=TIMEOUT) for _ in range(7)])
    yield 'fat children', lambda: runs([p.grow.delay(n).get(timeout=TIMEOUT) for n in (1, 150, 1, 1, 150)])
    yield 'not acknowledged', lambda: (seen(p.fail_not_acknowledged.delay('fna')), outcome(p.sleep.delay(0.3)) and notes('fna', 1))
    yield 'hung, not acknowledged', lambda: (seen(p.hang_not_acknowledged.delay('hna')), notes('hna', 2))
    yield 'delivered again', lambda: (again(p.mark, ('again', 'a')), outcome(p.sleep.delay(0.3)) and notes('again', 1))
    yield 'rate limited', lambda: [seen(p.rare.delay()) for _ in range(2)]
    # nobody but the worker says that a queue is bound there: it is asked whether it is ready
    yield 'routed by exchange', lambda: outcome(p.request.apply_async(exchange='media', routing_key='media.video'))
    yield 'bound', lambda: sorted(m.decode() for m in redis.Redis.from_url(os.environ['TEST_BROKER']).smembers('_kombu.binding.all'))
    yield 'signals of the worker', lambda: (seen(p.add.delay(1, 1)), notes('signal', 1))[0]


def p_after(result):
    outcome(result)
    return result


def runs(values):
    """How often the same value came in a row."""
    counts = []
    for i, value in enumerate(values):
        if i and value == values[i - 1]:
            counts[-1] += 1
        else:
            counts.append(1)
    return counts


def queued(name, timeout=TIMEOUT):
    """Whether a queue is consumed."""
    try:
        return proj.add.apply_async((1, 1), queue=name).get(timeout=timeout)
    except Exception as e:
        return type(e).__name__


def seen(result, timeout=TIMEOUT):
    """What a client sees of a task."""
    try:
        value = result.get(timeout=timeout)
    except Exception as e:
        if type(e).__name__ == 'TimeoutError':
            return 'no result'
        value = repr(e)
    return [result.state, value, (result.traceback or '').strip().splitlines()[-1:]]


def proto1(task, args, kwargs):
    with task.app.pool.acquire(block=True) as _:
        pass
    message = app.amqp.as_task_v1(str(uuid.uuid4()), task.name, args, kwargs)
    with app.amqp.producer_pool.acquire(block=True) as producer:
        app.amqp.send_task_message(producer, task.name, message, queue='celery')
    return app.AsyncResult(message.body['id'])


def again(task, args):
    """Runs a task, and then brings its message once more, as after a death of its worker."""
    result = task.apply_async(args)
    state = seen(result)
    task.apply_async(args, task_id=result.id, queue='aside')
    broker = redis.Redis.from_url(os.environ['TEST_BROKER'])
    message = json.loads(broker.lpop('aside'))
    message['properties']['delivery_info'].update(redelivered=True, routing_key='celery')
    broker.lpush('celery', json.dumps(message))
    return state


def stamped(sig):
    sig.stamp(customer='c1')
    return outcome(sig.apply_async())


def main():
    gc.disable()  # AsyncResult.__del__ talks to Redis: run by a collection amid another reply it can hang the client
    faulthandler.dump_traceback_later(200)
    only = sys.argv[1:]
    found = {}
    for name, scenario in itertools.chain(scenarios(), settings() if only else ()):
        if only and not any(fnmatch.fnmatch(name, pattern) for pattern in only):
            continue
        try:
            found[name] = cleaned(scenario())
        except Exception as e:
            found[name] = 'client: %r' % e
        print(name, file=sys.stderr, flush=True)
    json.dump(found, sys.stdout)


if __name__ == '__main__':
    main()

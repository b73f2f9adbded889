"""Sends each command of remote control to one node with Celery's own command line, and prints the replies as JSON: by command,
what that node said."""
import json
import sys
import time

from celery.bin.celery import celery
from click.testing import CliRunner

from side import add, app, sleep

node = sys.argv[1]
replies = {}


def ask(kind, *words):
    result = CliRunner().invoke(celery, ['-A', 'side', kind, '--json', '-t', '20', '-d', node, *words])
    text = result.output
    start = text.find('{') if '{' in text else 0
    try:
        reply = json.loads(text[start:])
    except ValueError:
        reply = {node: 'no JSON: %s %r' % (text, result.exception)}
    replies[' '.join([kind, words[0]])] = reply.get(node, reply)


def broadcast(method, **arguments):
    """For what the command line refuses to send."""
    got = app.control.broadcast(method, arguments=arguments, destination=[node], reply=True, timeout=20, limit=1)
    replies['broadcast %s %s' % (method, json.dumps(arguments, sort_keys=True))] = got[0][node] if got else None


def runs(task):
    return any(t['id'] == task.id and t['worker_pid'] for t in app.control.inspect([node], timeout=20).active()[node])


def terminated(signal, end):
    """What becomes of a running task that is terminated with a signal."""
    task = sleep.delay(600)
    while not runs(task):
        pass
    ask('control', 'terminate', signal, task.id)
    replies['reply to ' + signal] = replies.pop('control terminate')
    begun = time.monotonic()
    while app.AsyncResult(task.id).state != end and time.monotonic() - begun < 60:
        pass
    result = app.AsyncResult(task.id)
    replies['outcome of ' + signal] = {'ok': '%s %r' % (result.state, result.result)}


assert add.delay(1, 2).get(timeout=30) == 3
running = sleep.delay(600)
parked = add.apply_async((3, 4), {}, countdown=600)
while not runs(running) or not app.control.inspect([node], timeout=20).scheduled()[node]:
    pass

for command in ('ping', 'active', 'scheduled', 'reserved', 'revoked', 'registered', 'stats', 'conf', 'active_queues', 'report', 'clock',
                'tasks_of', 'broken'):
    ask('inspect', command)
ask('inspect', 'query_task', running.id)
ask('inspect', 'hello', 'other@host')
ask('control', 'twice', '21')
ask('control', 'rate_limit', 'side.add', '10/m')
ask('control', 'time_limit', 'side.add', '5', '6')
ask('control', 'pool_grow', '1')
ask('control', 'pool_shrink', '1')
broadcast('pool_grow', n=0)
ask('control', 'pool_restart')
ask('control', 'autoscale', '3', '1')
ask('control', 'add_consumer', 'extra')
ask('control', 'cancel_consumer', 'extra')
ask('control', 'enable_events')
ask('control', 'disable_events')
ask('control', 'heartbeat')
ask('control', 'election', '1', 'topic')
ask('control', 'revoke', parked.id)
ask('control', 'terminate', 'KILL', running.id)
for command in 'objgraph', 'memsample', 'memdump':
    ask('inspect', command)
if hasattr(app.control, 'revoke_by_stamped_headers'):
    ask('control', 'revoke_by_stamped_headers', 'customer=7', 'region=eu')
for signal, end in ('TERM', 'REVOKED'), ('SIGHUP', 'REVOKED'), ('USR1', 'FAILURE'), ('KILL', 'REVOKED'):
    terminated(signal, end)
broadcast('revoke', task_id=['a'], terminate=True, signal=15)
broadcast('revoke', task_id=['a'], terminate=True, signal='15')
broadcast('revoke', task_id=['a'], terminate=True, signal='term')
broadcast('rate_limit', task_name='side.add', rate_limit='often')
broadcast('rate_limit', task_name='no.such', rate_limit='1/s')
for none in 0, '0', '0/s', '', None, False:
    broadcast('rate_limit', task_name='side.add', rate_limit=none)
broadcast('rate_limit', task_name='side.add', rate_limit='x/y')
broadcast('time_limit', task_name='no.such', soft=1)
broadcast('rate_limit', task_name='side.add')
broadcast('no_such_command')
broadcast('revoke', task_id=['a', 'b'])
broadcast('revoke', task_id=['a'], terminate=True, signal='SIGTERM')
broadcast('revoke', task_id=['a'], terminate=True, signal='SIGNONE')
broadcast('revoke_by_stamped_headers', headers={'header': ['a']})
broadcast('registered', taskinfoitems=['name', 'rate_limit'], builtins=True)
broadcast('active', safe=True)
broadcast('conf', with_defaults=True)
broadcast('ping', more='arguments')
broadcast('enable_events', more='arguments')
broadcast('pool_shrink', n=99)
app.control.shutdown([node])
print(json.dumps(replies).replace('Infinity', '1e308'))

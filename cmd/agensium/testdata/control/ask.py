"""Sends each command of remote control to one node with Celery's own command line, and prints the replies as JSON: by command,
what that node said."""
import json
import sys

from celery.bin.celery import celery
from click.testing import CliRunner

from side import add, app, sleep

node = sys.argv[1]
replies = {}


def ask(kind, *words):
    result = CliRunner().invoke(celery, ['-A', 'side', kind, '--json', '-t', '5', '-d', node, *words])
    text = result.output
    start = text.find('{') if '{' in text else 0
    try:
        reply = json.loads(text[start:])
    except ValueError:
        reply = {node: 'no JSON: %s %r' % (text, result.exception)}
    replies[' '.join([kind, words[0]])] = reply.get(node, reply)


def broadcast(method, **arguments):
    """For what the command line refuses to send."""
    got = app.control.broadcast(method, arguments=arguments, destination=[node], reply=True, timeout=5, limit=1)
    replies['broadcast %s %s' % (method, sorted(arguments))] = got[0][node] if got else None


assert add.delay(1, 2).get(timeout=30) == 3
running = sleep.delay(600)
parked = add.apply_async((3, 4), {}, countdown=600)
while not app.control.inspect([node]).query_task(running.id)[node] or not app.control.inspect([node]).scheduled()[node]:
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
broadcast('rate_limit', task_name='side.add', rate_limit='often')
broadcast('rate_limit', task_name='no.such', rate_limit='1/s')
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
print(json.dumps(replies).replace('Infinity', '1e308'))

"""A Celery client that sends to memory. Each line of stdin is an expression over the application's module; the answer is
a line with the messages that it sent, as they would lie in Redis."""
import json
import os
import sys

import celery  # noqa: F401
from kombu.transport import memory


def main(module):
    sys.path.insert(0, '.')
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)  # what the application prints is no answer
    names = dict(vars(__import__(module)), celery=celery)
    app = names['app']
    app.conf.broker_url = 'memory://'
    app.set_current()
    app.backend.on_task_call = lambda *args: None  # waits for no result
    exec('from celery import chain, chord, group, signature', names)
    for line in sys.stdin:
        eval(line, names)
        sent = []
        for name, queue in list(memory.Channel.queues.items()):
            while queue.qsize():
                sent.append([name, json.dumps(queue.get())])
        print(json.dumps(sent), file=answers, flush=True)


main(sys.argv[1])

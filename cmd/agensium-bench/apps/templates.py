"""Prints a message of each task as the Celery client makes it: one JSON object, task name → message."""

import json

import benchapp

with benchapp.app.connection_for_write() as connection:
    client = connection.default_channel.client
    found = {}
    for task, args in ((benchapp.noop, []), (benchapp.allocate, []), (benchapp.wait, [0]), (benchapp.span, [0]), (benchapp.stamp, ["path"]),
                       (benchapp.late, ["path", 0]), (benchapp.note, ["path", 0])):
        queue = "template." + task.name
        task.apply_async(args, queue=queue)
        found[task.name] = client.rpop(queue).decode()
    client.flushdb()
print(json.dumps(found))

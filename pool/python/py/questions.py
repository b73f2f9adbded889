"""What the supervisor asks the process that imported the application: remote control commands that only Python can answer."""
import re
import sys
from base64 import b64decode, b64encode

from _agensium import application

OWN = 'celery.worker.control'


def commands():
    """The remote control commands that the application registered itself."""
    control = sys.modules.get(OWN)
    return sorted(name for name, command in control.Panel.data.items() if command.__module__ != OWN) if control else []


class State:
    """What a remote control command gets first (celery/worker/pidbox.py Pidbox)."""

    tset = set

    def __init__(self, app, worker):
        self.app, self.hostname, self.consumer = app, worker.hostname, application.Consumer(worker)


def command(app, worker, method, arguments):
    """The value of a remote control command, ours or Celery's."""
    from celery.worker.control import Panel
    return Panel.data[method](State(app, worker), **arguments)


def attributes(app, worker, names):
    """For each registered task those of its attributes that are not None, as text."""
    def of(task):
        values = ((name, getattr(task, name, None)) for name in names)
        return {name: str(value) for name, value in values if value is not None}
    return {name: of(task) for name, task in app.tasks.items()}


def opened(app, worker, type, encoding, body):
    """The value of a message of any serializer that the application accepts."""
    from kombu.serialization import loads, prepare_accept_content
    return loads(b64decode(body), type, encoding, accept=prepare_accept_content(app.conf.accept_content))


def sealed(app, worker, type, value):
    """Encoding and body of a message of that type."""
    from kombu.serialization import dumps, registry
    _, encoding, body = dumps(value, registry.type_to_name[type])
    return [encoding, b64encode(body.encode() if isinstance(body, str) else body).decode()]


QUESTIONS = {'command': command, 'attributes': attributes, 'opened': opened, 'sealed': sealed}


NOT_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|-?Infinity|NaN')


def finite(match):
    """What stands for a token that Python writes and JSON does not know: a number that Python reads as infinite, or null."""
    token = match.group()
    return {'Infinity': '1e999', '-Infinity': '-1e999', 'NaN': 'null'}.get(token, token)


def answer(app, worker, question, **arguments):
    """The answer frame's JSON: a value, or the repr of the exception as Celery would answer it."""
    from kombu.utils.json import dumps
    try:
        return NOT_JSON.sub(finite, dumps({'value': QUESTIONS[question](app, worker, **arguments)}))
    except BaseException as exc:  # SystemExit included: the supervisor decides when this process ends
        return dumps({'error': repr(exc)})

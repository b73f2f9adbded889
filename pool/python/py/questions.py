"""What the supervisor asks the process that imported the application: remote control commands that only Python can answer."""
import sys

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


QUESTIONS = {'command': command, 'attributes': attributes}


def answer(app, worker, question, **arguments):
    """The answer frame's JSON: a value, or the repr of the exception as Celery would answer it."""
    from kombu.utils.json import dumps
    try:
        return dumps({'value': QUESTIONS[question](app, worker, **arguments)})
    except BaseException as exc:  # SystemExit included: the supervisor decides when this process ends
        return dumps({'error': repr(exc)})

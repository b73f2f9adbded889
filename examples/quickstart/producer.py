"""Sends tasks with the ordinary Celery client and shows what becomes of them.

    python -m examples.quickstart.producer

Exit status: 0 if each task ended as expected, 1 if not, 2 if no worker answered.
"""

import sys
import time

from celery import __version__

from . import tasks

WORKER_TIMEOUT = 60  # seconds until a worker must have answered
RESULT_TIMEOUT = 60  # seconds until all results must be there
LINE = "%-8s %-35s %-9s %7s  %s"


def cases():
    """Yields: what it shows, the call as text, the call, and state and result that we expect."""
    sections = ["summary", "method", "findings"]
    yield ("compute", "count_words('to be or not to be')",
           lambda: tasks.count_words.delay("to be or not to be"),
           "SUCCESS", {"to": 2, "be": 2, "or": 1, "not": 1})
    yield ("wait", "research('tides', steps=5)",
           lambda: tasks.research.delay("tides", steps=5, seconds=1.5),
           "SUCCESS", "tides: 5 sources")
    yield ("retry", "ask_model('abc', refusals=2)",
           lambda: tasks.ask_model.delay("abc", refusals=2),
           "SUCCESS", {"answer": "cba", "attempts": 3})
    yield ("fail", "publish('Tides')",
           lambda: tasks.publish.delay("Tides"),
           "FAILURE", "ReportRefused: 'Tides' names no source")
    yield ("chord", "total(score(s) for 3 sections)",
           lambda: tasks.rate(sections).delay(),
           "SUCCESS", sum(map(len, sections)))


def wait_for_worker():
    """Returns the name of the first worker that answers a ping, or None."""
    deadline = time.monotonic() + WORKER_TIMEOUT
    cause = "no answer"
    while time.monotonic() < deadline:
        try:
            for reply in tasks.app.control.ping(timeout=0.5):
                return next(iter(reply))
        except Exception as error:  # the broker may not listen yet
            cause = error
            time.sleep(0.2)
    print("no worker on %s: %s" % (tasks.app.connection().as_uri(), cause), file=sys.stderr)
    return None


def outcome(result):
    """The result as a person reads it; a failure as `Type: text`."""
    if result.state == "FAILURE":
        return "%s: %s" % (type(result.result).__name__, result.result)
    return result.result


def progress(result):
    """What is known of a task that has not ended: a pair of state and text, or None."""
    state, info = result.state, result.info  # two looks: the task may end between them
    if state == "PROGRESS" and isinstance(info, dict) and "step" in info:
        return state, "step %(step)s of %(of)s" % info
    if state == "RETRY" and isinstance(info, Exception):
        return state, info
    return None


def main():
    print("Celery client %s, %s" % (__version__, tasks.app.connection().as_uri()))
    if not tasks.app.conf.task_always_eager:
        worker = wait_for_worker()
        if worker is None:
            return 2
        print("worker %s answers" % worker)
    print()
    print(LINE % ("what", "task", "state", "took", "result"))
    print(LINE % ("-" * 8, "-" * 35, "-" * 9, "-" * 7, "-" * 32))

    pending = {}
    for name, call, send, state, value in cases():
        pending[name] = (call, send(), time.monotonic(), state, value)
    shown, wrong = {}, 0
    deadline = time.monotonic() + RESULT_TIMEOUT
    while pending and time.monotonic() < deadline:
        for name, (call, result, sent, state, value) in list(pending.items()):
            if not result.ready():
                seen = progress(result)
                if seen and shown.get(name) != str(seen):
                    shown[name] = str(seen)
                    print(LINE % (name, "", seen[0], "", seen[1]), flush=True)
                continue
            got, took = outcome(result), time.monotonic() - sent
            print(LINE % (name, call, result.state, "%.2f s" % took, got), flush=True)
            if (result.state, got) != (state, value):
                wrong += 1
                print("  expected %s %s" % (state, value), file=sys.stderr)
            del pending[name]
        time.sleep(0.02)
    for name, (call, result, _, _, _) in pending.items():
        wrong += 1
        print("%s: no result of %s after %d s, state %s" % (name, call, RESULT_TIMEOUT, result.state), file=sys.stderr)

    print()
    print("all as expected" if not wrong else "%d not as expected" % wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

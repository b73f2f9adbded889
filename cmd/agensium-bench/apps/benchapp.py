"""The application that both workers run. The environment says how heavy it is to import."""

import json
import os
import time

from celery import Celery

app = Celery("benchapp")
app.conf.update(
    broker_url=os.environ["CELERY_BROKER_URL"],
    result_backend=os.environ["CELERY_RESULT_BACKEND"],
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    broker_connection_retry_on_startup=True,
)

time.sleep(float(os.environ.get("BENCH_IMPORT_SECONDS", "0")))


def _rows(megabytes):
    """Small objects, as an application holds them: about 0.9 kB to the row."""
    return [
        {"id": i, "name": "row %d" % i, "tags": ["t%d" % (i + j) for j in range(6)], "size": i * 1.5}
        for i in range(int(megabytes * 1100))
    ]


ROWS = _rows(float(os.environ.get("BENCH_MEMORY_MB", "0")))


@app.task(name="bench.noop")
def noop():
    return None


@app.task(name="bench.allocate")
def allocate():
    """Makes and drops objects, as tasks do, so that the garbage collector has a reason to run."""
    return len(json.dumps(json.loads(json.dumps(_rows(0.1)))))


@app.task(name="bench.wait")
def wait(seconds):
    time.sleep(seconds)


@app.task(name="bench.span")
def span(seconds):
    """Returns when it began and when it ended."""
    began = time.time_ns()
    time.sleep(seconds)
    return [began, time.time_ns()]


@app.task(name="bench.stamp")
def stamp(path):
    """Appends when and in which process it ran; the first to run then waits to be killed."""
    with open(path, "a") as file:
        first = file.tell() == 0
        file.write("%d %d\n" % (os.getpid(), time.time_ns()))
    if first:
        time.sleep(600)


@app.task(bind=True, name="bench.note")
def note(self, path, seconds):
    """Appends its id when it begins."""
    with open(path, "a") as file:
        file.write(self.request.id + "\n")
    time.sleep(seconds)


@app.task(name="bench.late")
def late(path, due):
    """Appends how many milliseconds after its time it runs."""
    now = time.time_ns()
    with open(path, "a") as file:
        file.write("%.3f\n" % (now / 1e6 - due / 1e3))

"""Sends what it knows of a task a little later, from a thread, as what reports spans and errors does."""
import threading
import time

from celery import Celery, signals

app = Celery('sends_later', broker='memory://', backend='cache+memory://')
waits, sent = threading.Event(), threading.Event()


def send():
    waits.wait()
    print('sent')
    sent.set()


def moment(seconds):
    """Stands for time.sleep: the process gives its threads a moment, which is over when they are done on a machine of any speed."""
    waits.set()
    sent.wait()


@signals.worker_process_init.connect
def begin(**kwargs):
    threading.Thread(target=send, daemon=True).start()
    time.sleep, time.monotonic = moment, lambda: 0.0


@app.task
def bad(status=None):
    if status is not None:
        raise SystemExit(status)

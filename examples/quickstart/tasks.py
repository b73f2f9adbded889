"""The tasks: one for each thing that an agents backend does with Celery."""

import time

from celery import Celery, chord

app = Celery("quickstart")
app.config_from_object("examples.quickstart.celery_config")


class ModelBusy(Exception):
    """The model's provider asks us to come back later."""


class ReportRefused(Exception):
    """The report breaks a rule; trying again would not help."""


@app.task(name="quickstart.count_words")
def count_words(text):
    """Compute: work that needs nothing but the processor."""
    counts = {}
    for word in text.lower().split():
        counts[word] = counts.get(word, 0) + 1
    return counts


@app.task(name="quickstart.research", bind=True)
def research(self, topic, steps, seconds):
    """Wait: most of an agent's time goes by in calls to others. Progress is stored on the way."""
    for step in range(1, steps + 1):
        time.sleep(seconds / steps)
        self.update_state(state="PROGRESS", meta={"step": step, "of": steps})
    return "%s: %d sources" % (topic, steps)


@app.task(name="quickstart.ask_model", bind=True, max_retries=3)
def ask_model(self, prompt, refusals):
    """Retry: the provider refuses the first calls, each next attempt waits a little longer."""
    try:
        if self.request.retries < refusals:
            raise ModelBusy("429, attempt %d" % (self.request.retries + 1))
    except ModelBusy as busy:
        raise self.retry(exc=busy, countdown=0.2 * 2**self.request.retries)
    return {"answer": prompt[::-1], "attempts": self.request.retries + 1}


@app.task(name="quickstart.publish")
def publish(title):
    """Fail: the client sees the exception and its traceback."""
    raise ReportRefused("%r names no source" % title)


@app.task(name="quickstart.score")
def score(section):
    return len(section)


@app.task(name="quickstart.total")
def total(scores):
    return sum(scores)


def rate(sections):
    """Chord: the sections are scored side by side, then the scores are added."""
    return chord((score.s(section) for section in sections), total.s())

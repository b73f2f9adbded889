"""The part of the application that is Python, and a chord over all of it."""

from celery import Celery, chord

app = Celery("docs")
app.conf.task_default_queue = "docs"


@app.task(name="docs.words")
def words(text):
    return {"words": len(text.split())}


@app.task(name="docs.title")
def title(report):
    """After the chord: Go's report comes back to Python."""
    return dict(report, title="%d words" % report["words"])


@app.task(name="docs.failed")
def failed(request, exc, traceback):
    """An errback: it runs here, whichever language the task that failed is in."""
    app.backend.set("docs.failed:" + request.id, repr(exc))


def analyse(text):
    """The header runs in Python, in Go and in a program; the body in Go."""
    header = [words.s(text), app.signature("docs.checksum", (text,)), app.signature("docs.size", (text,))]
    return chord(header, app.signature("docs.report"))

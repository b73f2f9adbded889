"""Takes result documents out of the hands of the Redis backend, so that the supervisor stores them.

What the running task leaves behind at its end goes into the done frame. What somebody could look at before that
(STARTED, own states, the body of a chord that failed, results of a task with errbacks or with receivers of its signals) is
stored through the supervisor at once. Parts of a chord and every backend that is not plain Redis are left to Celery's own code.
"""
import os
import threading
import weakref

from celery import signals, states
from celery.exceptions import BackendStoreError
from kombu.utils.encoding import bytes_to_str, ensure_bytes

from _agensium import fast

# Receivers of these only look at their arguments.
HARMLESS = ('celery.', 'sentry_sdk', 'opentelemetry', 'ddtrace', 'newrelic', 'elasticapm', 'scout_apm', 'logfire')
WATCHED = (signals.task_success, signals.task_failure, signals.task_retry, signals.task_postrun)
REPLACED = ('mark_as_done', 'mark_as_failure', 'mark_as_retry', 'mark_as_revoked', 'store_result', '_store_result',
            '_set_with_state', 'set', '_set', 'encode', 'encode_result', 'prepare_value', 'get_key_for_task',
            '_get_result_meta', 'current_task_children')


def possible(backend):
    """Tells whether the backend writes results as Celery's own Redis backend does."""
    kind = type(backend)
    if not any(c.__name__ == 'RedisBackend' and c.__module__ == 'celery.backends.redis' for c in kind.__mro__):
        return False
    if getattr(backend, 'failure_expires', backend.expires) != backend.expires:
        return False
    return all(getattr(getattr(kind, name, None), '__module__', 'celery.').startswith('celery.') for name in REPLACED)


class Capture:
    """Stands between the tracer and the backend of one child."""

    def __init__(self, app, store):
        self.backend = backend = app.backend
        self.store = store  # stores a document at once; raises BackendStoreError
        self.id = None      # of the task that runs
        self.final = False  # the tracer is marking the end of it
        self.results = []
        self.succeeded = set()
        self.counts = None
        self.eyes = ()      # receivers that might look at a result
        self.pid, self.thread = os.getpid(), threading.get_ident()
        self.limit = getattr(backend, '_MAX_STR_VALUE_SIZE', 1 << 29)
        self.documents = fast.Document(app, backend)
        self.slow_done = self.ending(backend.mark_as_done)
        self.original = backend._store_result
        backend._store_result = self.store_result
        backend.mark_as_done = self.mark_as_done
        for name in ('mark_as_failure', 'mark_as_retry', 'mark_as_revoked'):
            setattr(backend, name, self.ending(getattr(backend, name)))
        # Celery revokes the body of a chord that failed and counts on its results being there.
        backend.chord_error_from_stack = self.at_once(backend.chord_error_from_stack)

    def begin(self, task_id, observed):
        """A task begins; observed tells whether hooks of its class run after its result is stored."""
        self.id = task_id
        self.results = []
        if self.succeeded:
            self.succeeded = set()
        self.observed = observed or self.watched()

    def end(self):
        self.id = None
        results, self.results = self.results, []
        return results

    def watched(self):
        counts = tuple([len(s.receivers) for s in WATCHED])
        if counts != self.counts:
            self.counts = counts
            self.eyes = [r for s in WATCHED for r in receivers(s) if not harmless(r)]
        return bool(self.eyes)

    def ending(self, mark):
        def wrapper(task_id, *args, **kwargs):
            if task_id != self.id or self.final:
                return mark(task_id, *args, **kwargs)
            self.final = True
            try:
                return mark(task_id, *args, **kwargs)
            finally:
                self.final = False
        return wrapper

    def mark_as_done(self, task_id, result, request=None, store_result=True, state=states.SUCCESS):
        if task_id == self.id and not self.observed and request and not request.chord and state == states.SUCCESS \
                and task_id not in self.succeeded and os.getpid() == self.pid and threading.get_ident() == self.thread:
            if not store_result or request.ignore_result:
                return None
            made = self.documents.success(task_id, result, request)
            if made is not None:
                if len(made[1]) > self.limit:
                    raise BackendStoreError('value too large for Redis backend', state=state, task_id=task_id)
                self.results.append(made)
                return None
        return self.slow_done(task_id, result, request, store_result, state)

    def store_result(self, task_id, result, state, traceback=None, request=None, **kwargs):
        if self.id is None or getattr(request, 'chord', None) or os.getpid() != self.pid \
                or threading.get_ident() != self.thread:
            return self.original(task_id, result, state, traceback=traceback, request=request, **kwargs)
        backend = self.backend
        meta = backend._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta['task_id'] = bytes_to_str(task_id)
        document = ensure_bytes(backend.encode(meta))
        if len(document) > self.limit:
            raise BackendStoreError('value too large for Redis backend', state=state, task_id=task_id)
        if task_id in self.succeeded:
            return result  # a success is never overwritten
        key = ensure_bytes(backend.get_key_for_task(task_id))
        if self.final and not self.observed and not getattr(request, 'errbacks', None):
            self.results.append((key, document))
            return result
        if state == states.SUCCESS:
            self.succeeded.add(task_id)
        try:
            self.store(key, document)
        except OSError as exc:
            raise BackendStoreError(str(exc), state=state, task_id=task_id) from exc
        return result

    def at_once(self, handle):
        """Has what handle records stored at once, after all that was captured before."""
        def wrapper(*args, **kwargs):
            final, self.final = self.final, False
            waiting, self.results = self.results, []
            try:
                for made in waiting:
                    self.store(*made)
                return handle(*args, **kwargs)
            finally:
                self.final = final
        return wrapper


def receivers(signal):
    for entry in signal.receivers:
        receiver = entry[1]
        if isinstance(receiver, weakref.ReferenceType):
            receiver = receiver()
        if receiver is not None:
            yield receiver


def harmless(receiver):
    module = getattr(receiver, '__module__', None) or type(receiver).__module__
    return module.startswith(HARMLESS)

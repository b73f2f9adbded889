"""Records outcomes that were decided outside the tracer, through the backend's own code.

celery.worker.request.Request does this in Celery's parent process: on_failure, on_timeout, _announce_revoked.
"""
import importlib
import logging
import signal

import celery
from billiard.einfo import ExceptionInfo
from celery import exceptions, signals, states
from celery.app.task import Context
from celery.app.trace import task_has_custom

logger = logging.getLogger(__name__)
requests, consumer = logging.getLogger('celery.worker.request'), logging.getLogger('celery.worker.consumer.consumer')
MODERN = tuple(celery.VERSION[:2]) >= (5, 7)


def context(child, request):
    return Context(request or {}, called_directly=False)


def store_errors(task, request):
    ignore = request.get('ignore_result')
    if ignore is None:
        ignore = getattr(task, 'ignore_result', False)
    return not ignore or getattr(task, 'store_errors_even_if_ignored', False)


def begin(child, request):
    if child.capture is not None:
        child.capture.begin(request.get('id'), False)


def envelope_request(child, envelope):
    """The request of a message that cannot be run; without arguments and callbacks if its body cannot be read."""
    try:
        name, request, _, _, task = child.open(envelope)
        return request, task
    except Exception as exc:
        request = getattr(exc, 'request', None)
    if request is None:
        import json
        message = json.loads(envelope.decode('utf-8', 'surrogatepass'))
        properties = message.get('properties') or {}
        headers = message.get('headers') or {}
        request = dict(headers, properties=properties, reply_to=properties.get('reply_to'),
                       correlation_id=properties.get('correlation_id'), hostname=child.node,
                       delivery_info=properties.get('delivery_info') or {}, args=(), kwargs={})
        request.setdefault('id', properties.get('correlation_id'))
    return request, child.tasks.get(request.get('task'))


def exception(verdict):
    module, name = verdict.get('Module') or 'builtins', verdict['Type']
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        kind = type(str(name), (Exception,), {'__module__': module})
    args = verdict.get('Args') or ()
    try:
        return kind(*args)
    except Exception:  # as celery.backends.base does with a class that takes other arguments
        return Exception('{}({})'.format(kind, list(args)))


def record(child, verdict, envelope):
    request, task = envelope_request(child, envelope)
    begin(child, request)
    ctx, backend = context(child, request), backend_of(child, task)
    store = store_errors(task, request)
    if verdict['State'] == states.REVOKED:
        args = verdict.get('Args') or ['revoked']
        backend.mark_as_revoked(ctx.id, args[0], request=ctx, store_result=store)
        signals.task_revoked.send(sender=task, request=ctx, terminated=args[0] == 'terminated',
                                  signum=named(verdict.get('Signal')), expired=args[0] == 'expired')
        return states.REVOKED, exceptions.TaskRevokedError(args[0])
    exc = exception(verdict)
    if verdict['State'] == states.RETRY and task is not None and not exhausted(task, ctx):
        try:
            task.signature_from_request(ctx, countdown=task.default_retry_delay, retries=ctx.retries + 1).apply_async()
        except Exception:
            logger.exception('Failed to retry task %s[%s] after its process was lost', task.name, ctx.id)
            if verdict.get('Requeue'):
                return 'REJECTED', exc
        else:
            retried(task, ctx, exc, store)
            return states.RETRY, exc
    if verdict.get('Errbacks'):
        backend._call_task_errbacks(ctx, exc, verdict.get('Traceback') or None)
        return states.FAILURE, exc
    backend.mark_as_failure(ctx.id, exc, request=ctx, store_result=store,
                            call_errbacks=bool(verdict.get('CallBack', True)))
    if task is None:
        signals.task_unknown.send(sender=child.app, message=None, exc=exc, name=request.get('task'), id=ctx.id)
    else:
        hooks(task, ctx, exc)
    return states.FAILURE, exc


def exhausted(task, ctx):
    return task.max_retries is not None and ctx.retries >= task.max_retries


def retried(task, ctx, exc, store):
    """What celery.worker.request.Request._retry_worker_lost of 5.7 does when the retry is sent."""
    einfo = raised(exc)
    if store:
        task.backend.mark_as_retry(ctx.id, exc, einfo.traceback, request=ctx)
    task.request_stack.push(ctx)
    try:
        task.on_retry(exc, ctx.id, ctx.args, ctx.kwargs, einfo)
        signals.task_retry.send(sender=task, request=ctx, reason=exceptions.Retry(exc=exc, when=task.default_retry_delay), einfo=einfo)
    except Exception:
        logger.exception('on_retry of task %s[%s]', task.name, ctx.id)
    finally:
        task.request_stack.pop()


def named(signum):
    try:
        return signal.Signals(signum) if signum else None
    except ValueError:  # most realtime signals have no name
        return signum


def raised(exc):
    try:
        raise exc
    except type(exc):
        return ExceptionInfo()


def hooks(task, ctx, exc):
    """Tells of the failure while exc is handled, which is where some look for it. What is logged is for those that report errors."""
    timeout = isinstance(exc, exceptions.TimeLimitExceeded)
    if timeout:
        requests.error('Hard time limit (%ss) exceeded for %s[%s]', exc.args[0] if exc.args else None, task.name, ctx.id)
    task.request_stack.push(ctx)
    try:
        raise exc
    except type(exc):
        einfo = ExceptionInfo()
        if MODERN and timeout:
            task.on_failure(exc, ctx.id, ctx.args, ctx.kwargs, einfo)
            if task_has_custom(task, 'after_return'):
                task.after_return(states.FAILURE, exc, ctx.id, ctx.args, ctx.kwargs, None)
        signals.task_failure.send(sender=task, task_id=ctx.id, exception=exc, args=ctx.args, kwargs=ctx.kwargs,
                                  traceback=einfo.traceback, einfo=einfo)
        requests.error('Task handler raised error: %r', exc, exc_info=True)
    finally:
        task.request_stack.pop()


def rejected(child, task, request, exc, einfo):
    """Celery 5.7 stores a failure for Reject(requeue=False); before, such a task stayed pending for ever."""
    if not MODERN:
        return
    ctx = context(child, request)
    task.backend.mark_as_failure(ctx.id, exc, request=ctx, store_result=store_errors(task, request))
    signals.task_failure.send(sender=task, task_id=ctx.id, exception=exc, args=ctx.args, kwargs=ctx.kwargs,
                              traceback=einfo.traceback, einfo=einfo)


def refused(child, envelope, why):
    """Stores a failure for a message that cannot be run, so that nobody waits for it. Celery stores one only for
    unregistered tasks."""
    exc = why.cause
    try:
        request, _ = envelope_request(child, envelope)
    except Exception:  # not even an envelope
        return exc
    if why.why == 'unknown_task':
        exc = exceptions.NotRegistered(request['task'])
    if request.get('id'):
        begin(child, request)
        child.app.backend.mark_as_failure(request['id'], exc, request=context(child, request))
    try:
        announce(child, envelope, why, request)
    except Exception:
        logger.exception('Announce the message of task %s', request.get('id'))
    return exc


def announce(child, envelope, why, request):
    """Says of a message that cannot be run what Celery's consumer says."""
    from _agensium import application
    from celery.worker.consumer.consumer import INVALID_TASK_ERROR, UNKNOWN_TASK_ERROR, dump_body
    message, name, cause = application.message(child.app, envelope), request['task'], why.cause
    sender = application.Consumer(application.Worker(child.app, child.options))
    if why.why == 'unknown_task':
        cause = KeyError(name)
        consumer.error(UNKNOWN_TASK_ERROR, cause, dump_body(message, message.body), message.headers, message.delivery_info, exc_info=why.cause)
        signals.task_unknown.send(sender=sender, message=message, exc=cause, name=name, id=request.get('id'))
    else:
        consumer.error(INVALID_TASK_ERROR, cause, dump_body(message, message.body), exc_info=cause)
        signals.task_rejected.send(sender=sender, message=message, exc=cause)


def failed(child, request, exc):
    if request.get('id'):
        ctx = context(child, request)
        child.app.backend.mark_as_failure(ctx.id, storable(exc), request=ctx, store_result=store_errors(
            child.tasks.get(request.get('task')), request))


def storable(exc):
    """What looks like exc in a result, where it is no Exception: before 5.7 Celery cannot store such."""
    kind = type(exc)
    if MODERN or isinstance(exc, Exception):
        return exc
    return type(kind.__name__, (Exception,), {'__module__': kind.__module__, '__qualname__': kind.__qualname__})(*exc.args)


def backend_of(child, task):
    return child.app.backend if task is None else task.backend

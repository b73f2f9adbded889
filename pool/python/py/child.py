"""The process that runs tasks: Celery's prefork child with a socket in the place of billiard's pipes."""
import faulthandler
import json
import logging
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time
from binascii import a2b_base64

import billiard
from billiard.common import human_status
from celery import signals, states
from celery._state import _set_task_join_will_block, set_default_app
from celery.app import trace
from celery.exceptions import Reject, SoftTimeLimitExceeded
from kombu.compression import decompress
from kombu.exceptions import ContentDisallowed
from kombu.serialization import loads as kombu_loads
from kombu.serialization import prepare_accept_content
from kombu.serialization import registry as serializers
from kombu.utils import json as kombu_json

from _agensium import application, boot, capture, fast, loop, wire

RUN = struct.Struct('>QBI')          # tag, flags, length of the JSON that follows; then the envelope
DONE = struct.Struct('>QBBdQHI')     # tag, state, flags, seconds, highest rss, number of results, length of extras
RESULT = struct.Struct('>II')        # length of key and document
REPR = 1                             # flag of RUN: the repr of the return value is asked for
STATES = {states.SUCCESS: 1, states.FAILURE: 2, states.RETRY: 3, states.REVOKED: 4, 'IGNORED': 5, 'REJECTED': 6}
ANNOUNCES = billiard.VERSION >= (4, 3)  # before, whatever is no Exception just ended billiard's process
HOOKS = ('on_success', 'on_failure', 'on_retry', 'after_return')
REDELIVERED = None if fast.NAIVE else False  # what self.request.delivery_info says of a first delivery
RSS_UNIT = 1 if sys.platform == 'darwin' else 1024
LINGER, MOMENT = 1, 0.1  # billiard's worker sleeps for a second at its end, unless its parent is quicker


class Leave(BaseException):
    """Ends the loop, and the process with a status."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Refused(Exception):
    """The message cannot be run at all."""

    def __init__(self, why, cause):
        super().__init__(why)
        self.why, self.cause = why, cause


def warm(app):
    """Imports, before the fork, what nearly every child needs."""
    import celery.worker.state  # noqa: F401
    if app.conf.broker_url and str(app.conf.broker_url).startswith(('redis', 'sentinel', 'unix')):
        import kombu.transport.redis  # noqa: F401


def main(channel_fd, app, options, slot, number):
    child = Child(wire.Channel(channel_fd), app, options, slot, number)
    try:
        loop.run(child)
    except Leave as leave:
        child.exit(leave.code)


class Child:
    def __init__(self, channel, app, options, slot, number):
        self.channel, self.app, self.node = channel, app, options['node']
        self.slot, self.number, self.options = slot, number, options
        self.pid = os.getpid()
        self.tag = 0          # of the task that runs
        self.asked = []       # tag, signal and last of cancel frames
        self.ended = 0        # when the last task did
        self.linger = 0       # how long after that the threads of the process may go on
        self.task = None      # that runs
        self.last = False     # the task was ended by a signal after which this process is killed
        self.busy = False     # the task's code runs: the signal handler may raise
        self.early = False    # a signal came while it did not
        self.tracers = {}
        loop.begin(self)
        fast.custom_headers()
        self.repr = fast.Repr()
        if not logging.getLogger('celery.app.trace').isEnabledFor(logging.INFO):
            self.repr.install()
        self.capture = None
        if options.get('capture') and capture.possible(app.backend):
            self.capture = capture.Capture(app, self.store)

    def initialize(self):
        """What celery.concurrency.prefork.process_initializer and billiard do, in their order."""
        boot.deaf(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
        self.become_pool_worker()
        _set_task_join_will_block(True)
        app = self.app
        os.register_at_fork(after_in_child=self.forked)
        app.loader.init_worker()
        app.loader.init_worker_process()
        env = os.environ
        app.log.setup(int(env.get('CELERY_LOG_LEVEL', 0) or 0), env.get('CELERY_LOG_FILE') or None,
                      bool(env.get('CELERY_LOG_REDIRECT', False)), str(env.get('CELERY_LOG_REDIRECT_LEVEL')),
                      hostname=self.node)
        application.print_by_line()
        app.set_current()
        set_default_app(app)
        app.finalize()
        trace._tasks = app._tasks
        self.tasks = app._tasks
        self.accept = prepare_accept_content(app.conf.accept_content)
        from celery.worker import state
        state.reset_state()
        if not faulthandler.is_enabled():
            boot.report_crashes(sys.__stderr__)
        signals.worker_process_init.send(sender=self.node)
        signal.signal(signal.SIGUSR1, self.on_signal)
        for signum in self.ENDING:
            if signal.getsignal(signum) != signal.SIG_IGN:  # as billiard, which replaces handlers of the application
                signal.signal(signum, self.on_signal)
        self.json = 'application/json' in self.accept and standard_json()

    def become_pool_worker(self):
        from billiard import process, util
        from billiard.context import ForkProcess
        current = ForkProcess()
        current.name, current.daemon, current.index = 'ForkPoolWorker-%d' % self.number, True, self.slot - 1
        process._set_current_process(current)
        util._finalizer_registry.clear()
        util._run_after_forkers()
        from celery import platforms
        platforms.set_mp_process_title('celeryd', hostname=self.node)

    def forked(self):
        """In a process that a task forked: the channel is not its own."""
        if os.getpid() != self.pid:
            try:
                os.close(self.channel.sock.detach())
            except OSError:
                pass

    # -- signals for the task

    ENDING = signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT

    def on_signal(self, signum, frame):
        """What counts is the frame that came before the signal: without one it is not meant for the task."""
        if os.getpid() != self.pid:
            if signum in self.ENDING:
                boot.default(signum)
        elif self.busy:
            self.asked += self.channel.take_signals()
            self.raise_asked()
        else:
            self.early = True

    def raise_asked(self):
        while self.asked:
            tag, signum, last = self.asked.pop(0)
            if tag != self.tag or signal.getsignal(signum) != self.on_signal:
                continue  # it came too late, or the task has a handler of its own
            if last and not self.last:
                self.last = True
                self.disown()
            if signum == signal.SIGUSR1:
                raise SoftTimeLimitExceeded()
            raise SystemExit(signum - 256)  # as billiard has it

    def disown(self):
        """What a task that caught the SystemExit of its hard limit returns or raises is recorded nowhere and counts in no chord.

        Celery's parent has recorded TimeLimitExceeded by then; here that comes when this process is gone.
        """
        def leave(*args, **kwargs):
            raise SystemExit(signal.SIGTERM - 256)
        for name in ('mark_as_done', 'mark_as_failure', 'mark_as_retry'):
            setattr(self.task.backend, name, leave)

    # -- the loop

    def serve(self):
        self.channel.send_json(wire.HELLO, {'version': wire.VERSION, 'pid': self.pid})
        read, unpack, head = self.channel.read, RUN.unpack_from, RUN.size
        while True:
            try:
                kind, body = read()
            except (wire.Closed, ConnectionResetError):
                raise Leave(0) from None
            if kind == wire.RUN:
                tag, flags, size = unpack(body)
                if size:
                    self.record(tag, json.loads(bytes(body[head:head + size])), bytes(body[head + size:]))
                else:
                    self.run(tag, flags, bytes(body[head:]))
                body = None
            elif kind == wire.CANCEL:
                pass  # its task ended before it came
            elif kind == wire.QUIT:
                self.linger = LINGER if len(body) else 0
                raise Leave(0)
            else:
                raise ValueError('frame of kind %d' % kind)

    def exit(self, code):
        """Ends the process as billiard's worker does: the signal, no atexit handlers."""
        try:
            loop.end(self, code)
            for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
                stream.flush()
            rest = self.ended + self.linger - time.monotonic()
            if rest > 0 and has_threads():
                time.sleep(rest)
        finally:
            if self.last and os.getpid() == self.pid:
                self.channel.sock.shutdown(socket.SHUT_WR)
                while True:
                    signal.pause()  # to be killed with what the task started, which nobody finds once this process is gone
            os._exit(code & 0xff)

    # -- one task

    def run(self, tag, flags, envelope):
        began = time.monotonic()
        request = {}
        try:
            try:
                name, request, args, kwargs, task = self.open(envelope)
            except Refused as refused:
                return self.refuse(tag, envelope, refused)
            tracer, hooks = self.tracers.get(name) or self.tracer(name, task)
            task_id = request['id']
            if self.capture is not None:
                self.capture.begin(task_id, hooks)
            self.repr.wanted = flags & REPR
            self.tag, self.task, self.busy = tag, task, True
            try:
                if self.early:  # while a large message was read, say
                    self.early = False
                    self.on_signal(None, None)
                result, info, seconds, text = tracer(task_id, args, kwargs, request)
            finally:
                self.busy = False
        except (SystemExit, KeyboardInterrupt) as exc:
            self.leave(exc)
        except Reject as exc:
            return self.done(tag, 'REJECTED', began, extras={'exc': repr(exc), 'requeue': bool(exc.requeue)})
        except BaseException as exc:
            if not ANNOUNCES and not isinstance(exc, Exception):
                raise Leave(0) from None
            return self.broken(tag, began, request, exc)
        if info is None and not isinstance(result, trace.ExceptionInfo):
            self.done(tag, states.SUCCESS, began, seconds, {'repr': text} if flags & REPR and text else None)
        else:
            self.unsuccessful(tag, began, task, request, result, info)

    def tracer(self, name, task):
        task.__trace__ = trace.build_tracer(name, task, self.app.loader, self.node, app=self.app)
        hooks = any(trace.task_has_custom(task, hook) for hook in HOOKS)
        self.tracers[name] = task.__trace__, hooks
        return self.tracers[name]

    def open(self, envelope):
        """Does what the parent process does with a message: returns name, request, args, kwargs, task."""
        try:
            text = envelope.decode('utf-8', 'surrogatepass')
            message = kombu_json.loads(text) if '__type__' in text else fast.loads(text)
            headers, properties = message['headers'] or {}, message['properties']
            body = message['body']
            if properties.get('body_encoding') == 'base64':
                body = a2b_base64(body)
            else:
                body = body.encode('utf-8', 'surrogatepass')
            if headers.get('compression'):
                body = decompress(body, headers['compression'])
            kind, encoding = message.get('content-type'), message.get('content-encoding')
            if self.json and kind == 'application/json' and b'__type__' not in body:
                payload = fast.loads(body.decode())
            else:
                payload = kombu_loads(body, kind, encoding, accept=self.accept)
        except ContentDisallowed as exc:
            raise Refused('content_type_refused', exc)
        except MemoryError:
            raise
        except Exception as exc:
            raise Refused('undecodable', exc)
        if isinstance(payload, dict):
            payload, headers = self.old_protocol(message, headers, payload)
        try:
            args, kwargs, embed = payload
            kwargs.items, args.__iter__
            task_id, name = headers['id'], headers['task']
        except Exception as exc:
            raise Refused('undecodable', exc)
        info = properties.get('delivery_info') or {}
        request = dict(
            headers, properties=properties, reply_to=properties.get('reply_to'),
            correlation_id=properties.get('correlation_id'), hostname=self.node,
            delivery_info={'exchange': info.get('exchange'), 'routing_key': info.get('routing_key'),
                           'priority': properties.get('priority'), 'redelivered': info.get('redelivered', REDELIVERED)},
            args=args, kwargs=kwargs, is_eager=False, **embed or {})
        try:
            return name, request, args, kwargs, self.tasks[name]
        except KeyError as exc:
            refused = Refused('unknown_task', exc)
            refused.request = request
            raise refused

    def old_protocol(self, message, headers, body):
        from celery.worker.strategy import hybrid_to_proto2, proto1_to_proto2

        class Message:
            pass
        Message.headers = headers
        convert = hybrid_to_proto2 if 'task' in headers and 'args' in body else proto1_to_proto2
        try:
            payload, headers, _, _ = convert(Message, body)
        except Exception as exc:
            raise Refused('undecodable', exc)
        return payload, headers

    # -- how it ended

    def done(self, tag, state, began, seconds=None, extras=None):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()  # half a line that the task printed is its own
            except (AttributeError, OSError, ValueError):
                pass  # the task did something to it
        results = self.capture.end() if self.capture is not None else ()
        self.tag, self.ended = 0, time.monotonic()
        extras = json.dumps(extras, default=repr).encode('utf-8', 'backslashreplace') if extras else b''
        head = DONE.pack(tag, STATES[state], 0, time.monotonic() - began if seconds is None else seconds,
                         resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT, len(results), len(extras))
        if len(results) == 1:
            key, document = results[0]
            self.channel.send(wire.DONE, head, RESULT.pack(len(key), len(document)), key, document, extras)
            return
        parts = [head]
        for key, document in results:
            parts += RESULT.pack(len(key), len(document)), key, document
        self.channel.send(wire.DONE, *parts, extras)

    def unsuccessful(self, tag, began, task, request, einfo, info):
        state = info.state if info is not None else states.FAILURE
        exc = info.retval if info is not None else einfo.exception
        extras = {}
        if state == 'REJECTED':
            extras = {'exc': safe_repr(exc), 'requeue': bool(exc.requeue)}
            if not exc.requeue:
                from _agensium import verdict
                verdict.rejected(self, task, request, exc, einfo)
        elif state != 'IGNORED':
            extras = {'exc': safe_repr(exc.exc if state == states.RETRY and exc.exc else exc),
                      'tb': str(getattr(einfo, 'traceback', '') or ''),
                      'expected': bool(task.throws and isinstance(exc, task.throws))}
        self.done(tag, state, began, extras=extras)

    def broken(self, tag, began, request, exc):
        """The tracer itself raised: nothing is stored yet, as far as we know."""
        import traceback
        from _agensium import verdict
        try:
            verdict.failed(self, request, exc)
        except Exception:
            traceback.print_exc(file=sys.__stderr__)
        self.done(tag, states.FAILURE, began, extras={
            'exc': safe_repr(exc), 'tb': ''.join(traceback.format_exception(type(exc), exc, exc.__traceback__))})

    def refuse(self, tag, envelope, refused):
        from _agensium import verdict
        began = time.monotonic()
        exc = verdict.refused(self, envelope, refused)
        self.done(tag, states.FAILURE, began, 0.0, {'exc': safe_repr(exc), 'refused': refused.why})

    def record(self, tag, meta, envelope):
        """Records what the supervisor decided about a task, instead of running it."""
        from _agensium import verdict
        began = time.monotonic()
        try:
            state, exc = verdict.record(self, meta['verdict'], envelope)
            extras = {'exc': safe_repr(exc), 'requeue': state == 'REJECTED'}
        except Exception as failed:
            import traceback
            traceback.print_exc(file=sys.__stderr__)
            state, extras = states.REVOKED if meta['verdict']['State'] == states.REVOKED else states.FAILURE, {'exc': safe_repr(failed), 'tb': traceback.format_exc()}
        self.done(tag, state, began, 0.0, extras)

    def leave(self, exc):
        """sys.exit in a task ends the child, as it ends billiard's, which since 4.3 tells why before it does."""
        code, status = getattr(exc, 'code', 1 if ANNOUNCES else 0), 'KeyboardInterrupt'
        if isinstance(exc, SystemExit):
            if code is None:
                code = 0
            elif not isinstance(code, int):
                print(code, file=sys.stderr)
                code = 1
            status = human_status(code)
        self.ended, self.linger = time.monotonic(), MOMENT
        if ANNOUNCES and os.getpid() == self.pid:
            self.channel.send(wire.LEAVE, ('Worker exited prematurely: %s.' % status).encode())
        raise Leave(code) from None

    # -- results that are stored before the end

    def store(self, key, document):
        """Has the supervisor store a document and waits until it is."""
        busy, self.busy = self.busy, False
        try:
            self.channel.send(wire.STORE, RESULT.pack(len(key), len(document)), key, document)
            while True:
                kind, body = self.channel.read()
                if kind == wire.STORED:
                    break
                if kind == wire.CANCEL:
                    self.asked.append(wire.SIGNAL.unpack(body))
            if len(body):
                raise OSError(bytes(body).decode('utf-8', 'replace'))
        except wire.Closed:
            self.exit(0)
        finally:
            self.busy = busy
        if busy:
            self.raise_asked()


def has_threads():
    """Tells whether other threads run here, Python's or those of a library."""
    try:
        return len(os.listdir('/proc/self/task')) > 1
    except OSError:
        return threading.active_count() > 1


def standard_json():
    """Tells whether JSON bodies are read by kombu's own reader, which differs from json.loads only in its hook."""
    decoder = serializers._decoders.get('application/json')
    return getattr(decoder, '__module__', '') == 'kombu.utils.json' and \
        getattr(kombu_json, 'loads', None) is decoder


def safe_repr(value):
    from kombu.utils.encoding import safe_repr
    return safe_repr(value)

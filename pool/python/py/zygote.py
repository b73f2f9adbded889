"""The process that imported the application once: describes it, forks children, tells how they ended."""
import gc
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
import warnings
from base64 import b64decode

from _agensium import application, boot, wire


def main(options, channel_fd, lifeline_fd):
    began = time.perf_counter()
    channel = wire.FileChannel(channel_fd)
    try:
        app, worker = application.prepare(options)
        boot.deaf(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # Celery's worker replaces handlers of the application, too
        if gc.get_threshold() == boot.RARELY:  # else the application has its own ideas
            gc.set_threshold(*options['collect'])
        if options['mode'] == 'child':
            boot.allow_setsid()
            from _agensium import child
            return child.main(channel_fd, app, options, options['slot'], options['slot'] + 1)
        report = application.describe(app, time.perf_counter() - began)
        if options['mode'] == 'fork':
            from _agensium import child
            application.Stage.doing = "import kombu's Redis transport"
            child.warm(app)
    except BaseException as exc:  # SystemExit of a module that is imported included
        channel.send_json(wire.FAILED, failure(exc))
        sys.__stderr__.flush()
        os._exit(1)
    report['version'] = wire.VERSION
    Zygote(channel, app, worker, options, lifeline_fd).serve(report)


def failure(exc):
    return {
        'doing': application.Stage.doing, 'type': type(exc).__name__, 'message': str(exc),
        'traceback': ''.join(traceback.format_exception(type(exc), exc, own_frames_cut(exc.__traceback__))),
        'python': sys.version.split()[0], 'executable': sys.executable, 'cwd': os.getcwd(), 'path': sys.path,
        'virtualenv': os.environ.get('VIRTUAL_ENV', ''), 'settings': os.environ.get('DJANGO_SETTINGS_MODULE', ''),
        'module': getattr(exc, 'name', None) or '' if isinstance(exc, ModuleNotFoundError) else '',
    }


def own_frames_cut(tb):
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith('<agensium>'):
        tb = tb.tb_next
    return tb


class Zygote:
    def __init__(self, channel, app, worker, options, lifeline_fd):
        self.channel, self.app, self.worker, self.options = channel, app, worker, options
        self.lifeline = lifeline_fd
        self.children = set()  # alive, or dead and not reaped
        self.dead = set()      # reported, not reaped
        self.forks = 0
        self.untidy = 0        # how often code of the application has run

    def serve(self, report):
        from _agensium import child  # noqa: F401  here, so that children have it
        wake, self.wake = socket.socketpair()
        for sock in (wake, self.wake):
            sock.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda signum, frame: None)
        signal.set_wakeup_fd(self.wake.fileno(), warn_on_full_buffer=False)
        warnings.filterwarnings('ignore', category=DeprecationWarning, message='.*fork.*')
        self.wakes = wake
        self.collecting = gc.isenabled()
        gc.collect()
        gc.freeze()
        gc.disable()
        with open('/proc/self/statm' if os.path.exists('/proc/self/statm') else os.devnull) as f:
            fields = f.read().split()
        report['rss'] = int(fields[1]) * os.sysconf('SC_PAGE_SIZE') if fields else 0
        self.channel.send_json(wire.HELLO, report)
        poll = select.poll()
        poll.register(self.channel.sock, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == wake.fileno():
                    try:
                        wake.recv(4096)
                    except BlockingIOError:
                        pass
                    self.watch()
                    continue
                try:
                    self.handle(*self.channel.read())
                    while self.channel.ready:
                        self.handle(*self.channel.read())
                except wire.Closed:
                    os._exit(0)

    def handle(self, kind, body):
        if kind == wire.FORK:
            self.fork(*wire.FORKING.unpack(body))
        elif kind == wire.REAP:
            self.reap(*wire.PID.unpack(body))
        elif kind == wire.EVENT:
            self.event(**json.loads(bytes(body)))
            self.channel.send(wire.HEARD)
            self.tidy()
        elif kind == wire.ASK:
            self.answer(body)
            self.tidy()
        elif kind == wire.QUIT:
            self.quit()
        else:
            raise ValueError('frame of kind %d' % kind)

    def tidy(self):
        """After code of the application has run here. Nothing else collects its garbage: the exceptions of receivers are some."""
        application.close_databases()
        self.untidy += 1
        if self.untidy % 100 == 0 and self.collecting:
            gc.collect()

    def fork(self, request, slot):
        files = self.channel.take_files(3)
        self.forks += 1
        self.before_fork()
        sys.__stdout__.flush()
        sys.__stderr__.flush()
        try:
            pid = os.fork()
        except OSError as exc:
            for fd in files:
                os.close(fd)
            self.channel.send(wire.FORKED, wire.FORKED_AS.pack(request, 0, exc.errno))
            return
        if pid == 0:
            try:
                self.become(slot, *files)
            except BaseException:
                traceback.print_exc(file=sys.__stderr__)
                sys.__stderr__.flush()
            finally:
                os._exit(70)
        try:
            os.setpgid(pid, pid)  # the child does so too; whoever comes first
        except OSError:
            pass
        for fd in files:
            os.close(fd)
        self.children.add(pid)
        self.channel.send(wire.FORKED, wire.FORKED_AS.pack(request, pid, 0))

    def before_fork(self):
        from celery import signals
        before = getattr(signals, 'worker_before_create_process', None)  # there is none before Celery 5.3
        if before is not None and before.receivers:
            before.send(sender=self.worker)
            application.close_databases()

    def become(self, slot, sock, lifeline, output):
        """Turns the fork into a child of its own: group, channel, lifeline, output, signals."""
        from _agensium import child
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.channel.sock.detach()
        self.wakes.close()
        self.wake.close()
        os.dup2(sock, boot.CHANNEL, inheritable=False)
        os.dup2(lifeline, boot.LIFELINE, inheritable=False)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for fd in [sock, lifeline, output] + self.channel.files:
            os.close(fd)
        boot.hold(boot.LIFELINE)
        boot.allow_setsid()
        if self.collecting:
            gc.enable()
        child.main(boot.CHANNEL, self.app, self.options, slot, self.forks)

    def watch(self):
        """Reports children that ended. They stay zombies, so that nobody else gets their pid, until told to reap."""
        for pid in self.children - self.dead:
            info = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            if info is None:
                continue
            self.dead.add(pid)
            exited = info.si_code == os.CLD_EXITED
            self.channel.send(wire.EXITED, wire.EXIT.pack(
                pid, info.si_status if exited else -1, 0 if exited else info.si_status))

    def reap(self, pid):
        if pid not in self.dead:
            return
        _, _, usage = os.wait4(pid, 0)
        self.dead.discard(pid)
        self.children.discard(pid)
        unit = 1 if sys.platform == 'darwin' else 1024
        self.channel.send(wire.REAPED, wire.USAGE.pack(pid, usage.ru_maxrss * unit))

    def event(self, name, **kwargs):
        """Sends a signal that Celery's parent process would send."""
        from celery import signals
        from celery.exceptions import InvalidTaskError
        if name == 'worker_ready':
            signals.worker_ready.send(sender=application.Consumer(self.worker))
        elif name == 'heartbeat_sent':
            signals.heartbeat_sent.send(sender=application.Consumer(self.worker))
        elif name == 'task_received':
            self.received(b64decode(kwargs['envelope'] or ''))
        elif name == 'task_rejected':
            message = application.message(self.app, b64decode(kwargs['envelope'] or ''))
            exc = InvalidTaskError(kwargs['why']) if kwargs['why'] else None
            signals.task_rejected.send(sender=application.Consumer(self.worker), message=message, exc=exc)
        elif name == 'worker_shutting_down':
            signals.worker_shutting_down.send(sender=self.worker.hostname, **kwargs)

    def received(self, envelope):
        from celery import signals
        try:
            request = application.request(self.app, self.worker, envelope)
        except Exception:  # what cannot be read is refused by a child
            return
        signals.task_received.send(sender=application.Consumer(self.worker), request=request)

    def answer(self, body):
        """Answers a question of remote control. Meanwhile no child is forked, as Celery's parent would not go on either."""
        from _agensium import questions
        said = questions.answer(self.app, self.worker, **json.loads(bytes(body[wire.PID.size:])))
        self.channel.send(wire.ANSWER, bytes(body[:wire.PID.size]), said.encode('utf-8', 'backslashreplace'))

    def quit(self):
        from celery import signals
        try:
            self.app.loader.shutdown_worker()
            signals.worker_shutdown.send(sender=self.worker)
        finally:
            self.channel.sock.detach()  # whoever sees it closed kills this process
            signal.set_wakeup_fd(-1)  # the application may end processes of its own, of which nobody here has to hear
            sys.exit(0)  # atexit handlers of the application run, as in Celery's parent

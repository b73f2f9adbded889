"""First code of every Python process: the lifeline, the signals, the importer of the modules that came with it.

Runs before anything of the application is imported, from the pipe on fd 4 (source.go, bootstrap).
"""
import faulthandler
import fcntl
import gc
import importlib.abc
import importlib.machinery
import io
import mmap
import os
import select
import signal
import sys

CHANNEL, LIFELINE = 3, 5
PACKAGE = '_agensium'


class Importer(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports the modules of this package from memory; tracebacks show their source."""

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(PACKAGE + '.')[2] in self.sources:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def get_source(self, fullname):
        return self.sources.get(fullname.rpartition('.')[2], '')

    def get_code(self, fullname):
        name = fullname.rpartition('.')[2]
        return compile(self.get_source(fullname), '<agensium>/%s.py' % name, 'exec', dont_inherit=True)

    def exec_module(self, module):
        exec(self.get_code(module.__name__), module.__dict__)


def hold(fd):
    """Has the kernel kill this process group when the supervisor lets go of the other end of the pipe fd.

    Where the kernel cannot do that, a thread waits for it.
    """
    os.set_inheritable(fd, False)
    try:
        fcntl.fcntl(fd, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    except (AttributeError, OSError):
        import threading

        def wait():
            while os.read(fd, 64):
                pass
            os.killpg(os.getpgrp(), signal.SIGKILL)
        threading.Thread(target=wait, name='agensium-lifeline', daemon=True).start()
        return
    if select.select([fd], [], [], 0)[0]:  # it was let go before we asked
        os.killpg(os.getpgrp(), signal.SIGKILL)


def deaf(*signums):
    """Ignores signals that the platform sends to every process of the service; the supervisor decides.

    A handler and not SIG_IGN: what a task starts must not inherit it.
    """
    pid = os.getpid()

    def ignore(signum, frame):
        if os.getpid() != pid:  # a fork of the task, by multiprocessing say
            default(signum)
    for signum in signums:
        signal.signal(signum, ignore)


def report_crashes(file):
    """Has faulthandler write where a crash was, and gives handlers of signals room.

    What it gives them is a few pages of the heap. A handful of signals at once, on a processor with large registers, goes beyond and overwrites
    what lies below. Ours is never freed: the last signal may come when all else is.
    """
    faulthandler.enable(file)
    if not sys.platform.startswith('linux'):
        return
    try:
        import ctypes
    except ImportError:  # a Python that was built without
        return

    class Stack(ctypes.Structure):
        _fields_ = [('pointer', ctypes.c_void_p), ('flags', ctypes.c_int), ('size', ctypes.c_size_t)]
    room = mmap.mmap(-1, SIGNAL_STACK, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # each fork's own: signals come to all of them at once
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(room))
    stack = Stack(ctypes.addressof(ctypes.c_char.from_buffer(room)), 0, SIGNAL_STACK)
    ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None)


def default(signum):
    """Does to this process what the signal does to any."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)


def allow_setsid():
    """Lets a task begin a session, as it may in Celery's child, which leads no process group. The new group has the same id."""
    setsid = os.setsid

    def begin():
        pid = os.getpid()
        if os.getpgrp() == pid and os.getsid(0) != pid:
            os.setpgid(0, os.getpgid(os.getppid()))
        return setsid()
    os.setsid = begin


class Stream(io.TextIOWrapper):
    """Standard output, where the lines that are written at once say that they belong together (output.go, goesOn)."""

    def write(self, text):
        if str.find(text, '\n', 0, -1) < 0:
            return super().write(text)
        super().write(text[:-1].replace('\n', '\x1e\n') + text[-1])
        return len(text)


def stream(old):
    encoding, mode = old.encoding, old.mode
    new = Stream(old.detach(), encoding=encoding, errors='backslashreplace', newline='\n', line_buffering=True)
    new.mode = mode
    return new


SIGNAL_STACK = 1 << 18  # touched page by page
RARELY = (50000, 20, 100)  # while the application is imported: what it makes then it keeps


def main(payload):
    sys.meta_path.insert(0, Importer(payload['modules']))
    options = payload['options']
    options['collect'] = gc.get_threshold()
    gc.set_threshold(*RARELY)
    hold(LIFELINE)
    deaf(signal.SIGTERM, signal.SIGINT)
    report_crashes(2)  # of a start that takes too long the supervisor asks with SIGABRT where it is
    sys.stdout = sys.__stdout__ = stream(sys.stdout)
    sys.stderr = sys.__stderr__ = stream(sys.stderr)
    # as `celery -A app worker` would have it: applications look here to see what they run in
    sys.argv = ['celery', '-A', options.get('app') or '', 'worker']
    cwd = os.getcwd()
    if sys.path and sys.path[0] in ('', cwd):
        del sys.path[0]
    sys.path.insert(0, cwd)
    from _agensium import zygote
    zygote.main(options, CHANNEL, LIFELINE)

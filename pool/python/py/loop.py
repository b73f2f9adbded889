"""Stands where Celery and billiard have what a process of their pool does: begin, work.

Tools wrap these functions to see a child begin and end: New Relic connects before and sends the rest after, Sentry sends the rest, too. Whatever is
wrapped around one, before the application was imported or by it, is to be run: the function keeps its place and gets our code.
"""
import os
import types

child = None  # that begins in this process
originals = {}


def stand_in():
    from billiard import pool
    from celery.concurrency import prefork
    pool.Worker.workloop = within(pool.Worker.workloop, pool, workloop)
    prefork.process_initializer = within(prefork.process_initializer, prefork, process_initializer)


def within(outer, module, ours):
    """What to call in the place of outer, which is or calls a function of the module, so that ours is called instead of that one."""
    inner = inmost(outer, module.__dict__)
    if inner is None or inner.__closure__:
        originals[ours.__name__] = outer
        return ours
    originals[ours.__name__] = types.FunctionType(inner.__code__, inner.__globals__, inner.__name__, inner.__defaults__)
    inner.__code__, inner.__defaults__ = ours.__code__, ours.__defaults__
    return outer


def inmost(function, namespace, seen=()):
    """The function of a module around which others are wrapped; None if it is not found."""
    if getattr(function, '__globals__', None) is namespace:
        return function
    seen = (*seen, function)
    inside = [getattr(function, '__wrapped__', None)]
    for cell in getattr(function, '__closure__', None) or ():
        try:
            inside.append(cell.cell_contents)
        except ValueError:  # still empty
            pass
    for candidate in inside:
        if not callable(candidate) or any(candidate is one for one in seen):
            continue
        found = inmost(candidate, namespace, seen)
        if found is not None:
            return found
    return None


# These two find nothing of this module: they run as part of another one.

def workloop(self, *args, **kwargs):
    from _agensium import loop
    if hasattr(self, 'serve'):
        return self.serve()
    return loop.originals['workloop'](self, *args, **kwargs)  # a pool that a task makes


def process_initializer(*args, **kwargs):
    from _agensium import loop
    if loop.mine():
        return loop.child.initialize()
    return loop.originals['process_initializer'](*args, **kwargs)


def mine():
    return child is not None and child.pid == os.getpid()


def begin(starting):
    """Initializes the child, through all that is wrapped around it."""
    global child
    from celery.concurrency import prefork
    child = starting
    prefork.process_initializer(child.app, child.node)
    prefork._process_hostname = child.node


def run(child):
    """Returns when the child has served its last task, through all that is wrapped around the loop."""
    from billiard.pool import Worker
    Worker.workloop(child, pid=child.pid)


def end(child, code):
    from celery.concurrency import prefork
    prefork.process_destructor(child.pid, code)

"""Stands where billiard's pool has its worker's loop.

Tools wrap that loop to see a child begin and end: Sentry sends there what it has not sent yet. What is wrapped around it before
the application is imported would miss us, so ours is put there first.
"""
import functools


def stand_in():
    from billiard.pool import Worker
    original = Worker.workloop

    @functools.wraps(original)
    def workloop(self, *args, **kwargs):
        if hasattr(self, 'serve'):
            return self.serve()
        return original(self, *args, **kwargs)  # a pool that a task makes
    Worker.workloop = workloop


def run(child):
    """Returns when the child has served its last task, through all that is wrapped around the loop."""
    from billiard.pool import Worker
    Worker.workloop(child, pid=child.pid)

"""Uses multiprocessing in a task, whose children hold copies of everything."""
import multiprocessing

from celery import Celery

app = Celery('forks_processes', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@app.task
def bad(*args):
    multiprocessing.current_process()._config['daemon'] = False
    child = multiprocessing.get_context('fork').Process(target=print, args=('from a fork',))
    child.start()
    child.join()
    stopped = multiprocessing.get_context('fork').Process(target=__import__('time').sleep, args=(600,))
    stopped.start()
    stopped.terminate()
    stopped.join()
    return [child.exitcode, stopped.exitcode]

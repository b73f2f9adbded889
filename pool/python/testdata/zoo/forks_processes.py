"""Uses multiprocessing in a task, whose children hold copies of everything."""
import multiprocessing
import time

from celery import Celery

app = Celery('forks_processes', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


def wait(connection):
    connection.send('here')
    time.sleep(600)


@app.task
def bad(*args):
    multiprocessing.current_process()._config['daemon'] = False
    child = multiprocessing.get_context('fork').Process(target=print, args=('from a fork',))
    child.start()
    child.join()
    ours, its = multiprocessing.Pipe()
    stopped = multiprocessing.get_context('fork').Process(target=wait, args=(its,))
    stopped.start()
    ours.recv()
    stopped.terminate()
    stopped.join()
    return [child.exitcode, stopped.exitcode]

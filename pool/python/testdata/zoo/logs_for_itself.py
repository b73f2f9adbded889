"""Sets up logging by itself: to standard output, everything."""
import logging
import sys

from celery import Celery, signals

app = Celery('logs_for_itself', broker='redis://127.0.0.1:1/0', backend='redis://127.0.0.1:1/1')


@signals.setup_logging.connect
def own(**kwargs):
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format='own: %(message)s')


@app.task
def bad():
    logging.getLogger('shop').info('logged by the task')
    return 'what it returns'

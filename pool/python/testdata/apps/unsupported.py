"""An application that asks for what only Celery's own worker has."""
from celery import Celery, Task, bootsteps
from kombu import Exchange, Queue, binding

app = Celery('unsupported', broker='memory://')
app.conf.update(
    worker_pool='gevent', worker_consumer='mine:Consumer', worker_autoscaler='mine:Autoscaler',
    task_queues=[Queue('loud', Exchange('all', type='fanout')), Queue('many', routing_key='video', bindings=[
        binding(Exchange('log', type='topic'), routing_key='video.#')])],
    beat_schedule={'hourly': {'task': 'unsupported.add', 'schedule': 3600.0}},
)


class Listener(bootsteps.ConsumerStep):
    def get_consumers(self, channel):
        return []


app.steps['consumer'].add(Listener)


class Batched(Task):
    Request = 'celery.worker.request:Request'  # as it is

    def Strategy(self, task, app, consumer):
        raise NotImplementedError


class Watched(Task):
    Request = 'mine:Request'


@app.task(base=Batched)
def batched():
    pass


@app.task(base=Watched)
def watched():
    pass

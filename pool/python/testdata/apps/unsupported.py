"""An application that asks for what only Celery's own worker has."""
from celery import Celery, bootsteps

app = Celery('unsupported', broker='memory://')
app.conf.update(
    worker_pool='gevent', worker_consumer='mine:Consumer', worker_autoscaler='mine:Autoscaler',
    beat_schedule={'hourly': {'task': 'unsupported.add', 'schedule': 3600.0}},
)


class Listener(bootsteps.ConsumerStep):
    def get_consumers(self, channel):
        return []


app.steps['consumer'].add(Listener)

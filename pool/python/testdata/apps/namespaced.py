"""Configured as Django applications are."""
from celery import Celery


class Settings:
    CELERY_BROKER_URL = 'redis://a/0'
    CELERY_RESULT_BACKEND = 'redis://a/1'
    CELERY_TASK_ACKS_LATE = False
    CELERY_RESULT_EXPIRES = 10


app = Celery('namespaced')
app.config_from_object(Settings, namespace='CELERY')


@app.task
def task():
    pass

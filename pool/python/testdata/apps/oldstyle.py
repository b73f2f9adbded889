"""Configured with the names of settings before Celery 4."""
from celery import Celery

app = Celery('oldstyle')
app.config_from_object({
    'BROKER_URL': 'redis://a/0',
    'CELERY_RESULT_BACKEND': 'redis://a/1',
    'CELERY_ACKS_LATE': False,
    'CELERY_TASK_RESULT_EXPIRES': 10,
})

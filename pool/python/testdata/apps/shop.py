"""A Django project in one module. Its parent process asks the database, as AppConfig.ready or a receiver of worker_ready may do."""
import os

from celery import Celery, signals

os.environ['DJANGO_SETTINGS_MODULE'] = 'shop'
SECRET_KEY = 'secret'
DATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': os.environ.get('SHOP_DATABASE')}}
CELERY_BROKER_URL = 'memory://'

inherited = []


@signals.celeryd_after_setup.connect
@signals.worker_ready.connect
def ask(**kwargs):
    from django.db import connection
    connection.ensure_connection()


if os.environ.get('SHOP_ASKS_AT_FORK'):
    signals.worker_before_create_process.connect(ask)


@signals.worker_process_init.connect  # before that of Celery's fix-up, which closes what a child inherited
def look(**kwargs):
    from django.db import connection
    inherited.append(connection.connection is not None)


@signals.import_modules.connect
def add_check(**kwargs):
    from django.core.checks import register
    from django.core.exceptions import ImproperlyConfigured

    @register
    def check(app_configs, **kwargs):
        if os.environ.get('SHOP_CHECK'):
            raise ImproperlyConfigured(os.environ['SHOP_CHECK'])
        return []


app = Celery('shop')
app.config_from_object('django.conf:settings', namespace='CELERY')


@app.task
def inherits_nothing():
    assert inherited == [False]

"""The application, as the parent process of `celery worker` would load, configure and describe it."""
import json
import logging
import os
import platform
import signal
import sys
import threading
from base64 import b64decode
from enum import Enum

from _agensium import loop


class Stage:
    """What is being done, for the report if it fails."""

    doing = 'import celery'


class Worker:
    """Stands for celery.apps.worker.Worker where signal handlers are given one."""

    pool_cls = 'celery.concurrency.prefork:TaskPool'
    pool = consumer = timer = pidfile = None

    def __init__(self, app, options):
        self.app, self.hostname, self.pid = app, options['node'], os.getpid()
        self.concurrency = options.get('concurrency') or 0
        self.loglevel, self.logfile = options.get('log_level', 'INFO'), None
        self.queues = options.get('queues')
        self.options = {'hostname': self.hostname, 'loglevel': self.loglevel, 'concurrency': self.concurrency,
                        'queues': self.queues}

    @property
    def state(self):
        from celery.worker import state
        return state


class Consumer:
    """Stands for celery.worker.consumer.Consumer, the sender of worker_ready."""

    def __init__(self, worker):
        self.controller, self.app, self.hostname, self.pool = worker, worker.app, worker.hostname, None


def find(options):
    for setting, variable in (('broker_url', 'CELERY_BROKER_URL'), ('result_backend', 'CELERY_RESULT_BACKEND')):
        if options['conf'].get(setting):
            os.environ[variable] = options['conf'][setting]  # what --broker and --result-backend do
    if options.get('loader'):
        os.environ['CELERY_LOADER'] = options['loader']
    if options.get('config'):
        os.environ['CELERY_CONFIG_MODULE'] = options['config']
    import celery
    loop.stand_in()
    name = options.get('app')
    if not name:
        return celery.current_app._get_current_object()
    Stage.doing = 'import %s' % name
    from celery.app.utils import find_app
    app = find_app(name)
    if not isinstance(app, celery.Celery):
        app = getattr(app, '_get_current_object', lambda: app)()
    if not isinstance(app, celery.Celery):
        raise TypeError('%s is %r, not a Celery application' % (name, type(app)))
    return app


def message(app, envelope):
    """The message that a signal handler is given. Nothing can be done with it. What is none is the body of an empty one."""
    from kombu.message import Message
    from kombu.serialization import prepare_accept_content
    accept = prepare_accept_content(app.conf.accept_content)
    try:
        fields = json.loads(envelope.decode('utf-8', 'surrogatepass'))
        properties = fields.get('properties') or {}
        body = fields.get('body')
        if properties.get('body_encoding') == 'base64':
            body = b64decode(body)
        return Message(body=body, delivery_tag=properties.get('delivery_tag'), content_type=fields.get('content-type'),
                       content_encoding=fields.get('content-encoding'), delivery_info=properties.get('delivery_info') or {},
                       properties=properties, headers=fields.get('headers') or {}, accept=accept)
    except Exception:
        return Message(body=envelope, accept=accept)


def request(app, worker, envelope):
    """The request of a task that was received, as celery.worker.strategy makes it."""
    from celery.worker.request import Request
    from celery.worker.strategy import hybrid_to_proto2, proto1_to_proto2
    given = message(app, envelope)
    body, headers, decoded, utc = given.body, given.headers, False, app.uses_utc_timezone()
    if 'task' not in headers or 'args' in given.payload:
        convert = hybrid_to_proto2 if 'task' in headers else proto1_to_proto2
        body, headers, decoded, utc = convert(given, given.payload)
    return Request(given, app=app, hostname=worker.hostname, task=app.tasks[headers['task']], connection_errors=(),
                   body=body, headers=headers, decoded=decoded, utc=utc)


def override(app, setting, value):
    """Changes a setting, also where the application spells it with a namespace, which goes first before Celery 5.7."""
    app.conf.update({setting: value})
    prefix = getattr(app.conf, 'prefix', None)
    if prefix and getattr(app.conf, setting) != value:
        spelled = prefix + setting
        app.conf.update({spelled.upper() if prefix.isupper() else spelled.lower(): value})


def prepare(options):
    """Imports the application and does what the parent process does before it makes children."""
    app = find(options)
    Stage.doing = 'apply the settings'
    for setting, value in (options.get('defaults') or {}).items():
        if not getattr(app.conf, setting, None):
            override(app, setting, value)
    for setting, value in options['conf'].items():
        override(app, setting, value)
    worker = Worker(app, options)
    Stage.doing = 'import the task modules'
    for module in options.get('include') or ():
        app.loader.import_task_module(module)
    app.loader.init_worker()
    from celery import signals
    from celery.app import trace
    Stage.doing = 'prepare the worker'
    modules = {task.__class__.__module__ for task in app.tasks.values()}
    app.conf.include = tuple(set(app.conf.include) | modules)  # as Celery's WorkController.setup_includes
    trace.setup_worker_optimizations(app, worker.hostname)
    signals.celeryd_init.send(sender=worker.hostname, instance=worker, conf=app.conf, options=worker.options)
    Stage.doing = 'select the queues'
    for how in 'select', 'deselect':
        names = options.get('queues' if how == 'select' else 'exclude')
        try:
            if names:
                getattr(app.amqp.queues, how)(names)
        except KeyError as exc:
            from celery.exceptions import ImproperlyConfigured
            from celery.worker import worker as said
            text = getattr(said, how.upper() + '_UNKNOWN_QUEUE').format(names, exc)
            raise ImproperlyConfigured(' '.join(text.split())) from None
    Stage.doing = 'prepare the worker'
    signals.worker_init.send(sender=worker)
    custom = app.log.setup(worker.loglevel, None, redirect_stdouts=False, colorize=False, hostname=worker.hostname)
    quiet_tracer()
    trace.setup_worker_optimizations(app, worker.hostname)
    signals.celeryd_after_setup.send(sender=worker.hostname, instance=worker, conf=app.conf)
    if not custom and app.conf.worker_redirect_stdouts:
        app.log.redirect_stdouts(app.conf.worker_redirect_stdouts_level)
        print_by_line()
    Stage.doing = 'open the result backend'
    app.backend
    close_databases()
    return app, worker


def print_by_line():
    """Where Celery sends to the log what is printed, has that go by the line and not by the write."""
    from celery.utils.log import LoggingProxy

    class Lines(LoggingProxy):
        def __init__(self, stream, proxy):
            super().__init__(proxy.logger, proxy.loglevel)
            self.stream, self.rest = stream, ''

        def write(self, data):
            if not isinstance(data, str):
                data = str(data)
            if data[:1] == '\n':
                self.flush()
            self.rest += data
            if data[-1:] == '\n' or len(self.rest) > 1 << 14:  # lines that are written at once stay together
                self.flush()
            return len(data)

        def flush(self):
            rest, self.rest = self.rest.strip('\n'), ''
            if rest:
                super().write(rest)

        def fileno(self):
            return self.stream.fileno()
    if type(sys.stdout) is LoggingProxy:
        sys.stdout, sys.stderr = Lines(sys.__stdout__, sys.stdout), Lines(sys.__stderr__, sys.stderr)


def quiet_tracer():
    """The supervisor logs how each task ended. Celery's own lines of it are for handlers that write elsewhere than here."""
    logger = logging.getLogger('celery.app.trace')
    streams = sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__

    def console(handler):
        return isinstance(handler, logging.StreamHandler) and handler.stream in streams
    handlers = [h for owner in (logging.getLogger(), logging.getLogger('celery'), logger) for h in owner.handlers
                if not isinstance(h, logging.NullHandler)]
    if logger.level == logging.NOTSET and all(map(console, handlers)):
        logger.setLevel(logging.CRITICAL + 1)
    quiet = 'celery.app.trace', 'celery.worker.request', 'celery.worker.consumer.consumer'
    for handler in filter(console, handlers):
        handler.addFilter(lambda record: record.name not in quiet)


def close_databases():
    """Closes what Django has open in this process: each child that is forked would have the same connection.

    Celery's fix-up closes it before receivers of celeryd_after_setup and worker_ready run, and in the child after receivers of
    worker_process_init.
    """
    db = sys.modules.get('django.db')
    if db is None or not sys.modules['django.conf'].settings.configured:
        return
    try:
        connections = db.connections.all(initialized_only=True)
    except TypeError:  # before Django 4.1
        connections = db.connections.all()
    for connection in connections:
        try:
            connection.close()
            getattr(connection, 'close_pool', int)()
        except Exception:
            logging.getLogger('celery').exception('Cannot close the connection %r to a database', connection.alias)


def plain(value):
    """value as JSON can carry it."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, float) and (value != value or abs(value) == float('inf')):
        return repr(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    if hasattr(value, 'total_seconds'):
        return value.total_seconds()
    return repr(value)


def task_options(task):
    from celery.app.task import Task
    number = lambda value: value if isinstance(value, (int, float)) else 0  # noqa: E731
    known = lambda name: getattr(task, name) if hasattr(Task, name) else None  # noqa: E731  what a release does not know means nothing
    either, acks, timeout = (known('acks_on_' + when) for when in ('failure_or_timeout', 'failure', 'timeout'))
    either = True if either is None else bool(either)
    return {
        'acks_late': bool(task.acks_late),
        'acks_on_failure_or_timeout': either if acks is None else bool(acks),
        'acks_on_timeout': either if timeout is None else bool(timeout),
        'reject_on_worker_lost': bool(task.reject_on_worker_lost),
        'retry_on_worker_lost': bool(known('retry_on_worker_lost')),
        'track_started': bool(task.track_started),
        'ignore_result': bool(task.ignore_result),
        'send_events': bool(getattr(task, 'send_events', True)),
        'rate_limit': '' if task.rate_limit is None else str(task.rate_limit),
        'time_limit': number(task.time_limit),
        'soft_time_limit': number(task.soft_time_limit),
    }


def redis_version():
    """The release of redis-py, which is imported with the first connection; empty if there is none."""
    if 'redis' in sys.modules:
        return getattr(sys.modules['redis'], '__version__', '')
    from importlib import metadata
    try:
        return metadata.version('redis')
    except metadata.PackageNotFoundError:
        return ''


def describe(app, seconds):
    """The report of the hello frame; Info in info.go reads it."""
    import billiard
    import celery
    import kombu
    from celery import signals
    from _agensium import questions
    from celery.app.defaults import DEFAULTS
    from kombu.transport.virtual.exchange import TopicExchange
    conf = app.conf
    transport = conf.broker_transport_options or {}
    backend_transport = conf.get('result_backend_transport_options') or {}
    warnings = []
    threads = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
    threads = [name for name in threads if name != 'agensium-lifeline']
    if threads:
        warnings.append('threads run after the import of the application and do not exist in its children: %s; '
                        'start them in worker_process_init, or set python.start = "spawn"' % ', '.join(threads))
    for part in ('worker', 'consumer'):
        steps = [getattr(s, '__name__', str(s)) for s in app.steps[part]]
        if steps:
            warnings.append('bootsteps of the %s are not run: %s' % (part, ', '.join(sorted(steps))))
    warnings.extend(unsupported(conf))
    warnings.extend(handled_by_the_consumer(app))
    if signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, None):
        warnings.append('the application handles SIGCHLD; its handler is not called in this process')
    queues = {}
    for name, queue in app.amqp.queues.consume_from.items():
        queues[name] = dict(bound(queue), further=[bound(b) for b in queue.bindings or ()])
    fanout = sorted(name for name, queue in queues.items() if queue['exchange_type'] == 'fanout')
    if fanout:
        warnings.append('what is sent to an exchange of type fanout is not heard, and queues that are bound to one stay empty: %s' % ', '.join(fanout))
    return {
        'python': platform.python_version(), 'implementation': platform.python_implementation(),
        'executable': sys.executable, 'prefix': sys.prefix, 'pid': os.getpid(),
        'celery': celery.__version__, 'kombu': kombu.__version__, 'billiard': billiard.__version__,
        'redis': redis_version(),
        'app': app.main or '', 'seconds': seconds, 'modules': len(sys.modules), 'warnings': warnings,
        'captures': captured(app), 'commands': questions.commands(),
        'heartbeats': bool(signals.heartbeat_sent.receivers), 'receives': bool(signals.task_received.receivers),
        'rejects': bool(signals.task_rejected.receivers),
        'settings': {
            'broker_url': conf.broker_read_url or '', 'broker_write_url': conf.broker_write_url or '',
            'result_backend': conf.result_backend or '',
            'broker_transport_options': plain(transport), 'result_transport_options': plain(backend_transport),
            'broker_ssl': plain(conf.broker_use_ssl), 'result_ssl': plain(conf.get('redis_backend_use_ssl')),
            'queues': queues, 'wildcards': TopicExchange.wildcards, 'default_queue': conf.task_default_queue,
            'result_expires': app.backend.expires if isinstance(app.backend.expires, (int, float)) else 0,
            'result_prefix': prefix(app.backend),
            'timezone': str(app.timezone), 'enable_utc': bool(conf.enable_utc),
            'accept_content': sorted(conf.accept_content or ()),
        },
        'changed': changed(conf),
        'conf': {name: plain(conf.get(name)) for name in sorted(DEFAULTS)},
        'tasks': {name: task_options(task) for name, task in app.tasks.items()},
    }


def bound(to):
    """Where a queue is bound, or one of its further bindings."""
    return {'exchange': getattr(to.exchange, 'name', '') or '', 'exchange_type': getattr(to.exchange, 'type', 'direct') or 'direct',
            'routing_key': to.routing_key or ''}


def unsupported(conf):
    """What the settings ask of Celery's parent process that this worker does not do."""
    said = []
    ours = {'worker_pool': 'prefork', 'worker_consumer': 'celery.worker.consumer:Consumer', 'worker_autoscaler':
            'celery.worker.autoscale:Autoscaler', 'worker_timer': None}
    for name, usual in ours.items():
        value = conf.get(name)
        if value not in (usual, None, '') and not (name == 'worker_pool' and value in ('processes', 'celery.concurrency.prefork:TaskPool')):
            said.append('%s = %r is not used: tasks run in child processes, one at a time in each' % (name, value))
    custom = os.environ.get('CELERY_CUSTOM_WORKER_POOL')
    if custom:
        said.append('CELERY_CUSTOM_WORKER_POOL = %r is not used: tasks run in child processes' % custom)
    if conf.get('beat_schedule'):
        said.append('beat_schedule: a worker sends nothing by it; run `celery beat` beside it, once')
    return said


def handled_by_the_consumer(app):
    """What classes of tasks have for Celery's consumer, such as those of celery-batches."""
    from celery.app.task import Task
    means = {'Strategy': 'each message is a task of its own, run as it comes', 'Request': 'its methods are not called'}
    for attribute, instead in means.items():
        usual = getattr(Task, attribute)
        names = sorted(name for name, task in app.tasks.items() if getattr(type(task), attribute) not in (usual, usual.replace(':', '.')))
        if names:
            yield 'the %s of tasks is not used, %s: %s' % (attribute, instead, ', '.join(names))


def changed(conf):
    """The settings that somebody gave, by their names of today, however they are spelled: with a namespace, or as before Celery 4."""
    from celery.app.defaults import DEFAULTS
    from celery.app.utils import Settings
    given, absent = Settings({}, conf.maps[:-1], conf._keys, conf.prefix), object()
    ours = {'include'}  # set by prepare, as a worker does
    return sorted(name for name in DEFAULTS if name not in ours and given.get(name, absent) is not absent)


def prefix(backend):
    value = getattr(backend, 'task_keyprefix', '')
    return value.decode() if isinstance(value, bytes) else value


def captured(app):
    from _agensium import capture
    return capture.possible(app.backend)

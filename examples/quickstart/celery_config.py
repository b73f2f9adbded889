"""Celery settings, read from the environment as a platform such as Railway sets it."""

import os


def _flag(name, default):
    return os.environ.get(name, default).strip().lower() in ("1", "true", "yes", "on")


_redis_url = os.environ.get("REDIS_URL") or "redis://localhost:6379/0"
broker_url = os.environ.get("CELERY_BROKER_URL") or _redis_url
result_backend = os.environ.get("CELERY_RESULT_BACKEND") or _redis_url

# USE_CELERY=false: the web process runs its tasks itself, and a worker stays up but takes none.
task_always_eager = not _flag("USE_CELERY", "true")

# JSON only: a message cannot carry code.
task_serializer = "json"
result_serializer = "json"
accept_content = ["json"]
timezone = "UTC"
enable_utc = True

# An agent run is long and costly. It is acknowledged when it has ended, and runs again if its process died.
task_acks_late = True
task_reject_on_worker_lost = True
task_time_limit = 1800
task_soft_time_limit = 1500
result_expires = 86400

worker_concurrency = int(os.environ.get("CELERY_WORKER_CONCURRENCY") or "4")
worker_prefetch_multiplier = 1

# A managed Redis drops connections that are quiet, and sometimes answers late.
broker_connection_retry_on_startup = True
broker_transport_options = {
    "visibility_timeout": 3600,
    "socket_timeout": 30,
    "socket_connect_timeout": 30,
    "socket_keepalive": True,
}
redis_socket_timeout = 30
redis_socket_connect_timeout = 30
redis_socket_keepalive = True

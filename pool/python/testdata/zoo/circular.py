"""Imports itself, as two modules that import each other do."""
from circular import app  # noqa: F401

from celery import Celery

app = Celery('circular')  # noqa: F811

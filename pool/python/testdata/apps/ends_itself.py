"""An application that would end itself at the signals that end a service, as a server it shares code with does."""
import os
import signal

from celery import Celery

app = Celery('ends_itself', broker='memory://')

for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(signum, lambda *args: os._exit(3))

"""Never ends to be imported, and ignores signals."""
import signal
import time

signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('about to hang', flush=True)
while True:
    time.sleep(1)

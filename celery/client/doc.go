// Package client sends tasks to a Celery queue on Redis and waits for their results: what Task.apply_async,
// AsyncResult and app.control.revoke are in Python. Workers cannot tell its messages from those of Python's client.
//
// Programs of users, `agensium send` and the result backend (for the messages that tasks cause) call it. It never
// consumes a queue.
package client

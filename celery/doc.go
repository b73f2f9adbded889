// Package celery holds the types and the rules of the Celery protocol: what a message says, when it is due,
// what became of a task. It does no I/O and knows neither Redis nor the pool; every other package may use it.
//
// The way of a task: a [Delivery] is claimed from a queue, [Decode] makes a [Task] of it, an executor turns the
// task into an [Outcome], and the broker settles the delivery with it.
package celery

// Package celery holds the types and the rules of the Celery protocol: what a message says, when it is due,
// what became of a task. It does no I/O and knows neither Redis nor the pool; every other package may use it.
//
// For programs that serve tasks in Go it has [Mux], [Handle] and the options of a task, [RequestFrom] to see the message behind
// a call, and the errors with which a handler ends otherwise than well: [Raise], [Retry], [Ignore], [Reject]. For those that send
// tasks it has [S], [Chain], [Group], [Chord] and [Options]; package client sends them. The rest is what agensium is made of.
//
// The way of a task: a [Delivery] is claimed from a queue, [Decode] makes a [Task] of it, an executor turns the
// task into an [Outcome], and the broker settles the delivery with it.
package celery

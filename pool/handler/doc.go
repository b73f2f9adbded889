// Package handler is the executor of tasks that are Go functions in this process: a goroutine for each task, the soft
// time limit as the cancellation of its context, the hard one as the end of our patience.
//
// A goroutine cannot be killed. One that is still running at its hard limit, or when its slot is told to stop, is
// given up: the outcome is reported at once, beside an error that makes the slot close the executor, and the slot gets
// no other until the goroutine has ended. So the slot stays taken, and [Handlers.Overrun] counts it.
//
// The pool calls it. It opens no connection: what becomes of a task goes to a Recorder.
package handler

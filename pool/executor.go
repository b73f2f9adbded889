package pool

import (
	"context"
	"syscall"
	"time"

	"github.com/agensium/agensium/celery"
)

// Job is one task with what the supervisor decided about it. The settings in it are a snapshot: a reload does not
// change a job that has begun.
type Job struct {
	Task     *celery.Task
	Delivery *celery.Delivery
	Soft     time.Duration   // soft time limit; 0 means none
	Hard     time.Duration   // hard time limit; 0 means none
	Verdict  *celery.Verdict // not nil: do not run the task, record this
	Repr     bool            // somebody wants to see the repr of the return value
}

// Executor runs one task at a time. It is called by the one slot that owns it.
type Executor interface {
	// Execute runs the job and keeps its time limits. When ctx is cancelled it kills what runs and returns at once;
	// context.Cause tells why. An error means that the executor is unusable: the slot closes it and starts another.
	// The outcome beside an error tells of the task: State Lost, with the Loss, if the executor died under it; an
	// empty State if the task never reached the executor and may be run elsewhere.
	Execute(ctx context.Context, job Job) (celery.Outcome, error)
	// Close ends the executor and returns when nothing of it is left, or with an error when ctx ends first.
	Close(ctx context.Context) error
}

// Process is what an executor is besides if it stands for an operating system process.
type Process interface {
	PID() int
	Done() <-chan struct{} // closed when the process is gone, also between tasks
}

// Runner is what an executor is besides if a task may run in another process than its own.
type Runner interface {
	PIDOf(t *celery.Task) int // 0 if the task does not run
}

// PIDOf is the process in which an executor runs a task; 0 if it does not run, or nobody can tell.
func PIDOf(e Executor, t *celery.Task) int {
	if r, ok := e.(Runner); ok {
		return r.PIDOf(t)
	}
	if p, ok := e.(Process); ok {
		return p.PID()
	}
	return 0
}

// Signaler is what an executor is besides if the task that it runs can be ended by a signal.
type Signaler interface {
	// Signal sends it to what runs the task, and returns false if that is another one by now, or if only killing is left. How
	// the task ends is then what Execute returns: State Lost, with celery.LossTerminated, if the signal ended the executor.
	Signal(t *celery.Task, signal syscall.Signal) bool
}

// Factory starts executors, for any number of slots at once.
type Factory interface {
	// Start returns when the executor can run a task, or with an error that says what to do about it.
	Start(ctx context.Context, slot int) (Executor, error)
}

// Source hands out work and takes what became of it. The supervisor implements it.
type Source interface {
	// Next settles done, if there is one, and waits for the slot's next job. When ctx is cancelled first it returns
	// context.Cause(ctx); done is settled all the same. ErrDraining says that no more work will come.
	Next(ctx context.Context, slot int, done *Finished) (Job, error)
	// Settle settles done and asks for nothing.
	Settle(ctx context.Context, done Finished) error
	// Lost is asked when an executor died under a job: a verdict is recorded by the slot's next executor and settled
	// as the job's outcome; nil means that the loss itself is to be settled.
	Lost(job Job, loss *celery.Loss) *celery.Verdict
}

// Finished is a job that has ended.
type Finished struct {
	Job     Job
	Outcome celery.Outcome
	Loss    *celery.Loss // how the executor died that ran the job, if there is a verdict for it
}

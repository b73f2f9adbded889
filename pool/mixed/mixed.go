// Package mixed is an executor that gives each task to the executor that knows it: a Go handler, a command, or the
// Python application. A slot is one unit of concurrency, whatever fills it.
//
// The supervisor makes one when more than one kind of task is served; the pool calls it. It decides by the task's name
// alone and looks into no message.
package mixed

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/backend"
	"github.com/agensium/agensium/pool"
)

// Route is a kind of executor and the tasks that it knows.
type Route struct {
	Name    string // for logs: go, command
	Knows   func(task string) bool
	Factory pool.Factory
}

// Factory starts executors. Routes are asked in their order; Default takes what none of them knows. Default is the
// Python application, and may be nil.
type Factory struct {
	Routes  []Route
	Default pool.Factory
}

// Start starts an executor of each kind; those of Go handlers and commands cost nothing.
func (f *Factory) Start(ctx context.Context, slot int) (pool.Executor, error) {
	if f.Default == nil && len(f.Routes) == 0 {
		return nil, errors.New("start slot: there is nothing that runs tasks")
	}
	e := &executor{factory: f}
	for _, r := range f.Routes {
		started, err := r.Factory.Start(ctx, slot)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start executor of %s tasks: %w", r.Name, err), e.Close(ctx))
		}
		e.routed = append(e.routed, started)
	}
	if f.Default == nil {
		return e, nil
	}
	var err error
	if e.fallback, err = f.Default.Start(ctx, slot); err != nil {
		return nil, errors.Join(err, e.Close(ctx))
	}
	if p, ok := e.fallback.(pool.Process); ok {
		return &processExecutor{e, p}, nil
	}
	return e, nil
}

// executor is one slot's.
type executor struct {
	factory  *Factory
	routed   []pool.Executor // beside factory.Routes
	fallback pool.Executor   // nil if there is no default
}

// processExecutor is an executor whose default is a process.
type processExecutor struct {
	*executor
	pool.Process
}

// Execute gives the job to whoever knows its task. See pool.Executor. An error of one executor ends them all: the slot
// starts afresh.
func (e *executor) Execute(ctx context.Context, job pool.Job) (celery.Outcome, error) {
	x := e.choose(job.Task.Name)
	if e.fallback != nil && x != e.fallback {
		ctx = backend.WithErrbacks(ctx, e.errbacks)
	}
	return x.Execute(ctx, job)
}

// errbacks has the application call the errbacks of a task that ran in Go or as a program. Their own code decides which of them
// run here and which are sent.
func (e *executor) errbacks(ctx context.Context, t *celery.Task, v *celery.Verdict) error {
	_, err := e.fallback.Execute(ctx, pool.Job{Task: t, Verdict: v})
	return err
}

func (e *executor) choose(task string) pool.Executor {
	for i, r := range e.factory.Routes {
		if r.Knows(task) {
			return e.routed[i]
		}
	}
	if e.fallback != nil {
		return e.fallback
	}
	return e.routed[0] // nobody knows it: the first says so in its result
}

// Signal hands a signal to whoever runs the task. See pool.Signaler.
func (e *executor) Signal(t *celery.Task, signal syscall.Signal) bool {
	s, ok := e.choose(t.Name).(pool.Signaler)
	return ok && s.Signal(t, signal)
}

// PIDOf tells where a task runs. See pool.Runner.
func (e *executor) PIDOf(t *celery.Task) int { return pool.PIDOf(e.choose(t.Name), t) }

// Close ends all executors of the slot.
func (e *executor) Close(ctx context.Context) error {
	var errs []error
	for _, x := range append(e.routed[:len(e.routed):len(e.routed)], e.fallback) {
		if x != nil {
			errs = append(errs, x.Close(ctx))
		}
	}
	return errors.Join(errs...)
}

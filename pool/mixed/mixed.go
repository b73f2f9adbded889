// Package mixed is an executor that gives each task to the executor that knows it: a Go handler, a command, or the
// Python application. A slot is one unit of concurrency, whatever fills it.
//
// The supervisor makes one when more than one kind of task is served; the pool calls it. It decides by the task's name
// alone and looks into no message.
package mixed

import (
	"context"
	"errors"

	"github.com/agensium/agensium/celery"
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

// Start starts the default's executor, since that takes time and can fail; the routes' are started when the first task
// comes for them.
func (f *Factory) Start(ctx context.Context, slot int) (pool.Executor, error) {
	e := &executor{factory: f, slot: slot, routed: make([]pool.Executor, len(f.Routes))}
	if f.Default == nil {
		if len(f.Routes) == 0 {
			return nil, errors.New("start slot: there is nothing that runs tasks")
		}
		return e, nil
	}
	var err error
	if e.fallback, err = f.Default.Start(ctx, slot); err != nil {
		return nil, err
	}
	if p, ok := e.fallback.(pool.Process); ok {
		return &processExecutor{e, p}, nil
	}
	return e, nil
}

// executor is one slot's.
type executor struct {
	factory  *Factory
	slot     int
	fallback pool.Executor   // nil if there is no default
	routed   []pool.Executor // beside factory.Routes; nil until used
}

// processExecutor is an executor whose default is a process.
type processExecutor struct {
	*executor
	pool.Process
}

// Execute gives the job to whoever knows its task. See pool.Executor. An error of one executor ends them all: the slot
// starts afresh.
func (e *executor) Execute(ctx context.Context, job pool.Job) (celery.Outcome, error) {
	chosen, err := e.choose(ctx, job.Task.Name)
	if err != nil {
		return celery.Outcome{State: celery.Rejected, Requeue: true, Exception: err.Error()}, err
	}
	return chosen.Execute(ctx, job)
}

func (e *executor) choose(ctx context.Context, task string) (pool.Executor, error) {
	for i, r := range e.factory.Routes {
		if r.Knows(task) {
			return e.start(ctx, i)
		}
	}
	if e.fallback != nil {
		return e.fallback, nil
	}
	return e.start(ctx, 0) // nobody knows it: the first says so in its result
}

func (e *executor) start(ctx context.Context, i int) (pool.Executor, error) {
	if e.routed[i] == nil {
		started, err := e.factory.Routes[i].Factory.Start(ctx, e.slot)
		if err != nil {
			return nil, err
		}
		e.routed[i] = started
	}
	return e.routed[i], nil
}

// Close ends all executors of the slot.
func (e *executor) Close(ctx context.Context) error {
	var errs []error
	for _, x := range append(e.routed, e.fallback) {
		if x != nil {
			errs = append(errs, x.Close(ctx))
		}
	}
	return errors.Join(errs...)
}

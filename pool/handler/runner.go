package handler

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/pyjson"
)

// errExited ends a task whose handler took its goroutine away.
var errExited = errors.New("the handler called runtime.Goexit")

// runner is the goroutine on which the handlers of an executor run, one after another: its stack has grown once and
// serves them all. One that was given up ends with its handler.
type runner struct {
	calls chan call     // closed when there will be no more
	done  chan result   // capacity 1: nobody may be there to take it
	ended chan struct{} // closed when the goroutine has ended
}

// call is a handler to be run.
type call struct {
	ctx     context.Context //nolint:containedctx // it goes no further than the runner
	handler *celery.Handler
	request *celery.Request
}

// result is how a handler ended.
type result struct {
	value pyjson.Raw
	err   error
	took  time.Duration
}

func startRunner() *runner {
	r := &runner{calls: make(chan call), done: make(chan result, 1), ended: make(chan struct{})}
	go r.serve()
	return r
}

func (r *runner) serve() {
	defer close(r.ended)
	for c := range r.calls {
		r.done <- c.run()
	}
}

func (c call) run() result {
	began := time.Now()
	value, err := c.handler.Call(c.ctx, c.request.Args, c.request.Kwargs)
	if err != nil && errors.Is(err, context.Canceled) {
		if cause := context.Cause(c.ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err) // the limit is the reason, not the cancellation
		}
	}
	return result{value, err, time.Since(began)}
}

package handler

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/backend"
	"github.com/agensium/agensium/pool"
)

// Open opens the body of a job. Other executors in Go share it.
func Open(job pool.Job, node string, accept []string) (*celery.Request, error) {
	body, err := job.Task.Body()
	if err != nil {
		return nil, fmt.Errorf("open body of %s: %w", job.Task.Name, err)
	}
	queue := job.Task.RoutingKey
	if job.Delivery != nil {
		queue = job.Delivery.Queue
	}
	r, err := celery.Open(job.Task, body, queue, accept)
	if err != nil {
		return nil, err
	}
	r.Node = node
	return r, nil
}

// Unopened records the failure of a task whose body cannot be read: nobody else could read it either.
func Unopened(ctx context.Context, recorder Recorder, job pool.Job, err error) (celery.Outcome, error) {
	rec := backend.Record{Request: &celery.Request{Task: job.Task}, Ignore: job.Task.IgnoreResult}
	if job.Verdict != nil {
		return recorder.Verdict(ctx, rec, job.Verdict)
	}
	class, refused := "kombu.exceptions.DecodeError", "undecodable"
	if errors.Is(err, celery.ErrNotAccepted) {
		class, refused = "kombu.exceptions.ContentDisallowed", "content_type_refused"
	}
	out, err := recorder.Failed(ctx, rec, celery.NewException(class, err.Error()), err.Error()+"\n")
	out.Refused = refused
	return out, err
}

// Unknown records the failure of a task that nobody here knows.
func Unknown(ctx context.Context, recorder Recorder, rec backend.Record) (celery.Outcome, error) {
	out, err := recorder.Failed(ctx, rec, celery.NewException("celery.exceptions.NotRegistered", rec.Request.Name), "")
	out.Refused = "unknown_task"
	return out, err
}

// record turns the end of a handler into an outcome.
func record(ctx context.Context, recorder Recorder, rec backend.Record, res result) (celery.Outcome, error) {
	if res.err == nil {
		return recorder.Done(ctx, rec, res.value)
	}
	var reject *celery.RejectError
	var retry *celery.RetryError
	switch {
	case celery.Ignores(res.err):
		return celery.Outcome{State: celery.StateIgnored, Runtime: res.took}, nil
	case errors.As(res.err, &reject):
		return rejected(ctx, recorder, rec, reject)
	case errors.As(res.err, &retry):
		if retry.Err == nil {
			return recorder.Retried(ctx, rec, nil, retry.After, "")
		}
		exc := celery.ExceptionOf(retry.Err)
		return recorder.Retried(ctx, rec, &exc, retry.After, Traceback(retry.Err, exc))
	}
	exc := celery.ExceptionOf(res.err)
	return recorder.Failed(ctx, rec, exc, Traceback(res.err, exc))
}

// rejected is the outcome of a task that does not want its message. One that does not come back is a failure, as in Celery since
// 5.7: before, whoever waited for the result waited for ever.
func rejected(ctx context.Context, recorder Recorder, rec backend.Record, reject *celery.RejectError) (celery.Outcome, error) {
	exc := celery.NewException("celery.exceptions.Reject", nil, reject.Requeue)
	out := celery.Outcome{Runtime: rec.Runtime, Exception: exc.Repr()}
	if !reject.Requeue {
		var err error
		if out, err = recorder.Failed(ctx, rec, exc, ""); err != nil {
			return out, err
		}
	}
	out.State, out.Requeue = celery.StateRejected, reject.Requeue
	return out, nil
}

// Traceback is what stands for Python's traceback: the stack of a panic, else the chain of errors, and last the line
// that Python would print.
func Traceback(err error, exc celery.Exception) string {
	var b strings.Builder
	b.WriteString("Traceback (most recent call last):\n")
	var panicd *celery.PanicError
	if errors.As(err, &panicd) {
		for line := range strings.Lines(string(panicd.Stack)) {
			b.WriteString("  " + strings.Replace(line, "\t", "    ", 1))
		}
	} else {
		for e := err; e != nil; e = errors.Unwrap(e) {
			fmt.Fprintf(&b, "  %T: %v\n", e, e)
		}
	}
	b.WriteString(exc.LastLine() + "\n")
	return b.String()
}

package handler

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/backend"
	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/pool"
)

// Recorder stores what becomes of a task and sends what follows from it. *backend.Backend is one.
type Recorder interface {
	Started(ctx context.Context, r *celery.Request) error
	Done(ctx context.Context, rec backend.Record, value pyjson.Raw) (celery.Outcome, error)
	Failed(ctx context.Context, rec backend.Record, exc celery.Exception, traceback string) (celery.Outcome, error)
	Retried(ctx context.Context, rec backend.Record, exc *celery.Exception, after time.Duration, traceback string) (celery.Outcome, error)
	Verdict(ctx context.Context, rec backend.Record, v *celery.Verdict) (celery.Outcome, error)
}

// ErrOverrun says that a handler did not end when it should have. Its slot waits for it in Close.
var ErrOverrun = errors.New("handler still runs")

// Options are the settings of all executors of a process. Mux and Recorder are required.
type Options struct {
	Mux      *celery.Mux
	Recorder Recorder
	Node     string   // name of the worker, as in w1@host
	Accept   []string // content types besides JSON: msgpack, yaml
	Started  bool     // store STARTED of every task: task_track_started
	Ignore   bool     // store no result of any task: task_ignore_result
	Overdue  *Overdue // shared by factories that follow one another in a pool; nil: of this factory alone
	Log      hclog.Logger
}

// Handlers makes executors. It is the pool.Factory of Go handlers.
type Handlers struct {
	Options
	overruns atomic.Int64
}

// New returns a factory, or says which option is missing.
func New(o Options) (*Handlers, error) {
	if o.Mux == nil || o.Recorder == nil {
		return nil, errors.New("go handlers: Mux and Recorder are required")
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Overdue == nil {
		o.Overdue = &Overdue{}
	}
	return &Handlers{Options: o}, nil
}

// Overrun is the number of goroutines that were given up and still run. Each holds a slot.
func (h *Handlers) Overrun() int { return h.Overdue.Running() }

// Overruns is how many there have been since the start.
func (h *Handlers) Overruns() int { return int(h.overruns.Load()) }

// Start returns an executor. It waits while a goroutine that was given up in the slot still runs.
func (h *Handlers) Start(ctx context.Context, slot int) (pool.Executor, error) {
	e := &executor{Handlers: h, slot: slot, log: h.Log.With("slot", slot)}
	if err := e.free(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// executor runs one task at a time.
type executor struct {
	*Handlers
	slot   int
	log    hclog.Logger
	runner *runner // nil until there is something to run
}

// free waits until no goroutine that was given up holds the slot.
func (e *executor) free(ctx context.Context) error {
	ended := e.Overdue.of(e.slot)
	if ended == nil {
		return nil
	}
	select {
	case <-ended:
	case <-ctx.Done():
		return fmt.Errorf("slot %d: %w: %w", e.slot, ErrOverrun, ctx.Err())
	}
	if e.Overdue.remove(e.slot, ended) {
		e.log.Info("handler that was given up has ended", "next", "slot is free")
	}
	return nil
}

// Execute runs the job. See pool.Executor.
func (e *executor) Execute(ctx context.Context, job pool.Job) (celery.Outcome, error) {
	r, err := Open(job, e.Node, e.Accept)
	if err != nil {
		return Unopened(ctx, e.Recorder, job, err)
	}
	h := e.Mux.Lookup(job.Task.Name)
	rec := backend.Record{Request: r, Ignore: r.IgnoreResult, MaxRetries: 3, RetryDelay: 3 * time.Minute, Repr: job.Repr}
	if h != nil {
		rec.Ignore, rec.MaxRetries, rec.RetryDelay = rec.Ignore || e.Ignore || h.Options.IgnoreResult, h.MaxRetries, h.RetryDelay
	}
	if job.Verdict != nil {
		return e.Recorder.Verdict(ctx, rec, job.Verdict)
	}
	if h == nil {
		return Unknown(ctx, e.Recorder, rec)
	}
	if (e.Started || h.Options.TrackStarted) && !rec.Ignore {
		if err := e.Recorder.Started(ctx, r); err != nil {
			return celery.Outcome{}, err
		}
	}
	res, lost := e.run(ctx, h, r, job)
	rec.Runtime = res.took
	if lost != nil {
		return e.report(ctx, rec, lost)
	}
	return record(ctx, e.Recorder, rec, res)
}

// report tells of a task that was given up. The hard limit and the end that somebody asked for are recorded here and now: the next
// executor of the slot, which could record them, may be long in coming.
func (e *executor) report(ctx context.Context, rec backend.Record, lost *celery.Loss) (celery.Outcome, error) {
	overrun := fmt.Errorf("run %s: %w", rec.Request.Name, ErrOverrun)
	switch lost.Cause {
	case celery.LossTerminated:
		out, err := e.Recorder.Verdict(context.WithoutCancel(ctx), rec, &celery.Verdict{State: celery.StateRevoked,
			Type: "TaskRevokedError", Module: "celery.exceptions", Args: []any{"terminated"}, Cause: string(lost.Cause)})
		out.Loss, out.Runtime = lost, rec.Runtime
		return out, errors.Join(overrun, err)
	case celery.LossHardLimit:
	default:
		return celery.Outcome{State: celery.StateLost, Loss: lost, Runtime: rec.Runtime}, overrun
	}
	seconds := any(lost.Limit.Seconds())
	if lost.Limit%time.Second == 0 {
		seconds = int(lost.Limit / time.Second)
	}
	out, err := e.Recorder.Failed(ctx, rec, celery.NewException("billiard.exceptions.TimeLimitExceeded", seconds), "")
	out.Loss = lost
	return out, errors.Join(overrun, err)
}

// run has the runner call the handler and waits for it, for the hard limit, or for the end of ctx. Whoever made ctx ends it
// when the task has ended.
func (e *executor) run(ctx context.Context, h *celery.Handler, r *celery.Request, job pool.Job) (result, *celery.Loss) {
	began := time.Now()
	taskCtx, cancel := celery.WithRequest(ctx, r), func(error) {}
	if job.Hard > 0 {
		r.Deadline = began.Add(job.Hard)
	}
	if job.Hard > 0 || job.Soft > 0 {
		taskCtx, cancel = context.WithCancelCause(taskCtx)
		defer cancel(nil)
	}
	if e.runner == nil {
		e.runner = startRunner()
	}
	e.runner.calls <- call{taskCtx, h, r}
	soft, hard := timer(job.Soft), timer(job.Hard)
	defer stop(soft)
	defer stop(hard)
	for {
		select {
		case res := <-e.runner.done:
			return res, nil
		case <-e.runner.ended:
			e.runner = nil
			return result{err: errExited, took: time.Since(began)}, nil
		case <-channel(soft):
			e.log.Warn("soft time limit", "task", h.Name, "id", r.ID, "limit", job.Soft)
			soft = nil
			cancel(celery.ErrSoftLimit)
		case <-channel(hard):
			if soft != nil && job.Soft <= job.Hard {
				cancel(celery.ErrSoftLimit) // over, too: this goroutine is late, and the handler hears of what came first
			}
			cancel(fmt.Errorf("hard time limit of %s reached", job.Hard))
			return e.giveUp(began, &celery.Loss{Cause: celery.LossHardLimit, ExitCode: -1, Limit: job.Hard,
				Detail: fmt.Sprintf("%s did not end within its hard time limit of %s", h.Name, job.Hard)})
		case <-ctx.Done():
			cause := context.Cause(ctx)
			cancel(cause)
			return e.giveUp(began, &celery.Loss{Cause: LossOf(ctx), ExitCode: -1, Detail: fmt.Sprintf("%s was told to stop: %v", h.Name, cause)})
		}
	}
}

// giveUp leaves the runner alone.
func (e *executor) giveUp(began time.Time, loss *celery.Loss) (result, *celery.Loss) {
	e.Overdue.add(e.slot, e.runner.ended)
	close(e.runner.calls)
	e.runner = nil
	e.overruns.Add(1)
	level := hclog.Error
	if loss.Cause == celery.LossTerminated || loss.Cause == celery.LossShutdown {
		level = hclog.Info // as it was asked to
	}
	e.log.Log(level, "handler given up", "reason", loss.Cause, "error", loss.Detail, "next", "slot waits until it ends")
	return result{took: time.Since(began)}, loss
}

// PIDOf is our own process, as it is with Celery's pools of threads. See pool.Runner.
func (e *executor) PIDOf(*celery.Task) int { return os.Getpid() }

// Close returns when no goroutine of the executor is left, or with an error when ctx ends first.
func (e *executor) Close(ctx context.Context) error {
	if r := e.runner; r != nil {
		e.runner = nil
		close(r.calls)
		<-r.ended // it is idle
	}
	return e.free(ctx)
}

// LossOf finds the cause of a loss in what ended a context: an error with a LossCause method, else a shutdown.
func LossOf(ctx context.Context) celery.LossCause {
	var told interface{ LossCause() celery.LossCause }
	if errors.As(context.Cause(ctx), &told) {
		return told.LossCause()
	}
	return celery.LossShutdown
}

func timer(d time.Duration) *time.Timer {
	if d <= 0 {
		return nil
	}
	return time.NewTimer(d)
}

func channel(t *time.Timer) <-chan time.Time {
	if t == nil {
		return nil
	}
	return t.C
}

func stop(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

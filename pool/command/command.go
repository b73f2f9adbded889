package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/backend"
	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/handler"
)

// Options are the settings of all executors of a process. Recorder is required.
type Options struct {
	Commands []Spec
	Recorder handler.Recorder
	Node     string   // name of the worker, as in w1@host
	Accept   []string // content types besides JSON: msgpack, yaml
	Log      hclog.Logger

	// OOMScoreAdj is how much rather than us the kernel kills a program when memory runs out, 0 to 1000. Nil: like us.
	OOMScoreAdj func() int
}

// Commands makes executors. It is the pool.Factory of commands.
type Commands struct {
	Options
	specs map[string]*Spec
}

// New checks the commands and returns a factory.
func New(o Options) (*Commands, error) {
	if o.Recorder == nil {
		return nil, errors.New("commands: Recorder is required")
	}
	if o.OOMScoreAdj == nil {
		o.OOMScoreAdj = func() int { return 0 }
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	c := &Commands{Options: o, specs: map[string]*Spec{}}
	for i := range o.Commands {
		s := &c.Commands[i]
		if err := s.check(); err != nil {
			return nil, err
		}
		if c.specs[s.Task] != nil {
			return nil, fmt.Errorf("command %s is there twice", s.Task)
		}
		c.specs[s.Task] = s
	}
	return c, nil
}

// Lookup returns the command of a task, or nil.
func (c *Commands) Lookup(task string) *Spec { return c.specs[task] }

// Start returns an executor; there is nothing to wait for.
func (c *Commands) Start(_ context.Context, slot int) (pool.Executor, error) {
	return &executor{Commands: c, signals: make(chan syscall.Signal, 1), log: c.Log.With("slot", slot)}, nil
}

type executor struct {
	*Commands
	signals chan syscall.Signal // to the program that runs
	log     hclog.Logger

	mu   sync.Mutex
	task *celery.Task // whose program runs
	pid  int          // of the program; 0 if it has not started
}

// PIDOf is the task's program. See pool.Runner.
func (e *executor) PIDOf(t *celery.Task) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.task != t {
		return 0
	}
	return e.pid
}

// started notes the program.
func (e *executor) started(pid int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pid = pid
}

// Signal sends a signal to the program's process group. See pool.Signaler.
func (e *executor) Signal(t *celery.Task, signal syscall.Signal) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.task != t {
		return false
	}
	select {
	case e.signals <- signal:
		return true
	default:
		return false
	}
}

// runs notes whose program runs; a signal that came too late for the last one is dropped.
func (e *executor) runs(t *celery.Task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.task, e.pid = t, 0
	select {
	case <-e.signals:
	default:
	}
}

// Close has nothing to do: no process outlives its Execute.
func (e *executor) Close(context.Context) error { return nil }

// ErrKilled says that a program was killed, by us or by somebody else, and tells the slot to ask what that means.
var ErrKilled = errors.New("program was killed")

// Execute runs the job. See pool.Executor.
func (e *executor) Execute(ctx context.Context, job pool.Job) (celery.Outcome, error) {
	r, err := handler.Open(job, e.Node, e.Accept)
	if err != nil {
		return handler.Unopened(ctx, e.Recorder, job, err)
	}
	spec := e.Lookup(job.Task.Name)
	rec := backend.Record{Request: r, Ignore: r.IgnoreResult, Repr: job.Repr}
	if spec != nil {
		rec.Ignore, rec.MaxRetries, rec.RetryDelay = rec.Ignore || spec.Options.IgnoreResult, spec.MaxRetries, spec.RetryAfter
	}
	if job.Verdict != nil {
		return e.Recorder.Verdict(ctx, rec, job.Verdict)
	}
	if spec == nil {
		return handler.Unknown(ctx, e.Recorder, rec)
	}
	argv, err := spec.argv(r)
	if err != nil {
		exc := celery.ExceptionOf(err)
		return e.Recorder.Failed(ctx, rec, exc, handler.Traceback(err, exc))
	}
	if spec.Options.TrackStarted && !rec.Ignore {
		if err := e.Recorder.Started(ctx, r); err != nil {
			return celery.Outcome{}, err
		}
	}
	began := time.Now()
	run := process{spec: spec, argv: argv, request: r, victim: e.OOMScoreAdj(), signals: e.signals, started: e.started, log: e.log.With("task", spec.Task, "id", r.ID)}
	e.runs(job.Task)
	end, err := run.do(ctx, job.Soft, job.Hard)
	e.runs(nil)
	rec.Runtime = time.Since(began)
	if err != nil {
		exc := exceptionOf(err)
		return e.Recorder.Failed(ctx, rec, exc, exc.LastLine()+"\n")
	}
	if end.loss != nil {
		return celery.Outcome{State: celery.StateLost, Loss: end.loss, Runtime: rec.Runtime, MaxRSS: end.exit.MaxRSS}, fmt.Errorf("run %s: %w", spec.Task, ErrKilled)
	}
	out, err := e.settle(ctx, rec, spec, end)
	out.MaxRSS = end.exit.MaxRSS
	return out, err
}

// settle turns the end of a process into an outcome.
func (e *executor) settle(ctx context.Context, rec backend.Record, spec *Spec, end end) (celery.Outcome, error) {
	switch {
	case end.tooLong:
		exc := celery.NewException("ValueError", fmt.Sprintf("%s wrote more than %d bytes to stdout", spec.Run[0], spec.MaxOutput))
		return e.Recorder.Failed(ctx, rec, exc, end.traceback(exc))
	case end.exit.Code != 0 && end.soft:
		exc := celery.NewException("billiard.exceptions.SoftTimeLimitExceeded")
		return e.Recorder.Failed(ctx, rec, exc, end.traceback(exc))
	case end.exit.Code != 0:
		exc := celery.NewException("subprocess.CalledProcessError", end.exit.Code, spec.Run[0], nil, end.tail())
		if slices.Contains(spec.RetryOn, end.exit.Code) {
			return e.Recorder.Retried(ctx, rec, &exc, spec.RetryAfter, end.traceback(exc))
		}
		return e.Recorder.Failed(ctx, rec, exc, end.traceback(exc))
	}
	value, err := spec.read(end.stdout)
	if err != nil {
		exc := celery.NewException("ValueError", err.Error())
		return e.Recorder.Failed(ctx, rec, exc, end.traceback(exc))
	}
	return e.Recorder.Done(ctx, rec, value)
}

// read makes the task's value of what the program wrote.
func (s *Spec) read(stdout []byte) (pyjson.Raw, error) {
	switch s.Result {
	case "none":
		return pyjson.Raw("null"), nil
	}
	if at := misfit(stdout); at < len(stdout) {
		return nil, fmt.Errorf("stdout of %s is not UTF-8: byte %d", s.Run[0], at)
	}
	if s.Result == "text" {
		return pyjson.AppendString(nil, string(stdout)), nil
	}
	value := pyjson.Trim(stdout)
	if len(value) == 0 {
		return pyjson.Raw("null"), nil
	}
	if err := pyjson.Valid(value); err != nil {
		return nil, fmt.Errorf("stdout of %s is not JSON: %w", s.Run[0], err)
	}
	return value, nil
}

// misfit is the place of the first byte that is not UTF-8, or the end. Half of a surrogate pair, which Python's strings may hold and a
// program may have been given, passes.
func misfit(text []byte) int {
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r != utf8.RuneError || size != 1:
			i += size
		case len(text) >= i+3 && text[i] == 0xed && text[i+1]&0xe0 == 0xa0 && text[i+2]&0xc0 == 0x80:
			i += 3
		default:
			return i
		}
	}
	return len(text)
}

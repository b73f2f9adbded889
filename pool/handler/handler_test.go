package handler_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/backend"
	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/handler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder keeps what it is told in words.
type recorder struct {
	said    []string
	ignored bool // the result of the task that is done
}

func (r *recorder) say(what string, state celery.State) (celery.Outcome, error) {
	r.said = append(r.said, what)
	return celery.Outcome{State: state}, nil
}

func (r *recorder) Started(context.Context, *celery.Request) error {
	r.said = append(r.said, "started")
	return nil
}

func (r *recorder) Done(_ context.Context, rec backend.Record, value pyjson.Raw) (celery.Outcome, error) {
	r.ignored = rec.Ignore
	return r.say("done "+string(value), celery.StateSuccess)
}

func (r *recorder) Failed(_ context.Context, _ backend.Record, exc celery.Exception, traceback string) (celery.Outcome, error) {
	if strings.Contains(traceback, "handler_test.go") {
		traceback = " with stack"
	} else {
		traceback = ""
	}
	return r.say("failed "+exc.Repr()+traceback, celery.StateFailure)
}

func (r *recorder) Retried(_ context.Context, rec backend.Record, exc *celery.Exception, after time.Duration, _ string) (celery.Outcome, error) {
	if after < 0 {
		after = rec.RetryDelay
	}
	return r.say("retried "+exc.Repr()+" after "+after.String(), celery.StateRetry)
}

func (r *recorder) Verdict(_ context.Context, _ backend.Record, v *celery.Verdict) (celery.Outcome, error) {
	return r.say("verdict "+v.Type, v.State)
}

// job makes a job of a task with arguments.
func job(t *testing.T, task string, args ...any) pool.Job {
	t.Helper()
	plan, err := celery.NewSender().Apply(celery.S(task, args...), nil, celery.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := celery.Decode(plan.Messages[0].Raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pool.Job{Task: decoded}
}

func start(t *testing.T, mux *celery.Mux) (*handler.Handlers, pool.Executor, *recorder) {
	t.Helper()
	r := &recorder{}
	h, err := handler.New(handler.Options{Mux: mux, Recorder: r, Node: "w1@host"})
	if err != nil {
		t.Fatal(err)
	}
	e, err := h.Start(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return h, e, r
}

func TestEndsOfAHandler(t *testing.T) {
	mux := celery.NewMux()
	celery.Handle(mux, "t.ok", func(x int) int { return x }, celery.TrackStarted())
	celery.Handle(mux, "t.fails", func() error { return errors.New("no") })
	celery.Handle(mux, "t.panics", func() { panic("oh") })
	celery.Handle(mux, "t.exits", func() { runtime.Goexit() })
	celery.Handle(mux, "t.retries", func() error { return celery.Retry(errors.New("later"), time.Second) })
	celery.Handle(mux, "t.default", func() error { return celery.Retry(errors.New("later"), -1) }, celery.RetryDelay(time.Minute))
	celery.Handle(mux, "t.ignores", func() error { return celery.Ignore() })
	celery.Handle(mux, "t.rejects", func() error { return celery.Reject(true) })
	celery.Handle(mux, "t.soft", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	celery.Handle(mux, "t.cleans", func(ctx context.Context) (bool, error) {
		<-ctx.Done()
		return errors.Is(context.Cause(ctx), celery.ErrSoftLimit), nil
	})
	revoked := &celery.Verdict{State: celery.StateRevoked, Type: "TaskRevokedError"}
	cases := map[string]struct {
		task    string
		args    []any
		soft    time.Duration
		verdict *celery.Verdict
		want    string
		state   celery.State
	}{
		"success":          {"t.ok", []any{3}, 0, nil, "started, done 3", celery.StateSuccess},
		"arguments":        {"t.ok", []any{"x"}, 0, nil, `started, failed TypeError('ok() argument 1 must be int, not str')`, celery.StateFailure},
		"failure":          {"t.fails", nil, 0, nil, "failed RuntimeError('no')", celery.StateFailure},
		"panic":            {"t.panics", nil, 0, nil, "failed Panic('oh') with stack", celery.StateFailure},
		"exit":             {"t.exits", nil, 0, nil, "failed RuntimeError('the handler called runtime.Goexit')", celery.StateFailure},
		"retry":            {"t.retries", nil, 0, nil, "retried RuntimeError('later') after 1s", celery.StateRetry},
		"retry by default": {"t.default", nil, 0, nil, "retried RuntimeError('later') after 1m0s", celery.StateRetry},
		"ignore":           {"t.ignores", nil, 0, nil, "", celery.StateIgnored},
		"reject":           {"t.rejects", nil, 0, nil, "", celery.StateRejected},
		"soft limit":       {"t.soft", nil, time.Millisecond, nil, "failed SoftTimeLimitExceeded()", celery.StateFailure},
		"soft limit used":  {"t.cleans", nil, time.Millisecond, nil, "done true", celery.StateSuccess},
		"unknown":          {"t.other", nil, 0, nil, "failed NotRegistered('t.other')", celery.StateFailure},
		"verdict":          {"t.ok", []any{1}, 0, revoked, "verdict TaskRevokedError", celery.StateRevoked},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, e, r := start(t, mux)
			j := job(t, c.task, c.args...)
			j.Soft, j.Verdict = c.soft, c.verdict
			out, err := e.Execute(t.Context(), j)
			if err != nil || out.State != c.state || strings.Join(r.said, ", ") != c.want {
				t.Errorf("got %s, %v: %q", out.State, err, r.said)
			}
			if err := e.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

type terminated struct{ error }

func (terminated) LossCause() celery.LossCause { return celery.LossTerminated }

func TestASlotStaysTakenUntilItsHandlerEnds(t *testing.T) {
	release := make(chan struct{})
	mux := celery.NewMux()
	celery.Handle(mux, "t.deaf", func() { <-release })
	stopped, stop := context.WithCancelCause(t.Context())
	cases := map[string]struct {
		ctx  context.Context
		hard time.Duration
		want string
	}{
		"hard limit": {t.Context(), time.Millisecond, "FAILURE hard_limit failed TimeLimitExceeded(0.001)"},
		"terminated": {stopped, 0, "REVOKED terminated verdict TaskRevokedError"},
	}
	stop(terminated{errors.New("revoked")})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			h, e, r := start(t, mux)
			j := job(t, "t.deaf")
			j.Hard = c.hard
			out, err := e.Execute(c.ctx, j)
			got := string(out.State) + " "
			if out.Loss != nil {
				got += string(out.Loss.Cause) + " "
			}
			if got += strings.Join(r.said, ", "); !errors.Is(err, handler.ErrOverrun) || got != c.want {
				t.Fatalf("got %+v, %v: %q", out, err, r.said)
			}
			if h.Overrun() != 1 || h.Overruns() != 1 {
				t.Errorf("overrun: %d now, %d in all", h.Overrun(), h.Overruns())
			}
			late, cancel := context.WithCancel(t.Context())
			cancel()
			if err := e.Close(late); !errors.Is(err, handler.ErrOverrun) {
				t.Errorf("the slot is free, though its handler runs: %v", err)
			}
			if _, err := h.Start(late, 1); !errors.Is(err, handler.ErrOverrun) {
				t.Errorf("another executor is in the slot, though its handler runs: %v", err)
			}
			if _, err := h.Start(late, 2); err != nil {
				t.Errorf("another slot: %v", err)
			}
			release <- struct{}{}
			if err := e.Close(t.Context()); err != nil || h.Overrun() != 0 || h.Overruns() != 1 {
				t.Errorf("close: %v; overrun: %d now, %d in all", err, h.Overrun(), h.Overruns())
			}
		})
	}
}

// Whoever watches the limits may be late, and find both over.
func TestAHandlerHearsOfTheLimitThatCameFirst(t *testing.T) {
	told := make(chan error, 1)
	mux := celery.NewMux()
	celery.Handle(mux, "t.told", func(ctx context.Context) { <-ctx.Done(); told <- context.Cause(ctx) })
	for range 20 {
		_, e, _ := start(t, mux)
		j := job(t, "t.told")
		j.Soft, j.Hard = 1, 1
		_, _ = e.Execute(t.Context(), j) // it may end in time
		if cause := <-told; !errors.Is(cause, celery.ErrSoftLimit) {
			t.Errorf("told of %v", cause)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// An application may say it for all its tasks, those in Go among them.
func TestSettingsOfAllTasks(t *testing.T) {
	mux := celery.NewMux()
	celery.Handle(mux, "t.ok", func() {})
	for want, o := range map[string]handler.Options{"started, done null": {Started: true}, "done null": {Started: true, Ignore: true}} {
		r := &recorder{}
		o.Mux, o.Recorder = mux, r
		h, err := handler.New(o)
		if err != nil {
			t.Fatal(err)
		}
		e, err := h.Start(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Execute(t.Context(), job(t, "t.ok")); err != nil || strings.Join(r.said, ", ") != want || r.ignored != o.Ignore {
			t.Errorf("got %q, ignored %t, %v, want %s", r.said, r.ignored, err, want)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A reload makes another factory; the slots stay.
func TestAHandlerThatWasGivenUpHoldsItsSlotThroughAReload(t *testing.T) {
	release := make(chan struct{})
	mux := celery.NewMux()
	celery.Handle(mux, "t.deaf", func() { <-release })
	overdue := &handler.Overdue{}
	factory := func() *handler.Handlers {
		h, err := handler.New(handler.Options{Mux: mux, Recorder: &recorder{}, Overdue: overdue})
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	e, err := factory().Start(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	j := job(t, "t.deaf")
	j.Hard = time.Millisecond
	if _, err := e.Execute(t.Context(), j); !errors.Is(err, handler.ErrOverrun) {
		t.Fatal(err)
	}
	late, cancel := context.WithCancel(t.Context())
	cancel()
	next := factory()
	if _, err := next.Start(late, 1); !errors.Is(err, handler.ErrOverrun) || next.Overrun() != 1 || !overdue.Holds(1) || overdue.Holds(2) {
		t.Errorf("the slot is free for the next factory: %v, %d overrun", err, next.Overrun())
	}
	release <- struct{}{}
	again, err := next.Start(t.Context(), 1)
	if err != nil || next.Overrun() != 0 || overdue.Holds(1) {
		t.Errorf("the slot is held though its handler has ended: %v, %d overrun", err, next.Overrun())
	}
	for _, x := range []pool.Executor{e, again} {
		if err := x.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestABodyThatCannotBeReadFailsTheTask(t *testing.T) {
	_, e, r := start(t, celery.NewMux())
	task := &celery.Task{ID: "1", Name: "t.x", ContentType: "application/x-python-serialize",
		Raw: []byte(`{"body": "gAJdcQAu", "content-type": "application/x-python-serialize", "content-encoding": "binary", "headers": {"task": "t.x", "id": "1"}, "properties": {"body_encoding": "base64"}}`)}
	out, err := e.Execute(t.Context(), pool.Job{Task: task})
	if err != nil || out.State != celery.StateFailure || len(r.said) != 1 || !strings.Contains(r.said[0], "pickle is not read here") {
		t.Errorf("got %+v, %v: %q", out, err, r.said)
	}
}

func BenchmarkExecute(b *testing.B) {
	mux := celery.NewMux()
	celery.Handle(mux, "t.add", func(_ context.Context, x, y int) (int, error) { return x + y, nil })
	h, err := handler.New(handler.Options{Mux: mux, Recorder: &mute{}})
	if err != nil {
		b.Fatal(err)
	}
	e, _ := h.Start(b.Context(), 0)
	defer e.Close(context.Background())
	plan, err := celery.NewSender().Apply(celery.S("t.add", 1, 2), nil, celery.Options{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	task, err := celery.Decode(plan.Messages[0].Raw, nil)
	if err != nil {
		b.Fatal(err)
	}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Execute(ctx, pool.Job{Task: task, Hard: time.Minute}); err != nil {
			b.Fatal(err)
		}
	}
}

// mute writes the document and nothing else.
type mute struct{ recorder }

func (*mute) Done(_ context.Context, rec backend.Record, value pyjson.Raw) (celery.Outcome, error) {
	d := celery.Documents{}
	return celery.Outcome{State: celery.StateSuccess, Results: []celery.Result{d.Of(rec.Request, celery.StateSuccess, value, "")}}, nil
}

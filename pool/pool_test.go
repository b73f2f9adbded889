package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/agensium/agensium/celery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a Source fed by the test.
type desk struct {
	jobs    chan Job
	verdict func(Job, *celery.Loss) *celery.Verdict

	mu      sync.Mutex
	settled []Finished
	note    chan struct{} // one token for each settled job
}

func newDesk() *desk { return &desk{jobs: make(chan Job), note: make(chan struct{}, 1000)} }

func (d *desk) Next(ctx context.Context, _ int, done *Finished) (Job, error) {
	if done != nil {
		d.record(*done)
	}
	select {
	case job := <-d.jobs:
		return job, nil
	case <-ctx.Done():
		return Job{}, context.Cause(ctx)
	}
}

func (d *desk) Settle(_ context.Context, done Finished) error { d.record(done); return nil }

func (d *desk) Lost(job Job, loss *celery.Loss) *celery.Verdict {
	if d.verdict == nil {
		return nil
	}
	return d.verdict(job, loss)
}

func (d *desk) record(f Finished) {
	d.mu.Lock()
	d.settled = append(d.settled, f)
	d.mu.Unlock()
	d.note <- struct{}{}
}

func (d *desk) outcomes() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []string
	for _, f := range d.settled {
		all = append(all, f.Job.Task.ID+"="+string(f.Outcome.State))
	}
	return strings.Join(all, " ")
}

// plant makes executors that behave as the name of the task says.
type plant struct {
	mu      sync.Mutex
	started int
	open    int
	release chan struct{} // "hold" waits for it
	fail    int           // how many starts fail
}

func newPlant() *plant { return &plant{release: make(chan struct{})} }

func (p *plant) Start(_ context.Context, slot int) (Executor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail > 0 {
		p.fail--
		return nil, errors.New("no such interpreter")
	}
	p.started++
	p.open++
	return &worker{plant: p, number: p.started, done: make(chan struct{})}, nil
}

func (p *plant) counts() (started, open int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.started, p.open
}

type worker struct {
	plant  *plant
	number int
	done   chan struct{}
	once   sync.Once
}

func (w *worker) PID() int              { return 1000 + w.number }
func (w *worker) Done() <-chan struct{} { return w.done }
func (w *worker) die()                  { w.once.Do(func() { close(w.done) }) }

func (w *worker) Execute(ctx context.Context, job Job) (celery.Outcome, error) {
	if job.Verdict != nil {
		if job.Task.Name == "crash all" || job.Task.Name == "crash twice" && w.number == 2 {
			w.die()
			return celery.Outcome{State: celery.StateLost, Loss: &celery.Loss{Cause: celery.LossOOM}}, errors.New("gone")
		}
		return celery.Outcome{State: job.Verdict.State}, nil
	}
	switch job.Task.Name {
	case "hold":
		select {
		case <-w.plant.release:
		case <-ctx.Done():
			w.die()
			return celery.Outcome{State: celery.StateLost, Loss: &celery.Loss{Cause: celery.LossTerminated}}, context.Cause(ctx)
		}
	case "crash", "crash twice", "crash all":
		w.die()
		return celery.Outcome{State: celery.StateLost, Loss: &celery.Loss{Cause: celery.LossSignal, Signal: 9}}, errors.New("gone")
	case "refuse-once":
		if w.number == 1 {
			w.die()
			return celery.Outcome{}, errors.New("gone before the task")
		}
	case "fat":
		return celery.Outcome{State: celery.StateSuccess, MaxRSS: 1 << 40}, nil
	}
	return celery.Outcome{State: celery.StateSuccess}, nil
}

func (w *worker) Close(context.Context) error {
	w.die()
	w.plant.mu.Lock()
	w.plant.open--
	w.plant.mu.Unlock()
	return nil
}

func job(id, name string) Job { return Job{Task: &celery.Task{ID: id, Name: name}} }

// inPool runs f with a pool of n slots in a bubble, and closes the pool.
func inPool(t *testing.T, n int, limits Limits, f func(*Pool, *desk, *plant)) {
	synctest.Test(t, func(t *testing.T) {
		d, w := newDesk(), newPlant()
		p := New(Options{Source: d, Factory: w, Limits: limits})
		p.Resize(n)
		synctest.Wait()
		f(p, d, w)
		if err := p.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
		synctest.Wait()
		if _, open := w.counts(); open != 0 {
			t.Errorf("%d executors left open", open)
		}
		if n := p.bugs.Load(); n != 0 {
			t.Errorf("%d steps that are not allowed", n)
		}
	})
}

func TestSlotRunsJobsOneAfterTheOther(t *testing.T) {
	inPool(t, 1, Limits{}, func(p *Pool, d *desk, w *plant) {
		for i := range 3 {
			d.jobs <- job(fmt.Sprint(i), "ok")
		}
		synctest.Wait()
		if got := d.outcomes(); got != "0=SUCCESS 1=SUCCESS 2=SUCCESS" {
			t.Error(got)
		}
		if started, _ := w.counts(); started != 1 {
			t.Errorf("%d executors for three jobs", started)
		}
	})
}

func TestExecutorIsReplacedWhen(t *testing.T) {
	tests := map[string]struct {
		limits  Limits
		tasks   []string
		started int
	}{
		"it ran its number of tasks": {Limits{MaxTasks: 2}, []string{"ok", "ok", "ok", "ok"}, 3},
		"it holds too much memory":   {Limits{MaxMemory: 1 << 30}, []string{"fat", "ok"}, 2},
		"it crashed":                 {Limits{}, []string{"crash", "ok"}, 2},
		"it refused the task":        {Limits{}, []string{"refuse-once"}, 2},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inPool(t, 1, test.limits, func(p *Pool, d *desk, w *plant) {
				for i, task := range test.tasks {
					d.jobs <- job(fmt.Sprint(i), task)
				}
				synctest.Wait()
				if started, open := w.counts(); started != test.started || open != 1 {
					t.Errorf("%d started, %d open, want %d and 1", started, open, test.started)
				}
				if got := len(d.settled); got != len(test.tasks) {
					t.Errorf("%d of %d jobs settled: %s", got, len(test.tasks), d.outcomes())
				}
			})
		})
	}
}

func TestExecutorIsReplacedAtItsAge(t *testing.T) {
	inPool(t, 1, Limits{MaxAge: time.Minute}, func(p *Pool, d *desk, w *plant) {
		d.jobs <- job("young", "ok")
		<-time.After(2 * time.Minute) // in the bubble
		d.jobs <- job("old", "ok")
		synctest.Wait()
		if started, _ := w.counts(); started != 2 {
			t.Errorf("%d started", started)
		}
	})
}

func TestExecutorThatDiesWhileIdleIsReplaced(t *testing.T) {
	inPool(t, 1, Limits{}, func(p *Pool, d *desk, w *plant) {
		p.mu.Lock()
		p.slots[1].executor.(*worker).die()
		p.mu.Unlock()
		synctest.Wait()
		d.jobs <- job("a", "ok")
		synctest.Wait()
		if started, _ := w.counts(); started != 2 || d.outcomes() != "a=SUCCESS" {
			t.Errorf("%d started, %s", started, d.outcomes())
		}
	})
}

func TestVerdictOfALostJobIsRecordedByTheNextExecutor(t *testing.T) {
	inPool(t, 1, Limits{}, func(p *Pool, d *desk, w *plant) {
		d.verdict = func(_ Job, loss *celery.Loss) *celery.Verdict {
			return &celery.Verdict{State: celery.StateFailure, Type: "WorkerLostError", Args: []any{loss.Signal}}
		}
		d.jobs <- job("a", "crash")
		synctest.Wait()
		if d.outcomes() != "a=FAILURE" || d.settled[0].Loss == nil || d.settled[0].Loss.Signal != 9 {
			t.Errorf("%s, %+v", d.outcomes(), d.settled)
		}
	})
}

func TestAVerdictIsRecordedThoughTheFirstToRecordItDied(t *testing.T) {
	inPool(t, 1, Limits{}, func(_ *Pool, d *desk, w *plant) {
		d.verdict = func(Job, *celery.Loss) *celery.Verdict { return &celery.Verdict{State: celery.StateFailure} }
		d.jobs <- job("a", "crash twice")
		<-d.note
		d.jobs <- job("b", "crash all") // and three that were to record it
		<-d.note
		synctest.Wait()
		if started, _ := w.counts(); d.outcomes() != "a=FAILURE b=LOST" || started != 7 {
			t.Errorf("%s with %d executors", d.outcomes(), started)
		}
		if loss := d.settled[1].Loss; loss == nil || loss.Signal != 9 {
			t.Errorf("the task itself died of %+v", loss)
		}
	})
}

func TestAJobThatNoExecutorWillTakeWasNotBegun(t *testing.T) {
	inPool(t, 1, Limits{}, func(p *Pool, d *desk, w *plant) {
		w.fail = 1 << 30
		d.jobs <- job("a", "refuse-once")
		synctest.Wait()
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if len(d.settled) != 1 || d.settled[0].Outcome.State != celery.StateLost || d.settled[0].Outcome.Loss.Cause != celery.LossUnbegun {
			t.Errorf("settled as %+v", d.settled)
		}
	})
}

func TestSmallerPoolNeverStopsABusySlot(t *testing.T) {
	inPool(t, 3, Limits{}, func(p *Pool, d *desk, w *plant) {
		d.jobs <- job("a", "hold")
		d.jobs <- job("b", "hold")
		synctest.Wait()
		p.Resize(1)
		synctest.Wait()
		if s := p.Status(); s.Count(Busy) != 2 || len(s.Slots) != 2 {
			t.Fatalf("idle slot first: %+v", s)
		}
		w.release <- struct{}{}
		synctest.Wait()
		if s := p.Status(); s.Count(Busy) != 1 || len(s.Slots) != 1 {
			t.Fatalf("then the first that falls idle: %+v", s)
		}
		w.release <- struct{}{}
		synctest.Wait()
		if s := p.Status(); s.Count(Idle) != 1 || len(s.Slots) != 1 {
			t.Fatalf("the last one stays: %+v", s)
		}
		p.Resize(4)
		synctest.Wait()
		if s := p.Status(); s.Count(Idle) != 4 {
			t.Fatalf("up at once: %+v", s)
		}
	})
}

func TestWishForMoreSlotsForgetsTheSurplus(t *testing.T) {
	inPool(t, 2, Limits{}, func(p *Pool, d *desk, w *plant) {
		d.jobs <- job("a", "hold")
		d.jobs <- job("b", "hold")
		synctest.Wait()
		p.Resize(1)
		p.Resize(2)
		w.release <- struct{}{}
		w.release <- struct{}{}
		synctest.Wait()
		if s := p.Status(); s.Count(Idle) != 2 {
			t.Fatalf("%+v", s)
		}
		if started, _ := w.counts(); started != 2 {
			t.Errorf("%d started", started)
		}
	})
}

func TestReplaceRenewsIdleExecutorsNowAndBusyOnesAfterTheirTask(t *testing.T) {
	inPool(t, 2, Limits{}, func(p *Pool, d *desk, w *plant) {
		d.jobs <- job("a", "hold")
		synctest.Wait()
		next := newPlant()
		p.Replace(next)
		synctest.Wait()
		if started, _ := next.counts(); started != 1 {
			t.Errorf("%d of the new generation while one is busy", started)
		}
		w.release <- struct{}{}
		synctest.Wait()
		if started, _ := next.counts(); started != 2 {
			t.Errorf("%d of the new generation", started)
		}
		if _, open := w.counts(); open != 0 {
			t.Errorf("%d of the old generation left", open)
		}
	})
}

func TestTerminateEndsTheJobThatRunsTheTask(t *testing.T) {
	inPool(t, 2, Limits{}, func(p *Pool, d *desk, w *plant) {
		d.jobs <- job("a", "hold")
		synctest.Wait()
		if p.Terminate("b", syscall.SIGKILL, errors.New("asked")) {
			t.Error("terminated what does not run")
		}
		if !p.Terminate("a", syscall.SIGKILL, errors.New("asked")) {
			t.Error("not found")
		}
		synctest.Wait()
		if d.outcomes() != "a=LOST" {
			t.Error(d.outcomes())
		}
	})
}

func TestStartIsTriedUntilItSucceeds(t *testing.T) {
	inPool(t, 0, Limits{}, func(p *Pool, d *desk, w *plant) {
		w.fail = 12
		p.Resize(1)
		<-time.After(10 * time.Minute) // in the bubble
		synctest.Wait()
		if s := p.Status(); s.Count(Idle) != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestCloseWaitsForRunningJobsAndNotForStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, w := newDesk(), newPlant()
		p := New(Options{Source: d, Factory: w})
		p.Resize(2)
		synctest.Wait()
		d.jobs <- job("a", "hold")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("closed under a running job: %v", err)
		}
		p.Kill(errors.New("deadline"))
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if d.outcomes() != "a=LOST" {
			t.Error(d.outcomes())
		}
	})
}

func TestEveryStepIsAllowedOrRefused(t *testing.T) {
	want := map[State]string{
		Starting: "starting idle busy leaving",
		Idle:     "starting busy leaving",
		Busy:     "starting idle leaving",
		Leaving:  "gone",
		Gone:     "",
	}
	for from, names := range want {
		var got []string
		for to := Starting; to <= Gone; to++ {
			if from.mayBecome(to) {
				got = append(got, to.String())
			}
		}
		if strings.Join(got, " ") != names {
			t.Errorf("%s may become %v, want %s", from, got, names)
		}
	}
}

func TestRestartsWaitLongerEachTimeAndSayWhy(t *testing.T) {
	var r restarts
	last := time.Duration(-1)
	for range 9 {
		delay, words := r.failed(0.5)
		if delay < last || delay > restartMost || words == "" {
			t.Errorf("%s after %s: %s", delay, last, words)
		}
		last = delay
	}
	if last != restartMost {
		t.Errorf("ends at %s", last)
	}
	r.succeeded()
	if delay, _ := r.failed(0.5); delay != 0 {
		t.Errorf("after a success: %s", delay)
	}
}

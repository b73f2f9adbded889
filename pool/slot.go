package pool

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
)

// errRetired ends a slot's wait because the pool is to become smaller, errShed because memory is short, errRenew because its executor is
// to be replaced.
var (
	errRetired = errors.New("slot retired")
	errShed    = errors.New("slot retired for lack of memory")
	errRenew   = errors.New("executor to be replaced")
	errGone    = errors.New("executor is gone")
)

// slot is one unit of concurrency. Its goroutine is run; all fields below are written by that goroutine only, except
// those that say otherwise.
type slot struct {
	id     int
	pool   *Pool
	log    hclog.Logger
	ctx    context.Context         // ends when the slot is to leave
	retire context.CancelCauseFunc // called by the pool's owner

	state   atomic.Uint32           // written by run, read by snapshots
	since   atomic.Int64            // unix nanoseconds of the last change of state
	pid     atomic.Int64            // of the executor; 0 if it is no process
	tasks   atomic.Int64            // that the executor ran
	running atomic.Pointer[Running] // the job, while busy
	turn    atomic.Pointer[turn]    // the executor's; others may end it

	executor   Executor
	generation uint64    // of the factory that the executor came from
	born       time.Time // of the executor
	full       bool      // the executor holds more memory than it may
	restarts   restarts
	leaving    Reason // set when the slot is to end after this executor
}

// Running is a job in progress, as others may see it.
type Running struct {
	Job     Job
	Slot    int
	Started time.Time

	cancel   context.CancelCauseFunc
	executor Executor
}

// turn is the time in which an executor may take jobs. Ending it never disturbs a job in progress.
type turn struct {
	ctx context.Context
	end context.CancelCauseFunc
}

func (s *slot) to(next State) {
	was := State(s.state.Load())
	if was == next {
		return
	}
	if !was.mayBecome(next) {
		s.pool.bug(s, was, next)
	}
	s.state.Store(uint32(next))
	s.since.Store(time.Now().UnixNano())
	if next != Busy || was != Idle {
		s.pool.changed()
	}
}

// run is the slot's life: an executor after the other until the slot is to leave.
func (s *slot) run() {
	defer s.pool.ended(s)
	var carried *carried
	for {
		s.to(Starting)
		if !s.start(carried) {
			s.abandon(carried)
			s.to(Leaving)
			break
		}
		var reason Reason
		reason, carried = s.serve(carried)
		if s.leaving != "" {
			s.to(Leaving)
		} else {
			s.to(Starting)
		}
		s.close(reason)
		if s.leaving != "" {
			s.abandon(carried)
			break
		}
	}
	s.to(Gone)
}

// carried is a job that outlived its executor: to be run by the next one, or to have its verdict recorded there.
type carried struct {
	job    Job
	loss   *celery.Loss
	deaths int // of executors that were to record the verdict
}

// mostRecorders is how many executors may die of recording a verdict. The task is not run again for it before.
const mostRecorders = 3

// abandon settles a job for which no executor will come: how the last one died, if the job was begun, is what is left to tell.
func (s *slot) abandon(c *carried) {
	if c == nil {
		return
	}
	loss := c.loss
	if loss == nil {
		loss = &celery.Loss{Cause: celery.LossUnbegun, ExitCode: -1, Detail: "no executor to run it"}
	}
	s.settle(Finished{Job: c.job, Outcome: celery.Outcome{State: celery.StateLost, Loss: loss}, Loss: c.loss})
}

// start gets an executor, for as long as it takes. It returns false if the slot is to leave; before it leaves it tries once to get one
// that records the verdict which the last job still needs.
func (s *slot) start(c *carried) bool {
	starting, last := s.ctx, false
	for {
		if s.ctx.Err() != nil {
			if last || c == nil || c.job.Verdict == nil {
				s.leaving = reasonOf(s.ctx)
				return false
			}
			bounded, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), s.pool.grace)
			defer cancel()
			starting, last = bounded, true
		}
		factory, generation := s.pool.currentFactory()
		begun := time.Now()
		executor, err := factory.Start(starting, s.id)
		if err == nil {
			s.executor, s.generation, s.born, s.full = executor, generation, time.Now(), false
			s.tasks.Store(0)
			ctx, end := context.WithCancelCause(s.ctx)
			s.turn.Store(&turn{ctx, end})
			if p, ok := executor.(Process); ok {
				s.pid.Store(int64(p.PID()))
				go func() {
					<-p.Done()
					end(errGone)
				}()
			}
			s.restarts.succeeded()
			s.pool.hooks.started(s.id, time.Since(begun))
			s.log.Debug("executor started", "pid", s.pid.Load(), "took", time.Since(begun).Round(time.Microsecond))
			return true
		}
		if s.ctx.Err() != nil {
			continue
		}
		delay, words := s.restarts.failed(jitter())
		s.log.Error("start executor", "error", err, "next", words)
		select {
		case <-time.After(delay):
		case <-s.ctx.Done():
		}
	}
}

// serve runs jobs on the executor until it has to go, and says why. A job that still needs an executor is returned.
func (s *slot) serve(c *carried) (Reason, *carried) {
	var done *Finished
	for {
		if c == nil {
			if reason := s.due(); reason != "" {
				if done != nil {
					s.settle(*done)
				}
				return reason, nil
			}
			s.to(Idle)
			job, err := s.pool.source.Next(s.turn.Load().ctx, s.id, done)
			done = nil
			if err != nil {
				return s.ending(err), nil
			}
			c = &carried{job: job}
		}
		outcome, err := s.execute(c.job)
		if err != nil {
			return s.lost(c, outcome, err)
		}
		s.tasks.Add(1)
		done = &Finished{Job: c.job, Outcome: outcome, Loss: c.loss}
		c = nil
	}
}

// due tells why the executor should not take another job, if so.
func (s *slot) due() Reason {
	if s.ctx.Err() != nil || s.pool.takeSurplus(s) {
		s.leaving = reasonOf(s.ctx)
		return s.leaving
	}
	if s.generation != s.pool.generation() {
		return ReasonReload
	}
	limits := s.pool.limits.Load()
	switch {
	case s.full:
		return ReasonMaxMemory
	case limits.MaxTasks > 0 && int(s.tasks.Load()) >= limits.MaxTasks:
		return ReasonMaxTasks
	case limits.MaxAge > 0 && time.Since(s.born) >= limits.MaxAge:
		return ReasonMaxAge
	}
	return ""
}

// ending translates why there is no next job.
func (s *slot) ending(err error) Reason {
	switch {
	case errors.Is(err, errGone):
		s.log.Warn("executor ended while idle", "pid", s.pid.Load(), "next", "replace")
		return ReasonCrashed
	case errors.Is(err, errRenew):
		return ReasonReload
	}
	s.leaving = ReasonShutdown
	switch {
	case errors.Is(err, errRetired):
		s.leaving = ReasonScaleDown
	case errors.Is(err, errShed):
		s.leaving = ReasonMemory
	}
	return s.leaving
}

func mebibytes(n int64) string { return fmt.Sprintf("%dMiB", n>>20) }

func (s *slot) execute(job Job) (celery.Outcome, error) {
	work := s.pool.work
	if job.Verdict != nil {
		work = context.WithoutCancel(work) // what is decided is recorded, whatever ends
	}
	ctx, cancel := context.WithCancelCause(work)
	defer cancel(nil)
	s.running.Store(&Running{Job: job, Slot: s.id, Started: time.Now(), cancel: cancel, executor: s.executor})
	s.to(Busy)
	outcome, err := s.executor.Execute(ctx, job)
	s.running.Store(nil)
	if limit := s.pool.limits.Load().MaxMemory; limit > 0 && outcome.MaxRSS > limit {
		s.log.Info("executor leaving", "pid", s.pid.Load(), "reason", ReasonMaxMemory, "rss", mebibytes(outcome.MaxRSS), "limit", mebibytes(limit), "next", "replace")
		s.full = true
	}
	return outcome, err
}

// lost deals with a job whose executor became unusable: run again if it never arrived, else as the source says.
func (s *slot) lost(c *carried, outcome celery.Outcome, err error) (Reason, *carried) {
	if outcome.State == "" {
		s.log.Warn("executor refused a task", "pid", s.pid.Load(), "id", c.job.Task.ID, "error", err, "next", "another executor")
		return ReasonCrashed, c
	}
	reason := ReasonCrashed
	if outcome.Loss != nil {
		switch outcome.Loss.Cause {
		case celery.LossHardLimit:
			reason = ReasonHardLimit
		case celery.LossTerminated:
			reason = ReasonTerminate
		case celery.LossShutdown:
			reason = ReasonShutdown
		}
	}
	if outcome.State != celery.StateLost {
		s.settle(Finished{Job: c.job, Outcome: outcome, Loss: c.loss})
		return reason, nil
	}
	if c.job.Verdict == nil {
		if verdict := s.pool.source.Lost(c.job, outcome.Loss); verdict != nil {
			c.job.Verdict = verdict
			return reason, &carried{job: c.job, loss: outcome.Loss}
		}
	} else if c.deaths++; c.deaths < mostRecorders {
		return reason, c
	}
	s.settle(Finished{Job: c.job, Outcome: outcome, Loss: c.loss})
	return reason, nil
}

func (s *slot) settle(done Finished) {
	if err := s.pool.source.Settle(context.WithoutCancel(s.ctx), done); err != nil {
		s.log.Error("settle", "id", done.Job.Task.ID, "error", err)
	}
}

// close ends the executor within the pool's grace.
func (s *slot) close(reason Reason) {
	ctx, cancel := context.WithTimeout(context.Background(), s.pool.grace)
	defer cancel()
	if err := s.executor.Close(ctx); err != nil {
		s.log.Warn("close executor", "pid", s.pid.Load(), "reason", reason, "error", err)
	}
	s.pool.hooks.closed(s.id, reason)
	s.log.Debug("executor closed", "pid", s.pid.Load(), "reason", reason, "tasks", s.tasks.Load())
	s.turn.Load().end(errGone)
	s.executor = nil
	s.pid.Store(0)
}

func reasonOf(ctx context.Context) Reason {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errShed):
		return ReasonMemory
	case ctx.Err() != nil && !errors.Is(cause, errRetired):
		return ReasonShutdown
	}
	return ReasonScaleDown
}

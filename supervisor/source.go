package supervisor

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
)

// queues is what the source needs of the broker.
type queues interface {
	Next(ctx context.Context, done *broker.Finished) (*celery.Delivery, error)
	Settle(ctx context.Context, done broker.Finished) error
}

// source feeds the pool: it claims, decodes and admits deliveries, and settles them by their outcome. One for each
// supervisor; its methods are called by the slots' goroutines.
type source struct {
	queues queues
	gate   func() gate                                                                   // the settings of now
	limits func(*celery.Task) (soft, hard time.Duration)                                 // of a task, after message, task and configuration
	turn   func(context.Context, *celery.Task, time.Time) (turn time.Time, limit string) // of a task under a rate limit
	repr   func() bool                                                                   // the repr of return values is wanted
	asked  func(id string) (signal int)                                                  // that somebody had a task terminated with
	lines  *taskLines
	watch  observer
	log    hclog.Logger

	mu   sync.Mutex
	held map[*celery.Delivery]*holding // in progress
}

// holding is what is remembered of a delivery in progress.
type holding struct {
	task    *celery.Task
	gate    gate // the settings it began with: it keeps them to its end
	putBack bool // by a drain: whatever the task still does is dropped
}

// observer hears of each step of a task. Events, metrics and the scaling decision stand behind it.
type observer interface {
	received(ctx context.Context, job pool.Job)
	rejected(ctx context.Context, d *celery.Delivery, err error)
	parked(ctx context.Context, t *celery.Task)
	started(t *celery.Task)
	finished(f *pool.Finished, s *broker.Settlement)
}

// Next implements [pool.Source].
func (s *source) Next(ctx context.Context, slot int, done *pool.Finished) (pool.Job, error) {
	var settled *broker.Finished
	if done != nil {
		settled = s.finish(done)
	}
	for {
		d, err := s.queues.Next(ctx, settled)
		if err != nil {
			if errors.Is(err, broker.ErrDraining) {
				err = pool.ErrDraining
			}
			return pool.Job{}, err
		}
		g := s.gate()
		var job pool.Job
		if job, settled = s.open(ctx, d, g); settled == nil {
			s.hold(job, g)
			return job, nil
		}
	}
}

// Settle implements [pool.Source].
func (s *source) Settle(ctx context.Context, done pool.Finished) error {
	settled := s.finish(&done)
	if settled == nil {
		return nil
	}
	return s.queues.Settle(ctx, *settled)
}

// Lost implements [pool.Source].
func (s *source) Lost(job pool.Job, loss *celery.Loss) *celery.Verdict {
	g := s.gateOf(job.Delivery)
	o, _ := g.known(job.Task.Name)
	s.lines.lost(job.Task, loss)
	broker.AtLost.Pass()
	v := g.rules(job.Task.Name).verdict(job, loss, o)
	if loss.Cause == celery.LossTerminated {
		v.Signal = s.asked(job.Task.ID)
	}
	return v
}

// open makes a job of a delivery, or says how it ends without one.
func (s *source) open(ctx context.Context, d *celery.Delivery, g gate) (pool.Job, *broker.Finished) {
	now := time.Now()
	task, err := celery.Decode(d.Raw, time.UTC) // a naive time is UTC, whatever the application's timezone
	if err != nil {
		s.log.Error("message cannot be decoded", "queue", d.Queue, "bytes", len(d.Raw), "error", err, "next", "dead letter")
		s.watch.rejected(ctx, d, err)
		return pool.Job{}, &broker.Finished{Delivery: d, Settlement: broker.Settlement{Action: broker.Bury, Dead: undecodable(d, err)}}
	}
	a := g.admit(task, now)
	if a.park {
		return pool.Job{}, s.park(ctx, d, task, task.ETA, parkedForETA)
	}
	if a.verdict == nil {
		if turn, limit := s.turn(ctx, task, now); turn.After(now) {
			return pool.Job{}, s.park(ctx, d, task, turn, limit)
		}
	}
	job := pool.Job{Task: task, Delivery: d, Verdict: a.verdict, Repr: s.repr()}
	broker.AtAdmitted.Pass()
	s.lines.received(task)
	s.watch.received(ctx, job)
	if a.verdict == nil {
		job.Soft, job.Hard = s.limits(task)
		s.watch.started(task)
	}
	return job, nil
}

// park lets a task wait in Redis. The message says what for, so that a task that had to wait for its turn begins when it is
// there, and nobody is told twice that the task came.
func (s *source) park(ctx context.Context, d *celery.Delivery, t *celery.Task, until time.Time, why string) *broker.Finished {
	s.lines.parked(t, until, why)
	s.watch.parked(ctx, t)
	settlement := broker.Settlement{Action: broker.Park, Until: until}
	if message, err := celery.ParkedFor(d.Raw, parkedFor(t, why)); err == nil {
		settlement.Message = message
	}
	return &broker.Finished{Delivery: d, Settlement: settlement}
}

// finish decides how a finished job's delivery ends; nil if a drain has put it back already and the outcome is dropped.
func (s *source) finish(done *pool.Finished) *broker.Finished {
	g := s.gateOf(done.Job.Delivery)
	if s.release(done.Job.Delivery) {
		return nil
	}
	broker.AtEnded.Pass()
	o, _ := g.known(done.Job.Task.Name)
	settlement := g.rules(done.Job.Task.Name).settlement(*done, o)
	s.lines.ended(done, settlement)
	s.watch.finished(done, &settlement)
	return &broker.Finished{Delivery: done.Job.Delivery, Settlement: settlement}
}

func (s *source) hold(job pool.Job, g gate) {
	s.mu.Lock()
	s.held[job.Delivery] = &holding{task: job.Task, gate: g}
	s.mu.Unlock()
}

// gateOf returns the settings that a delivery in progress began with.
func (s *source) gateOf(d *celery.Delivery) gate {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held[d]; h != nil {
		return h.gate
	}
	return s.gate()
}

// release forgets a delivery and tells whether it was put back meanwhile.
func (s *source) release(d *celery.Delivery) (putBack bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.held[d]
	delete(s.held, d)
	return h != nil && h.putBack
}

// takeBack marks those deliveries in progress as put back that are chosen and were not before, and returns them.
func (s *source) takeBack(choose func(*holding) bool) []*celery.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*celery.Delivery
	for d, h := range s.held {
		if !h.putBack && choose(h) {
			h.putBack = true
			all = append(all, d)
		}
	}
	return all
}

// late tells whether the task is acknowledged when it has ended.
func (h *holding) late() bool {
	o, _ := h.gate.known(h.task.Name)
	return o.AcksLate
}

func undecodable(d *celery.Delivery, err error) *broker.DeadLetter {
	letter := &broker.DeadLetter{Queue: d.Queue, Cause: "undecodable", Detail: err.Error(), Message: d.Raw}
	var bad *celery.DecodeError
	if errors.As(err, &bad) {
		letter.Cause = string(bad.Cause)
	}
	return letter
}

func newSource(s *Supervisor) *source {
	return &source{
		queues: s.broker,
		gate:   s.gates(),
		limits: s.limits,
		turn: func(ctx context.Context, t *celery.Task, now time.Time) (time.Time, string) {
			r := s.rate(t.Name)
			if r == nil {
				return now, ""
			}
			return s.turns.take(ctx, t, r, now), r.text
		},
		repr:  func() bool { return s.current.Load().Config.Log.Results || s.eventsOn() },
		asked: s.terminations.of,
		lines: &taskLines{
			log:     everyLine(s.log).Named("task"),
			args:    func() bool { return s.current.Load().Config.Log.Args },
			results: func() bool { return s.current.Load().Config.Log.Results },
		},
		watch: s,
		log:   s.log.Named("task"),
		held:  make(map[*celery.Delivery]*holding),
	}
}

// gates returns a function that gives the gate of the settings of now. Its parts are closures: made anew for each task they would
// be a good part of what a task allocates.
func (s *Supervisor) gates() func() gate {
	type made struct {
		of   *settings
		gate gate
	}
	var last atomic.Pointer[made]
	return func() gate {
		now := s.current.Load()
		if m := last.Load(); m != nil && m.of == now {
			return m.gate
		}
		g := gate{known: now.known, rules: now.rules}
		if s.control != nil {
			g.revoked = func(t *celery.Task) bool {
				s.awaitRevoked()
				_, revoked := s.control.Revoked.Task(t)
				return revoked
			}
		}
		last.Store(&made{now, g})
		return g
	}
}

package supervisor

import (
	"context"
	"errors"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
)

// The steps of a task are told to whoever counts them or sends events.

func (s *Supervisor) eventsOn() bool { return s.control != nil && s.control.Events.On() }

func (s *Supervisor) sendsEvents(t *celery.Task) bool {
	if !s.eventsOn() {
		return false
	}
	o, known := s.current.Load().known(t.Name)
	return o.SendEvents || !known
}

// received sends no event of what Celery does not send one of: a task that is revoked or has expired when it is met.
func (s *Supervisor) received(ctx context.Context, job pool.Job) {
	t, d := job.Task, job.Delivery
	s.meterReceived(t, d)
	s.estimates.claimed(d.Queue, t.Name)
	s.scaler.taken()
	if refused := job.Verdict != nil && job.Verdict.State == celery.StateRevoked; !refused && !wasParked(t) {
		s.tellReceived(ctx, t)
	}
}

func (s *Supervisor) tellReceived(ctx context.Context, t *celery.Task) {
	if app := s.application(); app != nil && s.isRegistered(t) {
		app.Received(ctx, t.Raw)
	}
	if s.mayRun(t) {
		s.control.Events.TaskReceived(t)
	}
}

// rejected tells of a message that cannot be decoded.
func (s *Supervisor) rejected(ctx context.Context, d *celery.Delivery, err error) {
	why := err.Error()
	if bad := (*celery.DecodeError)(nil); errors.As(err, &bad) && bad.Cause == celery.CauseNotATask {
		why = ""
	}
	if app := s.application(); app != nil {
		app.Rejected(ctx, d.Raw, why)
	}
}

func (s *Supervisor) isRegistered(t *celery.Task) bool {
	_, known := s.current.Load().known(t.Name)
	return known
}

// mayRun tells whether events are sent of a task that is registered: of others Celery says but that they failed.
func (s *Supervisor) mayRun(t *celery.Task) bool {
	return s.isRegistered(t) && s.sendsEvents(t)
}

// parked tells that the task came; it is told once, however often the task is met.
func (s *Supervisor) parked(ctx context.Context, t *celery.Task) {
	if !wasParked(t) {
		s.tellReceived(ctx, t)
	}
}

func (s *Supervisor) started(t *celery.Task) {
	s.tally.begin(t.Name)
	if s.mayRun(t) {
		s.control.Events.TaskStarted(t.ID)
	}
}

func (s *Supervisor) finished(f *pool.Finished, settled *broker.Settlement) {
	s.meterFinished(f)
	t, o := f.Job.Task, f.Outcome
	s.estimates.ended(f.Job.Delivery.Queue, t.Name, o.Runtime, int(s.tally.active.Load()), o.State == celery.StateSuccess)
	if own := o.MaxRSS - s.current.Load().sharedMemory(t.Name); o.MaxRSS > 0 {
		s.estimates.child(max(own, leastOwn))
	}
	if f.Job.Verdict == nil || f.Loss != nil {
		s.tally.active.Add(-1)
	}
	signal := s.terminations.take(t.ID)
	v := f.Job.Verdict
	if v != nil && v.Cause == "expired" && s.control != nil {
		s.control.Revoked.Add(t.ID) // as Celery does: a copy of the message that comes later is not looked at twice
	}
	if !s.sendsEvents(t) {
		return
	}
	e := s.control.Events
	if v != nil && v.State == celery.StateRevoked {
		e.TaskRevoked(t.ID, v.Cause == "terminated", signal, v.Cause == "expired")
		return
	}
	switch o.State {
	case celery.StateSuccess:
		e.TaskSucceeded(t.ID, o.ReturnRepr, o.Runtime)
	case celery.StateFailure:
		if o.Refused == "unknown_task" { // the repr is a sentence
			o.Exception = celery.NewException("NotRegistered", t.Name).Repr()
		}
		known, _ := s.current.Load().known(t.Name)
		acks, timedOut := known.AcksOnFailureOrTimeout, v != nil && v.Cause == string(celery.LossHardLimit)
		if timedOut {
			acks = known.AcksTimedOut()
		}
		if known.AcksLate && !acks && (v == nil || timedOut) {
			e.TaskRejected(t.ID, settled.Action == broker.Requeue)
		}
		e.TaskFailed(t.ID, o.Exception, o.Traceback)
	case celery.StateRetry:
		e.TaskRetried(t.ID, o.Exception, o.Traceback)
	case celery.StateRevoked: // a handler that was given up when it was to be terminated: there is no verdict
		e.TaskRevoked(t.ID, true, signal, false)
	case celery.StateRejected:
		e.TaskRejected(t.ID, settled.Action == broker.Requeue)
	}
}

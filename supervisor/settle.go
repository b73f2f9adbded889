package supervisor

import (
	"fmt"
	"strings"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
)

// rules are the settings that decide how a delivery ends. They are a snapshot: a job keeps those it began with.
type rules struct {
	maxDeliveries int // deaths after which a message goes to the dead letters; 0 means never
}

// Causes of dead letters that are decided here. If an executor died too often under a task, how it died the last time is the cause, in the
// words of [celery.LossCause]; causeMaxDeliveries is left for where that is not known, since a whole node died.
const (
	causeMaxDeliveries = "max_deliveries"
	causeEarlyAck      = "lost_after_early_ack"
)

// settlement decides how a job's delivery ends: the table of protocol notes D.1. Whatever is stored is stored first. A stored
// SUCCESS is never overwritten: where there may be one, it is looked up first. That is so for a redelivered message, and for
// a RETRY: its message is published before its document gets here, so that the task may have ended elsewhere meanwhile, be it with a failure.
//
// A task that is acknowledged early (acks_late off) keeps its claim until it has ended all the same, so that its death
// can be told from its success; but it is never run a second time.
func (r rules) settlement(f pool.Finished, o celery.TaskOptions) broker.Settlement {
	s := broker.Settlement{Action: broker.Ack, Results: f.Outcome.Results,
		CheckSuccess: f.Job.Task.Redelivered, CheckEnd: f.Outcome.State == celery.StateRetry}
	if v := f.Job.Verdict; v != nil {
		if f.Outcome.State == celery.StateLost || f.Outcome.State == celery.StateRejected { // it is not recorded: whoever claims the message next sees to it
			return r.lost(f, o, s)
		}
		if bury(v.Cause) {
			s.Action, s.Dead = broker.Bury, deadLetter(f, v.Cause)
		}
		if v.Cause == string(celery.LossHardLimit) {
			return r.timedOut(f, o, s)
		}
		return s
	}
	if cause := f.Outcome.Refused; cause != "" {
		s.Action, s.Dead = broker.Bury, deadLetter(f, cause)
		s.Dead.Detail = f.Outcome.Exception
		return s
	}
	switch f.Outcome.State {
	case celery.StateRejected:
		if f.Outcome.Requeue && o.AcksLate {
			s.Action = broker.Requeue
		}
	case celery.StateFailure: // a handler that was given up: there is no process to be killed and no verdict
		if f.Outcome.Loss != nil && f.Outcome.Loss.Cause == celery.LossHardLimit {
			return r.timedOut(f, o, s)
		}
	case celery.StateLost:
		return r.lost(f, o, s)
	}
	return s
}

// timedOut decides for a task that reached its hard limit: as Celery since 5.3, reject(requeue=True) on a timeout where that does not
// acknowledge; but not for ever.
func (r rules) timedOut(f pool.Finished, o celery.TaskOptions, s broker.Settlement) broker.Settlement {
	switch {
	case !o.AcksLate || o.AcksTimedOut():
	case r.exhausted(f.Job.Task.Deliveries + 1):
		s.Action, s.Dead = broker.Bury, deadLetter(f, string(celery.LossHardLimit))
	default:
		s.Action, s.Died = broker.Requeue, true
	}
	return s
}

// lost decides for a delivery whose executor died and for which no verdict was recorded.
func (r rules) lost(f pool.Finished, o celery.TaskOptions, s broker.Settlement) broker.Settlement {
	loss := f.Outcome.Loss
	switch {
	case loss != nil && (loss.Cause == celery.LossUnbegun || loss.Cause == celery.LossShutdown && o.AcksLate):
		s.Action = broker.PutBack
	case r.exhausted(f.Job.Task.Deliveries + 1):
		s.Action, s.Dead = broker.Bury, deadLetter(f, causeMaxDeliveries)
	default:
		// With acks_late it runs again; without, whoever claims it next records that it was lost.
		s.Action, s.Died = broker.Requeue, true
	}
	return s
}

// verdict decides what is recorded for a job whose executor died; nil means that the message goes back.
func (r rules) verdict(job pool.Job, loss *celery.Loss, o celery.TaskOptions) *celery.Verdict {
	switch loss.Cause {
	case celery.LossShutdown:
		if o.AcksLate {
			return nil // it was put back
		}
		v := workerLost(loss)
		v.Cause = causeEarlyAck
		return v
	case celery.LossTerminated:
		return revoked("terminated")
	case celery.LossHardLimit:
		return &celery.Verdict{State: celery.StateFailure, Type: "TimeLimitExceeded", Module: "billiard.exceptions",
			Args: []any{loss.Limit.Seconds()}, CallBack: true, Cause: string(loss.Cause), Tail: loss.Tail}
	}
	deaths := job.Task.Deliveries + 1
	back := o.AcksLate && o.RejectOnWorkerLost && !r.exhausted(deaths)
	v := workerLost(loss)
	switch {
	case o.RetryOnWorkerLost: // max_retries bounds it, and not the deaths: each time it is another message
		v.State, v.Requeue = celery.StateRetry, back
		return v
	case back:
		return nil
	}
	if o.AcksLate && o.RejectOnWorkerLost {
		v.Cause = causeMaxDeliveries
	}
	return v
}

func (r rules) exhausted(deaths int) bool { return r.maxDeliveries > 0 && deaths >= r.maxDeliveries }

// bury tells whether a message that ended for this cause is kept as a dead letter.
func bury(cause string) bool {
	switch cause {
	case causeMaxDeliveries, causeEarlyAck:
		return true
	}
	return false
}

// workerLost takes the words of the loss, which are exactly Celery's (billiard/pool.py, protocol notes C.5).
func workerLost(loss *celery.Loss) *celery.Verdict {
	return &celery.Verdict{State: celery.StateFailure, Type: "WorkerLostError", Module: "billiard.exceptions",
		Args: []any{loss.Detail}, CallBack: true,
		Cause: string(loss.Cause), Tail: loss.Tail}
}

func revoked(reason string) *celery.Verdict {
	return &celery.Verdict{State: celery.StateRevoked, Type: "TaskRevokedError", Module: "celery.exceptions", Args: []any{reason}, Cause: reason}
}

func deadLetter(f pool.Finished, cause string) *broker.DeadLetter {
	d := &broker.DeadLetter{
		TaskID: f.Job.Task.ID, Task: f.Job.Task.Name, Queue: f.Job.Delivery.Queue, Cause: cause,
		Deliveries: f.Job.Task.Deliveries, Message: f.Job.Task.Raw,
	}
	loss := f.Loss
	if loss == nil {
		loss = f.Outcome.Loss
	}
	if loss != nil {
		if cause == causeMaxDeliveries {
			d.Cause = string(loss.Cause)
		}
		d.Deliveries++
		d.Detail, d.Memory, d.Tail = loss.Detail, loss.Memory, loss.Tail
		if loss.Signal > 0 {
			d.Detail = strings.TrimSpace("killed by " + signalName(loss.Signal) + " " + d.Detail)
		}
	} else if v := f.Job.Verdict; v != nil && len(v.Args) > 0 {
		d.Detail = fmt.Sprintf("%s: %v", v.Type, v.Args[0])
	}
	return d
}

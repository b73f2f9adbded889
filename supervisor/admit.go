package supervisor

import (
	"time"

	"github.com/agensium/agensium/celery"
)

// admission is what is decided about a task before it runs.
type admission struct {
	park    bool            // its time has not come: it goes to the parked tasks
	verdict *celery.Verdict // it does not run: this is recorded
}

// gate holds what admission looks at besides the task.
type gate struct {
	known   func(name string) (celery.TaskOptions, bool)
	revoked func(t *celery.Task) bool
	rules   func(task string) rules
}

// admit decides whether a task may run now. The order is Celery's: what is revoked or expired never waits for its time
// (worker/strategy.py task_message_handler). Whether the task is registered and its content acceptable is for the executor to
// say, which knows.
func (g gate) admit(t *celery.Task, now time.Time) admission {
	o, _ := g.known(t.Name)
	switch {
	case g.revoked != nil && g.revoked(t):
		return admission{verdict: revoked("revoked")}
	case t.Expired(now):
		return admission{verdict: revoked("expired")}
	case t.Deliveries > 0 && !o.AcksLate:
		return admission{verdict: failed("WorkerLostError", "billiard.exceptions", causeEarlyAck,
			"Worker lost while it ran the task, which is acknowledged early and does not run twice")}
	case g.rules(t.Name).exhausted(t.Deliveries):
		return admission{verdict: failed("WorkerLostError", "billiard.exceptions", causeMaxDeliveries,
			"Worker lost too many times while it ran the task")}
	case !t.Due(now):
		return admission{park: true}
	}
	return admission{}
}

func failed(class, module, cause string, args ...any) *celery.Verdict {
	return &celery.Verdict{State: celery.StateFailure, Type: class, Module: module, Args: args, CallBack: true, Cause: cause}
}

package supervisor

import (
	"slices"
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
	accept  []string // content types that the application accepts; empty means all
	rules   rules
}

// admit decides whether a task may run now. The order is Celery's: what is revoked or expired never waits for its time
// (worker/strategy.py task_message_handler).
func (g gate) admit(t *celery.Task, now time.Time) admission {
	o, known := g.known(t.Name)
	switch {
	case g.revoked != nil && g.revoked(t):
		return admission{verdict: revoked("revoked")}
	case t.Expired(now):
		return admission{verdict: revoked("expired")}
	case !known:
		return admission{verdict: failed("NotRegistered", "celery.exceptions", causeUnknownTask, t.Name)}
	case t.ContentType != "" && len(g.accept) > 0 && !slices.Contains(g.accept, t.ContentType) && !trusted(t.ContentType):
		return admission{verdict: failed("ContentDisallowed", "kombu.exceptions", causeContentType,
			"Refusing to deserialize disabled content of type "+t.ContentType)}
	case t.Deliveries > 0 && !o.AcksLate:
		return admission{verdict: failed("WorkerLostError", "billiard.exceptions", causeEarlyAck,
			"Worker lost while it ran the task, which is acknowledged early and does not run twice")}
	case g.rules.exhausted(t.Deliveries):
		return admission{verdict: failed("WorkerLostError", "billiard.exceptions", causeMaxDeliveries,
			"Worker lost too many times while it ran the task")}
	case !t.Due(now):
		return admission{park: true}
	}
	return admission{}
}

// trusted content is accepted whatever the application says (kombu/serialization.py TRUSTED_CONTENT).
func trusted(contentType string) bool {
	return contentType == "application/data" || contentType == "application/text"
}

func failed(class, module, cause string, args ...any) *celery.Verdict {
	return &celery.Verdict{State: celery.Failure, Type: class, Module: module, Args: args, CallBack: true, Cause: cause}
}

package supervisor

import (
	"context"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/control"
)

type nodeLimits struct{ *Supervisor }

// RateLimit counts for tasks that begin from now on. Those that wait for their turn under the old limit are woken, to get a turn
// under the new one.
func (n nodeLimits) RateLimit(task, text string, _ float64) error {
	if _, known := n.current.Load().known(task); !known {
		return control.ErrUnknownTask
	}
	n.asked.change(task, func(l *askedLimit) { l.rate = &text })
	n.turns.forget(task)
	go n.hastenLimited(task)
	return nil
}

func (n nodeLimits) hastenLimited(task string) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	moved, err := n.broker.Hasten(ctx, func(t *celery.Task) bool {
		return t.Name == task && wasParked(t) && t.Parked != parkedFor(t, parkedForETA)
	})
	if err != nil {
		n.log.Warn("tasks that wait for their turn not woken", "task", task, "error", err, "next", "they wait as long as the old limit says")
	}
	if moved > 0 {
		n.log.Info("tasks that waited for their turn are woken", "task", task, "tasks", moved, "reason", "rate limit changed")
	}
}

func (n nodeLimits) TimeLimits(task string, soft, hard time.Duration) error {
	if _, known := n.current.Load().known(task); !known {
		return control.ErrUnknownTask
	}
	n.asked.change(task, func(l *askedLimit) { l.soft, l.hard = &soft, &hard })
	return nil
}

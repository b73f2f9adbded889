package supervisor

import (
	"sync"
	"time"

	"github.com/agensium/agensium/celery"
)

// askedLimits are the limits of tasks that remote control set. They are stronger than settings and last until the node ends.
type askedLimits struct {
	mu     sync.Mutex
	byTask map[string]askedLimit
}

type askedLimit struct {
	rate       *string
	soft, hard *time.Duration
}

// change notes what is asked of a task.
func (a *askedLimits) change(task string, f func(*askedLimit)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byTask == nil {
		a.byTask = map[string]askedLimit{}
	}
	l := a.byTask[task]
	f(&l)
	a.byTask[task] = l
}

// over returns o with what was asked.
func (a *askedLimits) over(task string, o celery.TaskOptions) celery.TaskOptions {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.byTask[task]
	put(&o.RateLimit, l.rate)
	put(&o.SoftTimeLimit, l.soft)
	put(&o.TimeLimit, l.hard)
	return o
}

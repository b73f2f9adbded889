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

// of returns what was asked of a task.
func (a *askedLimits) of(task string) askedLimit {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.byTask[task]
}

// limits are the time limits of a task: the message's, else those that remote control asked for, else the settings'.
func (s *Supervisor) limits(t *celery.Task) (soft, hard time.Duration) {
	now, asked := s.current.Load(), s.asked.of(t.Name)
	o, _ := now.known(t.Name)
	put(&o.SoftTimeLimit, asked.soft)
	put(&o.TimeLimit, asked.hard)
	return now.limits(t, o)
}

package supervisor

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/agensium/agensium/celery"
)

// revokedWait is how long the first tasks wait for the list of revoked tasks, which nodes keep in Redis.
const revokedWait = 5 * time.Second

// awaitRevoked waits until the list of the revoked has been read: a task that is claimed before may stand on it. It gives up once
// and for all when that takes too long.
func (s *Supervisor) awaitRevoked() {
	s.revokedKnown.Do(func() {
		timer := time.NewTimer(revokedWait)
		defer timer.Stop()
		select {
		case <-s.control.Revoked.Loaded():
		case <-timer.C:
			s.log.Warn("revoked tasks are not known", "took", revokedWait, "next", "go on without")
		}
	})
}

type nodeRevoker struct{ *Supervisor }

// Revoked lets the parked ones come up at once, so that whoever waits for them hears of it, and records REVOKED for those
// that lie in a queue. Chords and events are for whoever claims the message.
func (n nodeRevoker) Revoked(ctx context.Context, ids []string) error {
	n.hastenRevoked(ctx)
	now := n.current.Load()
	if !now.info.Captures && !n.recordsInGo(now.Config) {
		return nil // not on Redis: recorded when the message comes up
	}
	running := map[string]bool{}
	for _, r := range n.pool.Running() {
		running[r.Job.Task.ID] = true
	}
	d := celery.Documents{Zone: zoneOf(now.info), Naive: olderThan(now.info.Celery, 5, 3)}
	value := celery.NewException("celery.exceptions.TaskRevokedError", "revoked").AppendJSON(nil)
	results := make([]celery.Result, 0, len(ids))
	for _, id := range ids {
		if !running[id] {
			r := d.Unasked(id, "", "", nil, celery.StateRevoked, value, "")
			if prefix := now.info.Settings.ResultPrefix; prefix != "" {
				r.Key = prefix + id
			}
			results = append(results, r)
		}
	}
	return n.broker.StoreUnbegun(ctx, results)
}

func (n nodeRevoker) hastenRevoked(ctx context.Context) {
	moved, err := n.broker.Hasten(ctx, func(t *celery.Task) bool {
		_, revoked := n.control.Revoked.Task(t)
		return revoked
	})
	if err != nil {
		n.log.Warn("parked tasks not looked at", "error", err, "next", "revoked ones are met when they are due")
	}
	if moved > 0 {
		n.log.Info("revoked tasks were parked", "tasks", moved, "next", "they come up now")
	}
}

// olderThan compares a version such as "5.2.7" with major.minor.
func olderThan(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a < major || a == major && b < minor)
}

// terminated is why a job is killed that somebody asked to terminate.
type terminated struct{ signal syscall.Signal }

func (t terminated) Error() string {
	return "terminated by remote control with " + signalName(int(t.signal))
}
func (t terminated) LossCause() celery.LossCause { return celery.LossTerminated }

// Terminate sends the signal to what runs the tasks. A task that it ends is settled as terminated; one that it does not end is
// settled as it ends by itself.
func (n nodeRevoker) Terminate(_ context.Context, ids []string, signal syscall.Signal) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		n.terminations.put(id, int(signal))
		if n.pool.Terminate(id, signal, terminated{signal}) {
			return false
		}
		n.terminations.take(id)
		return true
	})
}

// terminations are the signals that running tasks are terminated with, by id.
type terminations struct {
	mu      sync.Mutex
	signals map[string]int
}

func (t *terminations) put(id string, signal int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.signals == nil {
		t.signals = map[string]int{}
	}
	t.signals[id] = signal
}

// of returns the signal, 0 if the task was not terminated.
func (t *terminations) of(id string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.signals[id]
}

// take returns the signal, 0 if the task was not terminated, and forgets it.
func (t *terminations) take(id string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	signal := t.signals[id]
	delete(t.signals, id)
	return signal
}

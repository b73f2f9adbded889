package supervisor

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/supervisor/admin"
)

// tally counts what happens, for events, statistics and metrics.
type tally struct {
	mu    sync.Mutex
	tasks map[string]int // that were begun, by name

	active    atomic.Int64
	processed atomic.Int64
	started   atomic.Int64 // children
	closed    atomic.Int64

	redelivered atomic.Uint64 // tasks that had been delivered before
	stalls      atomic.Uint64 // times that there was no progress
	metrics     *admin.Metrics
}

func (t *tally) load() (active, processed int) { return int(t.active.Load()), int(t.processed.Load()) }

func (t *tally) childStarted(took time.Duration) {
	t.started.Add(1)
	t.metrics.ChildStarted(took)
}

func (t *tally) childClosed(reason pool.Reason) {
	t.closed.Add(1)
	t.metrics.ChildLeft(string(reason))
}

// begin counts a task that begins to run.
func (t *tally) begin(name string) {
	t.active.Add(1)
	t.processed.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tasks == nil {
		t.tasks = map[string]int{}
	}
	t.tasks[name]++
}

func (t *tally) totals() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.tasks)
}

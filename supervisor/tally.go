package supervisor

import (
	"sync/atomic"
	"time"

	"github.com/agensium/agensium/pool"
)

// tally counts what happens, for events, statistics and metrics.
type tally struct {
	active    atomic.Int64
	processed atomic.Int64
	started   atomic.Int64 // children
	closed    atomic.Int64
}

func (t *tally) load() (active, processed int) { return int(t.active.Load()), int(t.processed.Load()) }

func (t *tally) childStarted(int, time.Duration) { t.started.Add(1) }

func (t *tally) childClosed(int, pool.Reason) { t.closed.Add(1) }

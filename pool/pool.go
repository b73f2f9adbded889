package pool

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
)

// ErrDraining is what a [Source] answers when no more work will come.
var ErrDraining = errors.New("draining, no more work")

// Limits bound the life of an executor. They are checked between tasks; zero means no limit.
type Limits struct {
	MaxTasks  int           // tasks that one executor runs
	MaxMemory int64         // resident bytes
	MaxAge    time.Duration // since its start
}

// Hooks hear of executors. They are called from the slots' goroutines and must not block; each may be nil.
type Hooks struct {
	Started func(slot int, took time.Duration)
	Closed  func(slot int, reason Reason)
	Changed func() // a slot changed its state, other than from idle to busy
}

func (h Hooks) started(slot int, took time.Duration) {
	if h.Started != nil {
		h.Started(slot, took)
	}
}

func (h Hooks) closed(slot int, reason Reason) {
	if h.Closed != nil {
		h.Closed(slot, reason)
	}
}

// Options is what a pool needs to begin.
type Options struct {
	Source  Source
	Factory Factory
	Limits  Limits
	Grace   time.Duration // how long an executor may take to close; default 5 s
	Hooks   Hooks
	Log     hclog.Logger
}

// Pool owns the slots. All methods may be called by anyone, at any time.
type Pool struct {
	source Source
	hooks  Hooks
	log    hclog.Logger
	grace  time.Duration
	limits atomic.Pointer[Limits]

	work     context.Context         // ends when running jobs must stop
	stopWork context.CancelCauseFunc // called by Kill

	mu      sync.Mutex
	slots   map[int]*slot
	target  int
	surplus int // busy slots of which as many are to leave when they fall idle
	closing bool
	empty   chan struct{} // closed when closing and the last slot is gone
	factory Factory
	gen     atomic.Uint64
	over    atomic.Bool // surplus > 0
	bugs    atomic.Uint64
}

// New makes a pool without slots. Resize gives it some.
func New(o Options) *Pool {
	p := &Pool{
		source: o.Source, factory: o.Factory, hooks: o.Hooks, log: o.Log, grace: o.Grace,
		slots: make(map[int]*slot), empty: make(chan struct{}),
	}
	if p.grace <= 0 {
		p.grace = 5 * time.Second
	}
	if p.log == nil {
		p.log = hclog.NewNullLogger()
	}
	p.limits.Store(&o.Limits)
	p.work, p.stopWork = context.WithCancelCause(context.Background())
	return p
}

// Resize sets how many slots there should be. More are started at once. Fewer: idle slots leave now, those that have been idle
// longest first; busy ones as they fall idle. It never waits.
func (p *Pool) Resize(target int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing || target < 0 {
		return
	}
	p.target = target
	p.adjust()
}

// adjust brings the number of slots to the target as far as that is possible now. The caller holds mu.
func (p *Pool) adjust() {
	staying := make([]*slot, 0, len(p.slots))
	for _, s := range p.slots {
		if s.ctx.Err() == nil {
			staying = append(staying, s)
		}
	}
	excess := len(staying) - p.target
	if excess > 0 {
		slices.SortFunc(staying, func(a, b *slot) int { return int(a.since.Load() - b.since.Load()) })
		for _, s := range staying {
			if excess == 0 {
				break
			}
			if State(s.state.Load()) != Busy {
				s.retire(errRetired)
				excess--
			}
		}
	}
	for ; excess < 0; excess++ {
		p.add()
	}
	p.surplus = excess
	p.over.Store(excess > 0)
}

// Shed lets one slot go for lack of memory, if it is idle, and lowers the target by it.
func (p *Pool) Shed(id int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[id]
	if s == nil || s.ctx.Err() != nil || State(s.state.Load()) != Idle {
		return false
	}
	p.target = max(0, p.target-1)
	s.retire(errShed)
	return true
}

// add starts a slot under the lowest free number. The caller holds mu.
func (p *Pool) add() {
	id := 1
	for p.slots[id] != nil {
		id++
	}
	s := &slot{id: id, pool: p, log: p.log.With("slot", id)}
	s.ctx, s.retire = context.WithCancelCause(context.Background())
	s.since.Store(time.Now().UnixNano())
	p.slots[id] = s
	go s.run()
}

// takeSurplus tells a slot that has fallen idle whether it is one too many.
func (p *Pool) takeSurplus(s *slot) bool {
	if !p.over.Load() {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.surplus <= 0 {
		return false
	}
	p.surplus--
	p.over.Store(p.surplus > 0)
	s.retire(errRetired)
	return true
}

func (p *Pool) ended(s *slot) {
	p.mu.Lock()
	delete(p.slots, s.id)
	s.retire(errRetired)
	last := p.closing && len(p.slots) == 0
	p.mu.Unlock()
	if last {
		close(p.empty)
	}
	p.changed()
}

func (p *Pool) changed() {
	if p.hooks.Changed != nil {
		p.hooks.Changed()
	}
}

// SetLimits changes the limits of executors; each slot looks at them after its task.
func (p *Pool) SetLimits(l Limits) { p.limits.Store(&l) }

// Replace sets the factory of all executors to come: a new generation. Idle executors are replaced now, busy ones after their task.
func (p *Pool) Replace(f Factory) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.factory = f
	p.gen.Add(1)
	for _, s := range p.slots {
		if t := s.turn.Load(); t != nil {
			t.end(errRenew)
		}
	}
}

func (p *Pool) currentFactory() (Factory, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.factory, p.gen.Load()
}

func (p *Pool) generation() uint64 { return p.gen.Load() }

// Terminate sends the signal to what runs the task. What cannot be sent one, or has not gone of it when it is asked for again,
// is killed, as it is for SIGKILL, with cause as the reason of its context; so it is for SIGSTOP, of which nobody would ever wake
// it. Terminate returns false if no slot runs the task.
func (p *Pool) Terminate(id string, signal syscall.Signal, cause error) bool {
	found := false
	for _, r := range p.Running() {
		if r.Job.Task.ID != id || r.Job.Verdict != nil {
			continue
		}
		found = true
		if s, ok := r.executor.(Signaler); !ok || signal == syscall.SIGKILL || signal == syscall.SIGSTOP || !s.Signal(r.Job.Task, signal) {
			r.cancel(cause)
		}
	}
	return found
}

// Kill ends every running job at once, with cause as the reason of its context.
func (p *Pool) Kill(cause error) { p.stopWork(cause) }

// Close lets the slots go as their tasks end and returns when all are gone, or with an error when ctx ends first; the
// slots go on leaving then.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	if !p.closing {
		p.closing = true
		p.target = 0
		for _, s := range p.slots {
			s.retire(ErrDraining)
		}
		if len(p.slots) == 0 {
			close(p.empty)
		}
	}
	p.mu.Unlock()
	select {
	case <-p.empty:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// bug reports a step that the state machine does not allow.
func (p *Pool) bug(s *slot, was, next State) {
	p.bugs.Add(1)
	s.log.Error("slot took a step that is not allowed", "from", was, "to", next)
}

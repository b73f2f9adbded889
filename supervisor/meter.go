package supervisor

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/supervisor/admin"
	"github.com/agensium/agensium/supervisor/autoscale"
)

// What the metrics and the status are made of. Counting a task must cost next to nothing; what is asked for only when somebody
// looks may cost a little: Redis is asked at most every lookEvery for metrics, which are scraped all day, and every glanceEvery for a
// status, which a person reads.

const (
	lookEvery   = 15 * time.Second
	glanceEvery = time.Second
)

// unregistered stands for all names of tasks that the application does not have, since anyone can send those.
const unregistered = "(unregistered)"

// meterReceived counts a task that was claimed.
func (s *Supervisor) meterReceived(t *celery.Task, d *celery.Delivery) {
	if t.Redelivered || t.Deliveries > 0 {
		s.tally.redelivered.Add(1)
	}
	waited, known := s.waits.take(d.Queue, d.Claimed)
	if !t.ETA.IsZero() {
		waited, known = max(0, d.Claimed.Sub(t.ETA)), true
	}
	if known {
		s.metrics.Waited(d.Queue, waited)
	}
}

// meterFinished counts a task that has ended.
func (s *Supervisor) meterFinished(f *pool.Finished) {
	name := f.Job.Task.Name
	if _, ok := s.current.Load().tasks[name]; !ok {
		name = unregistered
	}
	s.metrics.Ended(name, outcomeOf(f), f.Outcome.Runtime)
}

func outcomeOf(f *pool.Finished) admin.Outcome {
	if v := f.Job.Verdict; v != nil && v.State == celery.StateRevoked {
		if v.Cause == "expired" {
			return admin.Expired
		}
		return admin.Revoked
	}
	switch f.Outcome.State {
	case celery.StateSuccess:
		return admin.Success
	case celery.StateRetry:
		return admin.Retry
	case celery.StateIgnored:
		return admin.Ignored
	case celery.StateRejected:
		return admin.Rejected
	case celery.StateRevoked:
		return admin.Revoked
	case celery.StateLost:
		return admin.Lost
	}
	return admin.Failure
}

// glance is what was seen when somebody last looked at Redis and at the children.
type glance struct {
	mu       sync.Mutex
	at       time.Time
	err      error
	contents *broker.Contents
	queues   []admin.Queue
	memory   *admin.Memory
	nodes    []broker.Node
}

// glances is a copy of it.
type glances struct {
	err      error
	contents *broker.Contents
	queues   []admin.Queue
	memory   *admin.Memory
	nodes    []broker.Node
}

// look returns what is in Redis and what the children take, at most so old. The registry of nodes is read only for those who want it.
func (s *Supervisor) look(ctx context.Context, age time.Duration, wantNodes bool) glances {
	r := s.running()
	if r.broker == nil {
		return glances{}
	}
	g := &s.glance
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if now.Sub(g.at) >= age || g.at.IsZero() {
		g.at, g.memory = now, childMemory(r.pool)
		g.contents, g.queues, g.nodes = nil, nil, nil
		if g.err = s.reachable(r.broker); g.err == nil {
			g.read(ctx, s, r.broker)
		}
	}
	if wantNodes && g.nodes == nil && g.err == nil {
		g.nodes, g.err = r.broker.Nodes(ctx)
	}
	return glances{g.err, g.contents, g.queues, g.memory, g.nodes}
}

func (g *glance) read(ctx context.Context, s *Supervisor, b *broker.Broker) {
	lies, err := b.Contents(ctx)
	if g.err = err; err != nil {
		return
	}
	g.contents = &lies
	s.scaler.notice(lies.Due) // so that the hosts wanted are known also when all slots are busy
	for _, name := range slices.Sorted(maps.Keys(lies.Due)) {
		due := int64(lies.Due[name])
		g.queues = append(g.queues, admin.Queue{Name: name, Due: due, Oldest: s.waits.look(name, g.at, due)})
	}
}

// reachable spares those who ask the wait for a Redis that is known to be away.
func (s *Supervisor) reachable(b *broker.Broker) error {
	if st := b.Status(); st.Condition == nil && st.Connected {
		return nil
	}
	return brokerAway(s.brokerTrouble())
}

type brokerAway string

func (e brokerAway) Error() string { return "broker is not usable: " + string(e) }

func childMemory(p *pool.Pool) *admin.Memory {
	var m admin.Memory
	for _, slot := range p.Status().Slots {
		if slot.PID == 0 {
			continue
		}
		u, err := child.UsageOf(slot.PID)
		if err != nil {
			continue // it is gone
		}
		m.Children += u.PSS
		m.Largest = max(m.Largest, u.RSS)
	}
	return &m
}

// sample is what a scrape shows.
func (s *Supervisor) sample(ctx context.Context) *admin.Sample {
	m := s.life.now()
	ready, _ := s.Ready()
	out := &admin.Sample{
		Version: s.o.Version, Phase: m.phase, Phases: phases, Ready: ready, Running: int(s.tally.active.Load()),
		Stalls: s.tally.stalls.Load(), Quieted: s.calm.flood.count(), Redeliver: s.tally.redelivered.Load(), Reload: s.reloads.sample(),
	}
	if m.phase == draining {
		out.Drain = max(0, time.Until(m.ends))
	}
	r := s.running()
	if r.broker == nil {
		return out
	}
	saw := s.look(ctx, lookEvery, false)
	d := s.decisions.last()
	st := r.pool.Status()
	out.Slots = &admin.Slots{States: states(st), Target: st.Target, Most: s.current.Load().Config.Pool.Concurrency, Bound: string(d.Bound), Bounds: bounds, Overrun: s.overdue.Running()}
	out.Hosts = d.Hosts
	out.Broker = brokerSample(r.broker.Status())
	out.Queues, out.Memory = saw.queues, saw.memory
	if saw.contents != nil {
		out.Lying = &admin.Lying{Parked: saw.contents.Parked, Dead: saw.contents.Dead}
	}
	return out
}

var bounds = []string{
	string(autoscale.BoundMax), string(autoscale.BoundControl), string(autoscale.BoundMemory), string(autoscale.BoundConnections),
	string(autoscale.BoundCPU), string(autoscale.BoundThroughput), string(autoscale.BoundStarts),
}

// states counts the slots in each state that one can be seen in, the empty ones included.
func states(st pool.Status) map[string]int {
	counts := map[string]int{}
	for _, state := range []pool.State{pool.Starting, pool.Idle, pool.Busy, pool.Leaving} {
		counts[state.String()] = st.Count(state)
	}
	return counts
}

func brokerSample(st broker.Status) *admin.Broker {
	b := &admin.Broker{
		Connected: st.Connected, Conns: st.Connections, Dialed: st.Dialed, Reconnects: st.Reconnects, Commands: st.Commands,
		Lease: max(0, st.LeaseTTL-st.LeaseAge), Waiting: st.Waiting, Held: st.Claims, InDoubt: st.Doubts, Claimed: st.Claimed,
		Settled: st.Settled, Taken: st.Taken, Forgotten: st.Forgotten, PutBack: st.PutBack, Recovered: st.Recovered, Lapses: st.Lapses, Parked: st.Parked,
		Woken: st.Woken, Restored: st.Restored, Buried: st.Buried,
	}
	if st.Condition != nil {
		b.Condition = st.Condition.Name
	}
	return b
}

// decisions are the last ones about the number of slots, the newest last.
type decisions struct {
	mu  sync.Mutex
	all []Decision
}

// Decision is a change of the number of slots, and why.
type Decision struct {
	At     time.Time       `json:"at"`
	Target int             `json:"target"`
	Bound  autoscale.Bound `json:"bound,omitempty"` // what held it below the wish
	Reason string          `json:"reason"`
	Hosts  int             `json:"hosts,omitempty"` // nodes like this one that the load asks for
}

const keptDecisions = 10

// note keeps a decision. One that has the target and the bound of the last only brings its words up to date.
func (d *decisions) note(at time.Time, made autoscale.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := Decision{At: at, Target: made.Target, Bound: made.Bound, Reason: made.Reason, Hosts: made.Hosts}
	if n := len(d.all); n > 0 && d.all[n-1].Target == now.Target && d.all[n-1].Bound == now.Bound {
		now.At = d.all[n-1].At
		d.all[n-1] = now
		return
	}
	if len(d.all) == keptDecisions {
		d.all = slices.Delete(d.all, 0, 1)
	}
	d.all = append(d.all, now)
}

func (d *decisions) last() Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) == 0 {
		return Decision{}
	}
	return d.all[len(d.all)-1]
}

func (d *decisions) list() []Decision {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.all)
}

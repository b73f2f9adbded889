package admin

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Sample is what the node tells when it is scraped. Counters are since its start. A nil part is one that is not there (yet).
type Sample struct {
	Version   string
	Phase     string // starting, consuming, draining, resting
	Phases    []string
	Ready     bool
	Running   int // tasks
	Stalls    uint64
	Quieted   uint64 // log lines that said the same again
	Redeliver uint64

	Slots  *Slots
	Broker *Broker
	Queues []Queue // nil: could not be read
	Lying  *Lying  // nil: could not be read
	Reload Reload
	Drain  time.Duration // what is left of it; 0: not draining
	Memory *Memory
	Hosts  int // wanted
}

// Slots are the slots by state, and what decides how many there are.
type Slots struct {
	States map[string]int
	Target int
	Most   int
	Bound  string // what holds the target below the wish; empty: nothing
	Bounds []string

	Overrun int // Go handlers that were given up and still run
}

// Broker is the view of Redis that the node has.
type Broker struct {
	Connected  bool
	Condition  string // name of what keeps it from working; empty: nothing
	Conns      int
	Dialed     uint64
	Reconnects uint64
	Commands   map[string]uint64 // by purpose
	Lease      time.Duration     // left
	Waiting    int
	Held       int
	InDoubt    int
	Claimed    uint64
	Settled    uint64
	Taken      uint64
	Forgotten  uint64
	PutBack    uint64
	Recovered  uint64
	Lapses     uint64
	Parked     uint64
	Woken      uint64
	Restored   uint64
	Buried     uint64
}

// Queue is what waits in one queue.
type Queue struct {
	Name   string
	Due    int64
	Oldest time.Duration
}

// Lying is what lies in Redis for all nodes.
type Lying struct{ Parked, Dead int64 }

// Reload tells of the settings.
type Reload struct {
	Succeeded uint64
	Refused   uint64
	LastOK    bool
	Last      time.Time // that succeeded: the start counts
}

// Memory is what the children take.
type Memory struct {
	Children int64 // shared pages counted once
	Largest  int64 // resident
}

// sampler turns a sample into metrics.
type sampler struct{ m *Metrics }

// Describe implements [prometheus.Collector].
func (sampler) Describe(to chan<- *prometheus.Desc) {
	for _, d := range definitions {
		if d.sampled {
			to <- d.desc()
		}
	}
}

// Collect implements [prometheus.Collector].
func (s sampler) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	sample := s.m.sample(ctx)
	if sample == nil {
		return
	}
	e := emitter{to}
	e.node(sample)
	if sample.Slots != nil {
		e.slots(sample.Slots)
	}
	if sample.Broker != nil {
		e.broker(sample.Broker)
	}
	if sample.Memory != nil {
		e.put(childrenMemory, float64(sample.Memory.Children))
		e.put(childLargest, float64(sample.Memory.Largest))
	}
	if sample.Lying != nil {
		e.put(parkedTasks, float64(sample.Lying.Parked))
		e.put(deadLetters, float64(sample.Lying.Dead))
	}
	for i, q := range sample.Queues {
		if i == maxQueues {
			break
		}
		e.put(queueDepth, float64(q.Due), q.Name)
		e.put(queueOldest, q.Oldest.Seconds(), q.Name)
	}
}

type emitter struct{ to chan<- prometheus.Metric }

func (e emitter) put(d *definition, v float64, labels ...string) {
	kind := prometheus.GaugeValue
	if d.kind == counter {
		kind = prometheus.CounterValue
	}
	e.to <- prometheus.MustNewConstMetric(d.desc(), kind, v, labels...)
}

// oneOf shows a word as a set of gauges of which one is 1, so that each is there from the beginning.
func (e emitter) oneOf(d *definition, all []string, now string) {
	for _, word := range all {
		e.put(d, number(word == now), word)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (e emitter) node(s *Sample) {
	e.put(buildInfo, 1, s.Version)
	e.put(ready, number(s.Ready))
	e.oneOf(phase, s.Phases, s.Phase)
	e.put(tasksRunning, float64(s.Running))
	e.put(redeliveries, float64(s.Redeliver))
	e.put(stalls, float64(s.Stalls))
	e.put(logQuieted, float64(s.Quieted))
	e.put(hostsWanted, float64(s.Hosts))
	e.put(draining, s.Drain.Seconds())
	e.put(reloads, float64(s.Reload.Succeeded), "ok")
	e.put(reloads, float64(s.Reload.Refused), "refused")
	e.put(reloadOK, number(s.Reload.LastOK))
	e.put(reloadTime, float64(s.Reload.Last.UnixMilli())/1000)
}

func (e emitter) slots(s *Slots) {
	for state, n := range s.States {
		e.put(slots, float64(n), state)
	}
	e.put(slotsTarget, float64(s.Target))
	e.put(slotsMax, float64(s.Most))
	e.put(handlersOverrun, float64(s.Overrun))
	e.oneOf(slotsBound, s.Bounds, s.Bound)
}

func (e emitter) broker(b *Broker) {
	e.put(connected, number(b.Connected))
	if b.Condition != "" {
		e.put(condition, 1, b.Condition)
	}
	for purpose, n := range b.Commands {
		e.put(commands, float64(n), purpose)
	}
	e.put(connections, float64(b.Conns))
	e.put(dials, float64(b.Dialed))
	e.put(reconnects, float64(b.Reconnects))
	e.put(leaseLeft, b.Lease.Seconds())
	e.put(leaseLapses, float64(b.Lapses))
	e.put(claimsWaiting, float64(b.Waiting))
	e.put(claimsHeld, float64(b.Held))
	e.put(claimsDoubt, float64(b.InDoubt))
	for _, c := range []struct {
		event string
		n     uint64
	}{
		{"claimed", b.Claimed}, {"settled", b.Settled}, {"taken", b.Taken}, {"forgotten", b.Forgotten}, {"put_back", b.PutBack}, {"recovered", b.Recovered},
		{"parked", b.Parked}, {"woken", b.Woken}, {"restored", b.Restored}, {"buried", b.Buried},
	} {
		e.put(messages, float64(c.n), c.event)
	}
}

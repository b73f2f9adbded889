package autoscale

import "time"

// Arrivals reckons how fast messages come to one queue and how long the oldest has waited, from what can be counted: what lies
// in the queue and what was taken out of it. Redis tells neither.
type Arrivals struct {
	parts   [arrivalParts]arrived // ring, oldest first from head
	head    int                   // newest part
	known   int                   // parts in use
	window  time.Duration
	arrived int64 // since the start
	claimed int64 // counter at the last sample
	depth   int
	started bool
}

// arrived is what had come when the part ended.
type arrived struct {
	from, to time.Time
	total    int64 // Arrivals.arrived at to
}

const arrivalParts = 7 // six for the rate and the one that fills

// NewArrivals makes an empty record that looks back a window (0: one minute).
func NewArrivals(window time.Duration) *Arrivals {
	if window <= 0 {
		window = time.Minute
	}
	return &Arrivals{window: window}
}

// Observe takes a sample: messages due in the queue, and how many all nodes together have claimed from it. The counter may
// start again (a node left): the step that this makes is not counted. A clock that goes back starts the record again.
func (a *Arrivals) Observe(now time.Time, due int, claimed int64) {
	if !a.started || now.Before(a.parts[a.head].from) {
		*a = Arrivals{window: a.window, started: true, claimed: claimed, depth: due}
		a.parts[0] = arrived{from: now, to: now}
		a.known = 1
		return
	}
	taken := max(0, claimed-a.claimed)
	a.arrived += max(0, int64(due-a.depth)+taken)
	a.claimed, a.depth = claimed, due
	head := &a.parts[a.head]
	head.to, head.total = now, a.arrived
	if now.Sub(head.from) >= a.window/(arrivalParts-1) {
		a.head = (a.head + 1) % arrivalParts
		a.parts[a.head] = arrived{from: now, to: now, total: a.arrived}
		a.known = min(a.known+1, arrivalParts)
	}
}

// Rate is messages a second over the window. The busiest part of it is left out: a burst is a backlog, not a rate, and counts as
// such already.
func (a *Arrivals) Rate() float64 {
	var sum, most int64
	var span, longest time.Duration
	for i := 1; i < a.known; i++ {
		part, before := a.part(i), a.part(i-1)
		n, took := part.total-before.total, part.to.Sub(before.to)
		if i == a.known-1 && took < a.window/(2*arrivalParts) {
			break // too young to say anything
		}
		sum, span = sum+n, span+took
		if n > most {
			most, longest = n, took
		}
	}
	if span -= longest; span <= 0 {
		return 0
	}
	return float64(sum-most) / span.Seconds()
}

// Oldest is about how long the oldest message in the queue has waited, if they leave in the order in which they came. It is 0
// when nothing waits.
func (a *Arrivals) Oldest(now time.Time) time.Duration {
	if a.depth == 0 || a.known == 0 {
		return 0
	}
	gone := a.arrived - int64(a.depth) // how many had come before the oldest
	for i := 0; i < a.known; i++ {
		if part := a.part(i); part.total > gone {
			before := part.from
			return max(0, now.Sub(before))
		}
	}
	return 0
}

// part is the i-th part, the oldest first.
func (a *Arrivals) part(i int) *arrived {
	return &a.parts[(a.head-a.known+1+i+arrivalParts)%arrivalParts]
}

package autoscale

import "time"

// State is what one decision hands to the next. The zero value is the start. It is a plain value: a copy is a snapshot.
type State struct {
	last     time.Time     // time of the last decision
	next     time.Duration // the NextCheck it gave
	elapsed  time.Duration // time as Decide counts it: never backwards, never in leaps
	target   int
	wish     int // this node's wish of the last sample that was known
	fleet    int // and that of all nodes
	terms    terms
	quiet    time.Duration // elapsed since something arrived, waited or ran
	peaks    peaks
	pressure Pressure
	calm     time.Duration // elapsed since memory was last as tight as pressure says
}

// Target is the target of the last decision.
func (s State) Target() int { return s.target }

// advance lets time pass. A clock that was set back, or a machine that slept, does not make a window end: at most twice the
// time passes that was asked for.
func (s *State) advance(now time.Time) (step time.Duration) {
	if !s.last.IsZero() {
		step = min(max(0, now.Sub(s.last)), 2*max(s.next, busyCheck))
	}
	s.last = now
	s.elapsed += step
	return step
}

// peaks keeps the highest wish of the last window, in parts of it.
type peaks struct {
	parts [windowParts]peak
	head  int
}

type peak struct {
	from, to time.Duration // in State.elapsed
	wish     int
}

const windowParts = 16

// add notes a wish and returns the highest of the last window. Parts are as long as a sixteenth of the window, so that a
// peak lasts a window and at most that much more.
func (p *peaks) add(at, window time.Duration, wish int) int {
	head := &p.parts[p.head]
	if at-head.from >= window/(windowParts-1) {
		p.head = (p.head + 1) % windowParts
		head = &p.parts[p.head]
		*head = peak{from: at}
	}
	head.to = at
	head.wish = max(head.wish, wish)
	highest := 0
	for _, part := range p.parts {
		if at-part.to <= window {
			highest = max(highest, part.wish)
		}
	}
	return highest
}

// forget drops the past.
func (p *peaks) forget() { *p = peaks{} }

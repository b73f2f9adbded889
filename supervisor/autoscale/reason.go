package autoscale

import (
	"fmt"
	"strings"
	"time"
)

// words is what the reason is made of.
type words struct {
	policy   Policy
	sample   Sample
	terms    terms
	highest  int
	steady   int
	floor    int
	kept     int
	asleep   bool
	quiet    time.Duration
	wish     int
	fleet    int
	decision Decision
	held     *limit
}

// String is one line for a log and the status, such as
//
//	target 7: 212 waiting × 0.8 s ÷ 30 s + 2 to keep up; held by memory: 3.1 GiB left ÷ 410 MiB
func (w words) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "target %d: %s", w.decision.Target, w.cause())
	if w.held != nil && !(w.policy.fixed() && w.held.bound == BoundMax) {
		fmt.Fprintf(&b, "; held by %s: %s", w.held.bound, w.held.words())
	}
	return b.String()
}

func (w words) cause() string {
	switch {
	case w.policy.fixed() && w.floor == w.policy.Min:
		return fmt.Sprintf("fixed at %d", w.floor)
	case w.asleep:
		return "nothing waited or ran for " + span(w.quiet)
	case w.floor > w.highest && w.floor > w.policy.Min && w.floor > reserved(w.sample.Queues):
		return "asked for by remote control"
	case w.sample.Unknown:
		return "the queues were not counted, so the last wish stays"
	case w.floor > w.highest:
		return fmt.Sprintf("the minimum, %s", w.load())
	case w.steady > w.highest:
		return fmt.Sprintf("arrivals fill %s slots, now %d: %s", number(w.terms.filled()), w.wish, w.load())
	case w.highest > w.wish:
		return fmt.Sprintf("the highest wish of the last %s, now %d: %s", span(w.policy.window(w.sample.StartTime)), w.wish, w.load())
	case w.sample.Slots.Owed > 0 && w.fleet+w.kept < w.wish:
		return fmt.Sprintf("%d claimed without a slot", w.sample.Slots.Owed)
	case w.wish == 0 && w.decision.Target > 0:
		return "one slot to wait with"
	case w.fleet+w.kept > w.wish:
		return fmt.Sprintf("this node's part of %d: %s", w.fleet, w.load())
	}
	return w.load()
}

// load says what the wish is made of.
func (w words) load() string {
	t := w.terms
	var parts []string
	switch {
	case t.waiting == 0:
	case t.queues > 1:
		parts = append(parts, fmt.Sprintf("%s for %d waiting in %d queues", number(t.clear), t.waiting, t.queues))
	case t.clear >= float64(t.waiting):
		parts = append(parts, fmt.Sprintf("%d waiting", t.waiting))
	default:
		parts = append(parts, fmt.Sprintf("%d waiting × %s ÷ %s", t.waiting, span(t.service), span(t.left)))
	}
	if t.held > t.keep+t.reserve {
		parts = append(parts, number(t.held)+" busy for longer")
	} else if t.keep+t.reserve >= 0.05 {
		parts = append(parts, number(t.keep)+" to keep up")
		if t.reserve >= 0.05 {
			parts = append(parts, number(t.reserve)+" in reserve")
		}
	}
	switch {
	case len(parts) == 0 && w.kept > 0:
		return fmt.Sprintf("nothing waits, %d kept for their queues", w.kept)
	case len(parts) == 0:
		return "nothing waits"
	case w.kept > 0:
		parts = append(parts, fmt.Sprintf("%d kept for their queues", w.kept))
	}
	return strings.Join(parts, " + ")
}

// span is a duration as a reader wants it: 12 ms, 0.8 s, 30 s, 5 min, 2 h.
func span(d time.Duration) string {
	switch {
	case d < 100*time.Millisecond:
		return number(d.Seconds()*1000) + " ms"
	case d < 2*time.Minute:
		return number(d.Seconds()) + " s"
	case d < 2*time.Hour:
		return number(d.Minutes()) + " min"
	}
	return number(d.Hours()) + " h"
}

// number has one digit after the point if it is small, and none if that would be a zero.
func number(f float64) string {
	if f >= 9.95 {
		return fmt.Sprintf("%.0f", f)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0")
}

// size is a number of bytes as a reader wants it.
func size(n int64) string {
	const unit = 1024
	switch f := float64(n); {
	case f >= unit*unit*unit:
		return fmt.Sprintf("%.1f GiB", f/unit/unit/unit)
	case f >= unit*unit:
		return fmt.Sprintf("%.0f MiB", f/unit/unit)
	default:
		return fmt.Sprintf("%.0f KiB", f/unit)
	}
}

package autoscale

import "time"

// Policy is what the user asks for. A change of it takes effect with the next decision; the state lives on.
type Policy struct {
	Min int // slots kept on this node
	Max int // slots allowed on this node

	// SLO is how long a message may wait for its start. Zero means not at all: every message that waits has a slot started
	// for it, as far as the bounds allow.
	SLO time.Duration

	// Window is how long the wish must have been lower before the target follows it down. Zero means four times the start
	// of an executor, but ten seconds to two minutes.
	Window time.Duration

	// ZeroAfter is how long nothing may have arrived, waited or run before the last slot goes. Zero means never; it counts
	// only when Min is 0.
	ZeroAfter time.Duration

	// Starts is how many executors may be starting at the same time. Zero means what the processors can take: see startLimit.
	Starts int

	// Temporary stands above Min and Max until it ends.
	Temporary Temporary
}

// What a Policy has if nothing else is said.
const (
	DefaultSLO  = 30 * time.Second
	leastWindow = 10 * time.Second
	mostWindow  = 2 * time.Minute
)

// Fixed is the policy of `-c n`: n slots, whatever the load; memory and connections may still allow fewer.
func Fixed(n int) Policy { return Policy{Min: n, Max: n} }

// Range is the policy of Celery's `--autoscale=highest,lowest`: a slot for each message that waits, between the two.
func Range(highest, lowest int) Policy { return Policy{Min: lowest, Max: highest} }

// fixed says whether there is nothing to decide but the bounds.
func (p Policy) fixed() bool { return p.Min >= p.Max }

// window is how long an idle slot is kept: by default four times as long as it takes to start another, within bounds.
func (p Policy) window(start time.Duration) time.Duration {
	if p.Window > 0 {
		return p.Window
	}
	return min(max(4*start, leastWindow), mostWindow)
}

// Temporary is what remote control asked for (pool_grow, pool_shrink): a floor and a ceiling that last until the next
// reload or until a time. The zero value asks for nothing.
type Temporary struct {
	Floor   int
	Ceiling int
	Until   time.Time // zero: until it is replaced
}

// Grow asks for n slots more than there are, above Max if it must be.
func Grow(size, n int) Temporary { return Temporary{Floor: size + n} }

// Shrink asks for n slots fewer than there are, but leaves one.
func Shrink(size, n int) Temporary { return Temporary{Ceiling: max(1, size-n)} }

// at is the temporary bound that holds now.
func (t Temporary) at(now time.Time) Temporary {
	if !t.Until.IsZero() && !now.Before(t.Until) {
		return Temporary{}
	}
	return t
}

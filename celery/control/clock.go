package control

import "sync/atomic"

// maxClock bounds what we accept from others: a larger value has been forged, and adopting it would leave no room to count.
const maxClock = 1 << 53

// Clock is the node's Lamport clock, shared by control replies and events (kombu/clocks.py LamportClock). Any
// goroutine may use it; the zero value is ready.
type Clock struct{ value atomic.Int64 }

// Value is the time of the last event seen or sent.
func (c *Clock) Value() int64 { return c.value.Load() }

// Forward counts one event of our own and returns its time.
func (c *Clock) Forward() int64 { return c.value.Add(1) }

// Adjust counts the arrival of a message that was sent at other.
func (c *Clock) Adjust(other int64) int64 {
	if other > maxClock {
		other = 0
	}
	for {
		own := c.value.Load()
		next := max(own, other) + 1
		if c.value.CompareAndSwap(own, next) {
			return next
		}
	}
}

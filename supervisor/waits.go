package supervisor

import (
	"sync"
	"time"
)

// waits reckons how long messages wait, queue by queue. A message does not say when it was sent, so each look at a queue's depth is
// remembered: what had come by then is what we had taken plus what lay there, and the n-th message that we take came between the
// last look by which n had not come yet and the next one. It is exact to the time between two looks if messages leave in the order
// in which they came, and if what other nodes take is seen as it goes.
type waits struct {
	mu     sync.Mutex
	queues map[string]*curve
}

// curve is how many messages had come to a queue, over time.
type curve struct {
	taken  int64 // by us; what others took is added when it shows
	points []came
}

type came struct {
	at    time.Time
	total int64
}

const (
	mostPoints = 256
	mostCurves = 1000
)

func (w *waits) of(queue string) *curve {
	c := w.queues[queue]
	if c == nil {
		if w.queues == nil {
			w.queues = map[string]*curve{}
		}
		c = &curve{}
		if len(w.queues) < mostCurves {
			w.queues[queue] = c
		}
	}
	return c
}

// look takes in how many messages lie in a queue and returns about how long the oldest has waited.
func (w *waits) look(queue string, now time.Time, due int64) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.of(queue)
	total := c.taken + due
	if n := len(c.points); n > 0 && total < c.points[n-1].total {
		c.taken += c.points[n-1].total - total // others took them
		total = c.points[n-1].total
	}
	c.forget()
	c.points = append(c.points, came{now, total})
	if len(c.points) > mostPoints { // every other one will do
		kept := c.points[:0]
		for i := 0; i < len(c.points); i += 2 {
			kept = append(kept, c.points[i])
		}
		c.points = kept
	}
	if due == 0 {
		return 0
	}
	return now.Sub(c.cameAt(now, c.taken))
}

// take counts a message that was claimed and returns how long it waited; false if nobody looks at the queue.
func (w *waits) take(queue string, now time.Time) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.of(queue)
	n := c.taken
	c.taken++
	if len(c.points) == 0 || now.Sub(c.points[len(c.points)-1].at) > lookedLately {
		c.points = c.points[:0]
		return 0, false
	}
	return max(0, now.Sub(c.cameAt(now, n))), true
}

// lookedLately is how long after the last look waits are still reckoned.
const lookedLately = 5 * time.Minute

// cameAt tells when the n-th message came, counted from 0. One that came after the last look came just now, for all we know.
func (c *curve) cameAt(now time.Time, n int64) time.Time {
	for i, p := range c.points {
		if p.total <= n {
			continue
		}
		if i == 0 {
			return p.at // or before that
		}
		before := c.points[i-1]
		part := float64(n-before.total) / float64(p.total-before.total)
		return before.at.Add(time.Duration(max(part, 0) * float64(p.at.Sub(before.at))))
	}
	return now
}

// forget drops the points before which everything has been taken, but the last of them.
func (c *curve) forget() {
	for len(c.points) > 1 && c.points[1].total <= c.taken {
		c.points = c.points[1:]
	}
}

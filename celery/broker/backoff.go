package broker

import (
	"math/rand/v2"
	"time"
)

// backoff grows from 50 ms to 10 s, with jitter so that many nodes do not come back in step. It never gives up.
type backoff struct{ n int }

func (b *backoff) next() time.Duration {
	d := min(50*time.Millisecond<<min(b.n, 10), 10*time.Second)
	b.n++
	return d/2 + rand.N(d)/2 //nolint:gosec // jitter
}

func (b *backoff) reset() { b.n = 0 }

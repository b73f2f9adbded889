package broker

import (
	"math/rand/v2"
	"time"
)

// backoff grows from 50 ms to longestPause, with jitter so that many nodes do not come back in step. It never gives up.
type backoff struct{ n int }

const longestPause = 10 * time.Second

func (b *backoff) next() time.Duration {
	d := min(50*time.Millisecond<<min(b.n, 10), longestPause)
	b.n++
	return d/2 + rand.N(d)/2 //nolint:gosec // jitter
}

func (b *backoff) reset() { b.n = 0 }

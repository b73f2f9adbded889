package pool

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// restarts decides when an executor that could not be started is tried again: at once the first time, then after a
// growing, jittered delay. It is pure: the time and the jitter are arguments.
type restarts struct {
	failures int
}

const (
	restartBase = 250 * time.Millisecond
	restartMost = 30 * time.Second
)

// failed notes a failure and returns how long to wait, with the reason in words.
func (r *restarts) failed(jitter float64) (time.Duration, string) {
	r.failures++
	if r.failures == 1 {
		return 0, "first failure, trying again at once"
	}
	delay := restartMost
	if shift := r.failures - 2; shift < 7 {
		delay = min(restartBase<<shift, restartMost)
	}
	delay = time.Duration(float64(delay) * (0.75 + jitter/2))
	return delay, fmt.Sprintf("%d failures in a row, trying again in %s", r.failures, delay.Round(time.Millisecond))
}

func (r *restarts) succeeded() { r.failures = 0 }

func jitter() float64 { return rand.Float64() }

package supervisor

import (
	"testing"
	"time"
)

// A handler that does not end keeps the pool from closing for as long as that is waited for: the process has to be gone before the platform
// kills it.
func TestTheWaitForWhatWasKilledFitsIntoTheMargin(t *testing.T) {
	for margin, want := range map[time.Duration]time.Duration{0: killGrace, 3 * time.Second: 2 * time.Second, time.Minute: killGrace, 1500 * time.Millisecond: time.Second} {
		if got := (drain{margin: margin}).grace(); got != want {
			t.Errorf("margin %s: got %s, want %s", margin, got, want)
		}
	}
}

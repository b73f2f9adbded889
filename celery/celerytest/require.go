package celerytest

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// need skips the test for lack of something ("redis", "celery"), or fails it if AGENSIUM_REQUIRE asks for that.
func need(t testing.TB, what, reason string) {
	t.Helper()
	if slices.Contains(strings.Split(os.Getenv("AGENSIUM_REQUIRE"), ","), what) {
		t.Fatalf("AGENSIUM_REQUIRE asks for %s: %s", what, reason)
	}
	t.Skipf("SKIPPED, NOT TESTED: needs %s: %s", what, reason)
}

// Backstop bounds each wait for an event. It is long: reaching it means that the event never comes.
const Backstop = time.Minute

// Eventually waits until the condition holds, looking at it every few milliseconds, and fails the test with the words
// of what if it never does. It is for conditions in other processes; inside one, wait for an event.
func Eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.NewTimer(Backstop)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %s for: %s", Backstop, what)
		}
	}
}

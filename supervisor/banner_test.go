package supervisor

import (
	"testing"
	"time"

	"github.com/agensium/agensium/supervisor/config"
)

func TestMeteredNodeSaysAtItsStartWhatItCosts(t *testing.T) {
	c := config.Defaults()
	want := "an idle month 83,272 commands, $0.17; 1,000 tasks 4,000, $0.008; at $0.20 for 100,000  " +
		"(idle: 35,752 wait for messages, 8,640 renew the lease, 25,920 look for what the dead left, 8,640 look for progress, 4,320 keep the subscription alive)"
	if got := meteredWords(c); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	c.Broker.Queues, c.Control.Enabled, c.Lease.Look = []string{"a", "b"}, false, time.Hour
	want = "an idle month 90,943 commands, $0.18; 1,000 tasks 4,000, $0.008; at $0.20 for 100,000  " +
		"(idle: 71,503 wait for messages, 8,640 renew the lease, 2,160 look for what the dead left, 8,640 look for progress)"
	if got := meteredWords(c); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

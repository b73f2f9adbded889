package broker

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

func TestATaskIsClaimedStoredAndAcknowledged(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	push(t, c, "celery", "a", "b")
	d := next(t, b, nil)
	if id := idOf(d.Raw); id != "a" {
		t.Fatalf("first delivery is %s", id)
	}
	if got := list(t, c, d.Claim); !cmp.Equal(got, []string{"a"}) {
		t.Errorf("claim key holds %v", got)
	}
	d2 := next(t, b, acked(d))
	if id := idOf(d2.Raw); id != "b" {
		t.Fatalf("second delivery is %s", id)
	}
	if got := claimKeys(t, c); len(got) != 1 {
		t.Errorf("claim keys: %q", got)
	}
	if err := b.Settle(bounded(t), *acked(d2)); err != nil {
		t.Fatal(err)
	}
	if ttl := c.TTL(bounded(t), "celery-task-meta-b").Val(); ttl <= 0 {
		t.Errorf("result expires in %s", ttl)
	}
	if err := b.Settle(bounded(t), *acked(d2)); !errors.Is(err, ErrNotHeld) {
		t.Errorf("settled twice: %v", err)
	}
	closeBroker(t, b)
	if keys := c.Keys(bounded(t), "*agensium*").Val(); len(keys) != 0 {
		t.Errorf("left behind: %q", keys)
	}
	if _, err := b.Next(bounded(t), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
}

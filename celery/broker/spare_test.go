package broker

import (
	"context"
	"slices"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

// spare switches holding on and returns what is told.
func spare(b *Broker) <-chan struct{} {
	told := make(chan struct{}, 8)
	b.Spare(func() { told <- struct{}{} })
	return told
}

func TestAMessageIsHeldForASlotThatIsToCome(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	told := spare(b)
	celerytest.Eventually(t, "four waits without a slot", func() bool { return b.Status().Blocked == 4 })
	push(t, c, "celery", "a", "b")
	<-told
	celerytest.Eventually(t, "the status to show it", func() bool { return b.Status().Claims == 1 })
	if s := b.Status(); !b.Held() || s.Claims != 1 || s.Waiting != 0 {
		t.Errorf("held %v, %+v", b.Held(), s)
	}
	if left := list(t, c, "celery"); !slices.Equal(left, []string{"b"}) {
		t.Errorf("in the queue: %q", left)
	}
	first := next(t, b, nil)
	<-told // the slot has the first one, so the second is held
	second := next(t, b, acked(first))
	if got := []string{idOf(first.Raw), idOf(second.Raw)}; !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("slots got %q", got)
	}
	if err := b.Settle(bounded(t), *acked(second)); err != nil {
		t.Fatal(err)
	}
	closeBroker(t, b)
	if keys := claimKeys(t, c); len(keys) != 0 {
		t.Errorf("claim keys left: %q", keys)
	}
}

// slot waits for a delivery and says its id, or what went wrong.
func slot(b *Broker) <-chan string {
	got := make(chan string)
	go func() {
		d, err := b.Next(context.Background(), nil)
		if err != nil {
			got <- err.Error()
			return
		}
		got <- idOf(d.Raw)
	}()
	return got
}

func TestASlotThatWaitsComesBeforeTheSpare(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	got := slot(b)
	celerytest.Eventually(t, "a slot that waits", func() bool { return b.Status().Waiting == 1 })
	told := spare(b)
	push(t, c, "celery", "a")
	if id := <-got; id != "a" || b.Held() {
		t.Errorf("the slot got %q, held %v", id, b.Held())
	}
	push(t, c, "celery", "b")
	<-told
}

func TestWhatIsHeldGoesBackWhenNoSlotIsToCome(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	for name, end := range map[string]func(b *Broker){
		"not allowed any more": func(b *Broker) { b.Spare(nil) },
		"drain":                func(b *Broker) { b.Drain() },
	} {
		t.Run(name, func(t *testing.T) {
			c.Del(context.Background(), "celery")
			b := start(t, r.URL(0))
			told := spare(b)
			push(t, c, "celery", "a", "b")
			<-told
			end(b)
			celerytest.Eventually(t, "both in the queue", func() bool { return slices.Equal(list(t, c, "celery"), []string{"a", "b"}) })
			celerytest.Eventually(t, "nothing held", func() bool { return !b.Held() && b.Status().Claims == 0 })
			closeBroker(t, b)
		})
	}
}

func TestWhileItIsPausedNothingIsClaimed(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	got := slot(b)
	celerytest.Eventually(t, "four waits", func() bool { return b.Status().Blocked == 4 })
	b.Pause(true)
	celerytest.Eventually(t, "no waits", func() bool { return b.Status().Blocked == 0 })
	push(t, c, "celery", "a")
	b.Pause(false)
	if id := <-got; id != "a" {
		t.Errorf("after the pause the slot got %q", id)
	}
}

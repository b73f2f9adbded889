package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

func TestMessagesComeInKombusOrder(t *testing.T) {
	lists := map[string][]string{ // list → ids, the first pushed is the first consumed
		"a": {"a0.1", "a0.2", "a0.3"}, "b": {"b0.1", "b0.2"}, "c": {"c0.1"},
		"a" + step + "3": {"a3.1"}, "c" + step + "3": {"c3.1", "c3.2"}, "b" + step + "9": {"b9.1"},
	}
	for order, want := range map[string][]string{
		// kombu/utils/scheduling.py round_robin_cycle: who gave goes to the end; the turn is one for all steps.
		OrderRoundRobin: {"a0.1", "b0.1", "c0.1", "a0.2", "b0.2", "a0.3", "c3.1", "a3.1", "c3.2", "b9.1"},
		OrderPriority:   {"a0.1", "a0.2", "a0.3", "b0.1", "b0.2", "c0.1", "a3.1", "c3.1", "c3.2", "b9.1"},
		OrderSorted:     {"a0.1", "a0.2", "a0.3", "b0.1", "b0.2", "c0.1", "a3.1", "c3.1", "c3.2", "b9.1"},
	} {
		t.Run(order, func(t *testing.T) {
			r := celerytest.StartRedis(t)
			c := r.Client(0)
			for key, ids := range lists {
				push(t, c, key, ids...)
			}
			queues := []string{"a", "b", "c"}
			if order == OrderSorted {
				queues = []string{"c", "a", "b"}
			}
			b := start(t, r.URL(0), func(o *Options) { o.Queues, o.QueueOrder, o.MaxBlocked = queues, order, 12 })
			var got []string
			var done *Finished
			for range want {
				d := next(t, b, done)
				got = append(got, idOf(d.Raw))
				done = acked(d)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if err := b.Settle(bounded(t), *done); err != nil {
				t.Fatal(err)
			}
			closeBroker(t, b)
			if keys := claimKeys(t, c); len(keys) != 0 {
				t.Errorf("claim keys left: %q", keys)
			}
		})
	}
}

// Nothing is taken for which no slot waits: at any time at most as many messages lie in claim keys as slots are there.
func TestClaimsNeverExceedSlots(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	const slots, tasks = 3, 60
	var mu sync.Mutex
	var held, most int
	seen := map[string]int{}
	ctx, stop := context.WithCancel(bounded(t))
	var all sync.WaitGroup
	finished := make(chan struct{}, tasks)
	for range slots {
		all.Go(func() {
			var done *Finished
			for {
				d, err := b.Next(ctx, done)
				if err != nil {
					return
				}
				mu.Lock()
				held++
				most = max(most, held)
				seen[idOf(d.Raw)]++
				mu.Unlock()
				if n := len(claimKeysOf(c)); n > 2*slots {
					t.Errorf("%d claim keys for %d slots", n, slots)
				}
				mu.Lock()
				held--
				mu.Unlock()
				done = acked(d)
				finished <- struct{}{}
			}
		})
	}
	for i := range tasks {
		push(t, c, "celery"+[]string{"", step + "3", step + "9"}[i%3], fmt.Sprint("t", i))
	}
	for range tasks {
		<-finished
	}
	stop()
	all.Wait()
	closeBroker(t, b)
	if most > slots || len(seen) != tasks {
		t.Errorf("at most %d held at once by %d slots, %d of %d seen", most, slots, len(seen), tasks)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s delivered %d times", id, n)
		}
	}
	if keys := claimKeys(t, c); len(keys) != 0 {
		t.Errorf("claim keys left: %q", keys)
	}
}

func TestAMessageThatLandsWithoutAFreeSlotGoesBackToTheConsumingEnd(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	ctx, leave := context.WithCancel(bounded(t))
	gone := make(chan error, 1)
	go func() { _, err := b.Next(ctx, nil); gone <- err }()
	celerytest.Eventually(t, "four waits", func() bool { return b.Status().Blocked == 4 })
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatalf("Next: %v", err)
	}
	push(t, c, "celery", "a", "b")
	celerytest.Eventually(t, "the message to be back", func() bool { return b.Status().PutBack == 1 && b.Status().Owed == 0 })
	if got := list(t, c, "celery"); !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("queue is %v", got)
	}
	if d := next(t, b, nil); idOf(d.Raw) != "a" {
		t.Errorf("then came %s", idOf(d.Raw))
	}
}

func TestDrainEndsWaitsAndTakesNoMore(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	push(t, c, "celery", "a")
	d := next(t, b, nil)
	waiting := make(chan error, 1)
	go func() { _, err := b.Next(bounded(t), nil); waiting <- err }()
	celerytest.Eventually(t, "a waiting slot", func() bool { return b.Status().Waiting == 1 })
	b.Drain()
	if err := <-waiting; !errors.Is(err, ErrDraining) {
		t.Errorf("waiting slot got %v", err)
	}
	push(t, c, "celery", "b")
	if _, err := b.Next(bounded(t), acked(d)); !errors.Is(err, ErrDraining) {
		t.Errorf("Next while draining: %v", err)
	}
	if n := c.Exists(bounded(t), "celery-task-meta-a").Val(); n != 1 {
		t.Error("result of the last task is not stored")
	}
	closeBroker(t, b)
	if got := list(t, c, "celery"); !cmp.Equal(got, []string{"b"}) {
		t.Errorf("queue is %v", got)
	}
}

// A wait that has just begun is ended by Redis too: nothing is in doubt, so that the registry has no entry left for others to look after.
func TestADrainWhileWaitsBeginLeavesNothingInDoubt(t *testing.T) {
	r := celerytest.StartRedis(t)
	far := celerytest.StartProxy(t, r.Addr())
	far.Delay(2 * time.Millisecond)
	c := r.Client(0)
	for range 12 {
		b := start(t, far.URL(0), func(o *Options) { o.unblockFor = celerytest.Backstop }) // whatever the machine, no wait is cut
		gone := make(chan error, 1)
		go func() { _, err := b.Next(bounded(t), nil); gone <- err }()
		celerytest.Eventually(t, "waits", func() bool { return b.Status().Blocked == 4 })
		b.Drain()
		if err := <-gone; !errors.Is(err, ErrDraining) {
			t.Fatal(err)
		}
		closeBroker(t, b)
		if left := c.Keys(bounded(t), "*").Val(); len(left) != 0 {
			t.Fatalf("left: %q", left)
		}
	}
}

func TestCloseLeavesEverythingInTheQueue(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	push(t, c, "celery", "a", "b", "c")
	for range 3 {
		next(t, b, nil)
	}
	closeBroker(t, b)
	got := list(t, c, "celery")
	slices.Sort(got)
	if !cmp.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("queue is %v", got)
	}
	if raw := c.LIndex(bounded(t), "celery", 0).Val(); raw != message(idOf([]byte(raw)), 0) {
		t.Errorf("message was changed: %s", raw)
	}
}

func TestQueuesComeAndGo(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	got := make(chan string)
	ctx, stop := context.WithCancel(bounded(t))
	var all sync.WaitGroup
	all.Go(func() {
		var done *Finished
		for {
			d, err := b.Next(ctx, done)
			if err != nil {
				return
			}
			got <- d.Queue
			done = acked(d)
		}
	})
	push(t, c, "celery", "a")
	if q := <-got; q != "celery" {
		t.Errorf("came from %s", q)
	}
	if err := b.AddQueue(bounded(t), "more"); err != nil {
		t.Fatal(err)
	}
	push(t, c, "more", "b")
	if q := <-got; q != "more" {
		t.Errorf("came from %s", q)
	}
	b.RemoveQueue("more")
	celerytest.Eventually(t, "only the other queue's waits", func() bool { return b.Status().Blocked == 4 })
	push(t, c, "more", "c")
	push(t, c, "celery", "d")
	if q := <-got; q != "celery" {
		t.Errorf("came from %s", q)
	}
	stop()
	all.Wait()
	closeBroker(t, b)
	if got := list(t, c, "more"); !cmp.Equal(got, []string{"c"}) {
		t.Errorf("removed queue is %v", got)
	}
}

func TestMoreKeysThanWaitsAreAllServed(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0), func(o *Options) {
		o.Queues, o.MaxBlocked, o.RestInterval = []string{"a", "b", "c"}, 2, 20*time.Millisecond
	})
	var done *Finished
	for i, q := range []string{"c" + step + "9", "a", "b" + step + "3", "c"} {
		push(t, c, q, fmt.Sprint(i))
		d := next(t, b, done)
		if d.Key != q {
			t.Errorf("delivery from %q instead of %q", d.Key, q)
		}
		if n := b.Status().Blocked; n > 2 {
			t.Errorf("%d waits", n)
		}
		done = acked(d)
	}
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
)

// Idle slots that get a task now and then: BLMOVE, SET, PUBLISH, DEL, and the short lease when the first claim comes.
func TestASporadicTaskCostsFourCommands(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	ctx, stop := context.WithCancel(bounded(t))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			var done *Finished
			for {
				d, err := b.Next(ctx, done)
				if err != nil {
					return
				}
				done = acked(d)
			}
		})
	}
	idle := func() bool { s := b.Status(); return s.Waiting == 4 && s.Blocked == 4 && s.Owed == 0 }
	celerytest.Eventually(t, "all to wait", idle)
	before, began := b.Status().Commands, time.Now()
	const n = 20
	for i := range n {
		push(t, c, "celery", fmt.Sprint(i))
		celerytest.Eventually(t, "the task to be settled", func() bool { return b.Status().Settled == uint64(i+1) && idle() })
	}
	after := b.Status().Commands
	renewals := uint64(time.Since(began) / (b.opt.BusyLease / 3)) // which a short lease may come after, again
	stop()
	all.Wait()
	for p := range after {
		after[p] -= before[p]
	}
	// A message that follows its BLMOVE within a few round trips makes an LMOVE come next, whose miss is one more.
	if after["result"] != 2*n || after["settle"] != n || after["wait"] > n+1 || after["claim"] > n || after["lease"] > 2+2*renewals {
		t.Errorf("%d tasks took %v", n, after)
	}
}

func TestConnectionsWhenIdle(t *testing.T) {
	r := celerytest.StartRedis(t)
	p := celerytest.StartProxy(t, r.Addr())
	b := start(t, p.URL(0))
	ctx, leave := context.WithCancel(bounded(t))
	gone := make(chan error, 1)
	go func() { _, err := b.Next(ctx, nil); gone <- err }()
	celerytest.Eventually(t, "four waits", func() bool { return b.Status().Blocked == 4 })
	if n := p.Connections(); n > 6 {
		t.Errorf("%d connections", n)
	}
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestMoreSlotsThanTicketsMakeTheRegistryGrow(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	dir := t.TempDir()
	b := start(t, r.URL(0), func(o *Options) { o.StateDir = dir })
	const n = 3 * firstTickets
	var all sync.WaitGroup
	for i := range n {
		push(t, c, "celery", fmt.Sprint(i))
		all.Go(func() {
			if _, err := b.Next(bounded(t), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	b.crash()
	// All of them can be named by whoever recovers.
	heir := start(t, r.URL(0), func(o *Options) { o.StateDir = dir })
	if seen := consume(t, n, heir); len(seen) != n {
		t.Errorf("%d of %d recovered", len(seen), n)
	}
}

// Redis stands still for longer than a read may take: nothing is lost, nothing comes twice.
func TestRedisStandsStill(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0), func(o *Options) { o.IOTimeout = 100 * time.Millisecond })
	for i := range 20 {
		push(t, c, "celery", fmt.Sprint(i))
	}
	d := next(t, b, nil)
	r.Pause()
	settled := make(chan error, 1)
	go func() { settled <- b.Settle(bounded(t), *acked(d)) }()
	celerytest.Eventually(t, "the condition", func() bool { return b.Status().Condition != nil })
	r.Resume()
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	for id, ds := range consume(t, 19, b) {
		if len(ds) != 1 {
			t.Errorf("%s came %d times", id, len(ds))
		}
	}
}

package broker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

func TestContentsCountsEveryPriorityStepParkedAndDead(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0), func(o *Options) { o.Queues = []string{"celery", "mail"} })
	push(t, c, "celery", "a", "b")
	push(t, c, "celery"+step+"3", "c")
	push(t, c, "mail", "m", "n")
	d := next(t, b, nil)
	if _, err := b.Next(bounded(t), &Finished{d, Settlement{Action: Park, Until: time.Now().Add(time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	got, err := b.Contents(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Due) != 2 || got.Due["celery"]+got.Due["mail"] != 3 || got.Parked != 1 || got.Dead != 0 {
		t.Errorf("contents %+v, want 3 of 5 messages waiting in two queues, one claimed and one parked", got)
	}
	if some, err := b.Backlogged(bounded(t)); err != nil || !some {
		t.Errorf("backlogged: %t, %v", some, err)
	}
	before := b.Status().Commands["sample"]
	if _, err := b.Backlogged(bounded(t)); err != nil || b.Status().Commands["sample"] != before+1 {
		t.Errorf("a look at the backlog costs %d commands, want 1", b.Status().Commands["sample"]-before)
	}
	c.Del(bounded(t), "celery", "celery"+step+"3", "mail")
	if some, err := b.Backlogged(bounded(t)); err != nil || some {
		t.Errorf("backlogged with empty queues: %t, %v", some, err)
	}
}

func TestNodesTellsTheLivingFromTheDead(t *testing.T) {
	r := celerytest.StartRedis(t)
	start(t, r.URL(0), func(o *Options) { o.Node, o.Queues = "a@host", []string{"x", "y"} })
	dead := start(t, r.URL(0), func(o *Options) { o.Node = "b@host" })
	c := r.Client(0)
	celerytest.Eventually(t, "both nodes in the registry", func() bool {
		return c.HLen(bounded(t), "agensium:nodes").Val() == 2 && dead.Status().Connected
	})
	id := dead.Status().Incarnation
	dead.crash()
	c.Del(bounded(t), "agensium:lease:"+id)
	got, err := ReadNodes(bounded(t), target(t, r.URL(0)), "", "\x06\x16")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].Node != "a@host" || got[0].Lease <= 0 || got[1].Lease != 0 || !cmp.Equal(got[0].Queues, []string{"x", "y"}) {
		t.Errorf("nodes %+v", got)
	}
}

func TestRebuildLosesNothing(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	push(t, c, "celery", "held")
	held := next(t, b, nil)

	got := make(chan string, 1)
	ctx := bounded(t)
	go func() {
		if d, err := b.Next(ctx, nil); err == nil {
			got <- idOf(d.Raw)
		}
	}()
	celerytest.Eventually(t, "four waits", func() bool { return strings.Contains(c.Info(ctx, "clients").Val(), "blocked_clients:4\r") })
	dialed := b.Status().Dialed
	if n := b.Rebuild(); n < 5 {
		t.Errorf("%d connections cut, want those of four waits and of commands at least", n)
	}
	push(t, c, "celery", "next")
	select {
	case id := <-got:
		if id != "next" {
			t.Errorf("got %q", id)
		}
	case <-ctx.Done():
		t.Fatal("nothing was claimed after the connections were rebuilt")
	}
	if err := b.Settle(ctx, *acked(held)); err != nil {
		t.Errorf("settle what was held: %v", err)
	}
	if b.Status().Dialed <= dialed {
		t.Error("nothing was dialed again")
	}
	celerytest.Eventually(t, "connected again", func() bool { return b.Status().Connected })
	if s := b.Status(); s.Connections == 0 {
		t.Errorf("status says that no connection is open: %+v", s)
	}
}

func TestDepthsOfABrokerThatDoesNotRunEndsWithTheContext(t *testing.T) {
	b, err := New(Options{Target: target(t, "redis://127.0.0.1:1/0"), Queues: []string{"celery"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := b.Depths(ctx); err == nil {
		t.Error("no error")
	}
	closeBroker(t, b)
	if _, err := b.Backlogged(bounded(t)); err != ErrClosed {
		t.Errorf("after Close: %v", err)
	}
}

package supervisor

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/redisconn"
)

func mustRate(t *testing.T, text string, global bool) *rate {
	t.Helper()
	r, err := rateOf(text, global)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTurnsAreSpacedByTheRate(t *testing.T) {
	ts := turns{log: hclog.NewNullLogger(), next: map[string]time.Time{}}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := mustRate(t, "10/m", false)
	task := &celery.Task{Name: "shop.mail", Retries: 1}
	for i := range 4 {
		if got, want := ts.take(t.Context(), task, r, now), now.Add(time.Duration(i)*6*time.Second); !got.Equal(want) {
			t.Errorf("turn %d is %s after now, want %s", i, got.Sub(now), want.Sub(now))
		}
	}
	if got := ts.take(t.Context(), &celery.Task{Name: "shop.other"}, r, now); !got.Equal(now) {
		t.Errorf("another task has to wait until %s", got)
	}
	waited := &celery.Task{Name: "shop.mail", Retries: 1, Parked: "1 10/m"}
	if got := ts.take(t.Context(), waited, r, now); !got.Equal(now) {
		t.Error("a task whose turn has come waits again")
	}
	for name, parked := range map[string]string{"of another limit": "1 20/m", "of the attempt before": "0 10/m", "for its ETA": "1 eta"} {
		if got := ts.take(t.Context(), &celery.Task{Name: "shop.mail", Retries: 1, Parked: parked}, r, now); got.Equal(now) {
			t.Errorf("a task that was parked %s needs no turn", name)
		}
	}
	later := now.Add(time.Hour)
	if got := ts.take(t.Context(), task, r, later); !got.Equal(later) {
		t.Error("turns were saved up or lost in an hour without tasks")
	}
	if got := ts.take(t.Context(), task, r, later); !got.Equal(later.Add(6 * time.Second)) {
		t.Error("more than one turn was saved up")
	}
	ts.forget("shop.mail")
	if got := ts.take(t.Context(), task, r, later); !got.Equal(later) {
		t.Error("the old limit is remembered")
	}
}

func TestTurnsOfAllNodes(t *testing.T) {
	server := celerytest.StartRedis(t)
	target, err := redisconn.Parse(server.URL(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := target.Client(redisconn.ClientOptions{PoolSize: 1})
	defer c.Close()
	node := func() *turns {
		return &turns{shared: turnsOf("p:", c.Do), log: hclog.NewNullLogger(), next: map[string]time.Time{}}
	}
	a, b := node(), node()
	now := time.UnixMicro(time.Now().UnixMicro())
	r, task := mustRate(t, "2/s", true), &celery.Task{Name: "shop.mail"}
	for i, ts := range []*turns{a, b, a, b} {
		if got, want := ts.take(t.Context(), task, r, now), now.Add(time.Duration(i)*500*time.Millisecond); !got.Equal(want) {
			t.Errorf("turn %d is %s after now, want %s", i, got.Sub(now), want.Sub(now))
		}
	}
	if ttl := c.PTTL(t.Context(), "p:agensium:rate:shop.mail").Val(); ttl <= 0 || ttl > 2*time.Second {
		t.Errorf("the key lives for %s", ttl)
	}
	away := &turns{log: hclog.NewNullLogger(), next: map[string]time.Time{}}
	away.shared = func(context.Context, string, time.Time, time.Duration) (time.Time, error) {
		return time.Time{}, errors.New("unreachable")
	}
	away.take(t.Context(), task, r, now)
	if got := away.take(t.Context(), task, r, now); !got.Equal(now.Add(500 * time.Millisecond)) {
		t.Errorf("without Redis the limit does not hold for the node: %s", got.Sub(now))
	}
}

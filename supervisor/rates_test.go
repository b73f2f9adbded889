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
	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
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

// A task that says nothing has from the import what stood in the settings then. Those of now count, with what they say of other nodes.
func TestTheRateLimitOfNowCounts(t *testing.T) {
	for name, c := range map[string]struct {
		imported any
		task     string // of the import
		off      bool   // worker_disable_rate_limits
		now      config.RateLimit
		want     string
		global   bool
	}{
		"imposed":                   {"10/m", "10/m", false, config.RateLimit{Limit: "10/m"}, "10/m", false},
		"for all nodes together":    {"10/m", "10/m", false, config.RateLimit{Limit: "10/m", Global: true}, "10/m", true},
		"changed since":             {"10/m", "10/m", false, config.RateLimit{Limit: "20/m"}, "20/m", false},
		"taken away":                {"10/m", "10/m", false, config.RateLimit{}, "", false},
		"a number":                  {0.5, "0.5", false, config.RateLimit{Limit: "3/s"}, "3/s", false},
		"the task's own":            {"10/m", "7/m", false, config.RateLimit{Limit: "20/m", Global: true}, "7/m", false},
		"the task's, none for all":  {nil, "7/m", false, config.RateLimit{}, "7/m", false},
		"none at the import":        {nil, "", false, config.RateLimit{Limit: "20/m"}, "20/m", false},
		"off, but in agensium.toml": {"10/m", "10/m", true, config.RateLimit{Limit: "10/m"}, "10/m", false},
		"off, the task's own":       {nil, "7/m", true, config.RateLimit{}, "", false},
	} {
		s := &Supervisor{log: hclog.NewNullLogger()}
		s.current.Store(&settings{
			Effective: &config.Effective{Config: &config.Config{Tasks: config.Tasks{RateLimit: c.now}}},
			info:      python.Info{Conf: map[string]any{"task_default_rate_limit": c.imported, "worker_disable_rate_limits": c.off}},
			tasks:     map[string]celery.TaskOptions{"t": {RateLimit: c.task}},
		})
		r := s.rate("t")
		if r == nil {
			r = &rate{}
		}
		if r.text != c.want || r.global != c.global {
			t.Errorf("%s: %q, of all nodes: %t", name, r.text, r.global)
		}
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
	r, task := mustRate(t, "2/m", true), &celery.Task{Name: "shop.mail"}
	for i, ts := range []*turns{a, b, a, b} {
		if got, want := ts.take(t.Context(), task, r, now), now.Add(time.Duration(i)*30*time.Second); !got.Equal(want) {
			t.Errorf("turn %d is %s after now, want %s", i, got.Sub(now), want.Sub(now))
		}
	}
	if ttl := c.PTTL(t.Context(), "p:agensium:rate:shop.mail").Val(); ttl <= 0 || ttl > 2*time.Minute {
		t.Errorf("the key lives for %s", ttl)
	}
	away := &turns{log: hclog.NewNullLogger(), next: map[string]time.Time{}}
	away.shared = func(context.Context, string, time.Time, time.Duration) (time.Time, error) {
		return time.Time{}, errors.New("unreachable")
	}
	away.take(t.Context(), task, r, now)
	if got := away.take(t.Context(), task, r, now); !got.Equal(now.Add(30 * time.Second)) {
		t.Errorf("without Redis the limit does not hold for the node: %s", got.Sub(now))
	}
}

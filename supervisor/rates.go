package supervisor

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/control"
	"github.com/agensium/agensium/supervisor/config"
)

// rate is how often tasks of one name may begin.
type rate struct {
	text   string        // as it was written: "10/m"
	every  time.Duration // between two beginnings
	global bool          // of all nodes together
}

// rateOf reads a rate limit; nil means none.
func rateOf(text string, global bool) (*rate, error) {
	perSecond, err := control.ParseRate(text)
	if err != nil || perSecond == 0 {
		return nil, err
	}
	return &rate{text: text, every: time.Duration(float64(time.Second) / perSecond), global: global}, nil
}

// rate returns the rate limit of a task by its name, nil if it has none: what remote control asked for, else what the table of
// the task says, else the task itself, else the configuration for all. worker_disable_rate_limits is about those of Celery.
func (s *Supervisor) rate(name string) *rate {
	now := s.current.Load()
	o, known := now.known(name)
	if !known {
		return nil
	}
	c := now.Config.Tasks
	limit := c.RateLimit
	off, _ := now.info.Conf["worker_disable_rate_limits"].(bool) // of what comes from Celery, as there
	if off && now.Origins["tasks.rate_limit"].Kind == config.FromApp {
		limit = config.RateLimit{}
	}
	if !off && o.RateLimit != "" && o.RateLimit != now.importedRate() {
		limit = config.RateLimit{Limit: o.RateLimit}
	}
	for _, command := range now.Config.Commands {
		if command.Task == name && command.RateLimit != nil {
			limit = *command.RateLimit
		}
	}
	if named := c.Named[name].RateLimit; named != nil {
		limit = *named
	}
	if asked := s.asked.of(name).rate; asked != nil && !off {
		limit.Limit = *asked
	}
	if limit.Limit == "" {
		return nil
	}
	r, err := rateOf(limit.Limit, limit.Global)
	if err != nil {
		s.log.Warn("rate limit is not understood", "task", name, "limit", limit.Limit, "error", err, "next", "run without a limit")
	}
	return r
}

// importedRate is what Celery gave each task that says nothing itself: the setting of the import, which may have changed since, and
// which does not tell whether it is meant for all nodes together.
func (n *settings) importedRate() string {
	switch v := n.info.Conf["task_default_rate_limit"].(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// turns says when tasks under a rate limit may begin: each that is met gets the next turn, a bucket that holds one token as
// Celery's does (kombu/utils/limits.py). Whose turn comes later is parked in Redis until then and not asked again, whichever
// node gets it. Any goroutine may use it.
type turns struct {
	shared func(ctx context.Context, task string, now time.Time, every time.Duration) (time.Time, error)
	log    hclog.Logger

	mu   sync.Mutex
	next map[string]time.Time // by task; when its next turn is
}

// parkedFor is what the header of a parked message says: why it waits, and for which attempt, since a retry takes the
// headers over.
func parkedFor(t *celery.Task, why string) string { return strconv.Itoa(t.Retries) + " " + why }

const parkedForETA = "eta"

// wasParked tells whether the task was parked before, in this attempt.
func wasParked(t *celery.Task) bool { return strings.HasPrefix(t.Parked, parkedFor(t, "")) }

// take returns when t may begin: now, or later. The turn is taken then.
func (ts *turns) take(ctx context.Context, t *celery.Task, r *rate, now time.Time) time.Time {
	if r == nil || t.Parked == parkedFor(t, r.text) {
		return now
	}
	if r.global {
		turn, err := ts.shared(ctx, t.Name, now, r.every)
		if err == nil {
			return turn
		}
		ts.log.Warn("turn under the rate limit of all nodes not known", "task", t.Name, "id", t.ID, "error", err, "next", "the limit holds for this node")
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	turn := now
	if at, ok := ts.next[t.Name]; ok && at.After(now) {
		turn = at
	}
	ts.next[t.Name] = turn.Add(r.every)
	return turn
}

// forget lets the limit of a task begin anew.
func (ts *turns) forget(task string) {
	ts.mu.Lock()
	delete(ts.next, task)
	ts.mu.Unlock()
}

//go:embed turn.lua
var turnText string

// turnsOf keeps the turns of all nodes in one key for each task. One command for each task that begins.
func turnsOf(prefix string, do func(ctx context.Context, args ...any) *redis.Cmd) func(context.Context, string, time.Time, time.Duration) (time.Time, error) {
	return func(ctx context.Context, task string, now time.Time, every time.Duration) (time.Time, error) {
		key := prefix + "agensium:rate:" + task
		micros, err := do(ctx, "EVAL", turnText, 1, key, now.UnixMicro(), every.Microseconds()).Int64()
		if err != nil {
			return time.Time{}, fmt.Errorf("take a turn in %s: %w", key, err)
		}
		return time.UnixMicro(micros), nil
	}
}

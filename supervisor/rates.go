package supervisor

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
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

// ratesOf are the rate limits of the tasks that have one. What a task says itself, or remote control, stands in its options; the
// configuration says what the others have, and which are for all nodes together.
func ratesOf(c config.Tasks, tasks map[string]celery.TaskOptions, log hclog.Logger) map[string]*rate {
	all := map[string]*rate{}
	for name, o := range tasks {
		text, global := o.RateLimit, false
		if text == "" {
			text, global = c.RateLimit.Limit, c.RateLimit.Global
		}
		if named := c.Named[name].RateLimit; named != nil {
			global = named.Global
		}
		r, err := rateOf(text, global)
		if err != nil {
			log.Warn("rate limit is not understood", "task", name, "limit", text, "error", err, "next", "run without a limit")
		}
		if r != nil {
			all[name] = r
		}
	}
	return all
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

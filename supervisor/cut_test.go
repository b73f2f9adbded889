package supervisor_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/config"
)

// TestEveryCutOfANode cuts the connections of a whole node at the requests that it makes from its start to its end: it meets its Redis, claims,
// runs, stores, parks, wakes, recovers, inherits, buries, retries, drains. Each task has run once, or as often as it asked for, and its
// outcome is stored. The broker's own test of this name cuts at every single one.
//
// One cut makes a further run unavoidable: a retry sends a new message, and when the reply is lost nobody knows whether it has arrived. Then it
// is sent twice rather than not at all.
func TestEveryCutOfANode(t *testing.T) {
	r := celerytest.StartRedis(t, "--databases", "1024")
	requests := runNode(t, r, 0, 0, 0)
	t.Logf("the scenario takes %d requests", requests)
	db := 0
	for i, when := range []celerytest.When{celerytest.BeforeRequest, celerytest.BeforeReply, celerytest.AfterReply} {
		for n := 1 + i; n <= requests; n += 3 {
			db++
			db := db
			t.Run(fmt.Sprintf("%s %d", when, n), func(t *testing.T) {
				t.Parallel()
				runNode(t, r, db, n, when)
			})
		}
	}
}

// ran counts how often each task was begun.
type ran struct {
	mu   sync.Mutex
	runs map[string]int
}

func (r *ran) begin(ctx context.Context) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := celery.RequestFrom(ctx).ID
	r.runs[id]++
	return r.runs[id]
}

func (r *ran) times() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	times := map[string]int{}
	for id, n := range r.runs {
		times[id] = n
	}
	return times
}

func runNode(t *testing.T, r *celerytest.Redis, db, cut int, when celerytest.When) (requests int) {
	c := r.Client(db)
	fill(t, r, c, db)
	p := celerytest.StartProxy(t, r.Addr())
	if cut > 0 {
		p.CutAt(cut, when)
	}
	counted := &ran{runs: map[string]int{}}
	mux := celery.NewMux()
	celery.Handle(mux, "cut.run", func(ctx context.Context) { counted.begin(ctx) }, celery.AcksLate())
	celery.Handle(mux, "cut.early", func(ctx context.Context) { counted.begin(ctx) })
	celery.Handle(mux, "cut.fail", func(ctx context.Context) error { counted.begin(ctx); return fmt.Errorf("as it should") }, celery.AcksLate())
	celery.Handle(mux, "cut.reject", func(ctx context.Context) error {
		if counted.begin(ctx) == 1 {
			return celery.Reject(true)
		}
		return nil
	}, celery.AcksLate())
	celery.Handle(mux, "cut.retry", func(ctx context.Context) error {
		counted.begin(ctx)
		if celery.RequestFrom(ctx).Retries == 0 {
			return celery.Retry(nil, 0)
		}
		return nil
	}, celery.AcksLate())

	signals := make(chan os.Signal, 2)
	ended := make(chan error, 1)
	go func() {
		ended <- supervisor.Run(context.Background(), supervisor.Options{Handlers: mux, Loaded: settingsOf(t, p.URL(db)), Stderr: io.Discard, Quiet: true, Signals: signals})
	}()
	want := map[string]string{
		"run": "SUCCESS", "failed": "FAILURE", "rejected": "SUCCESS", "retried": "SUCCESS", "later": "SUCCESS", "early": "SUCCESS", "unknown": "FAILURE",
		"expired": "REVOKED", "recovered": "SUCCESS", "too often": "FAILURE", "inherited": "FAILURE", "left": "SUCCESS",
	}
	got := map[string]string{}
	celerytest.Eventually(t, "all outcomes", func() bool {
		for id := range want {
			got[id] = stateOf(c, id)
		}
		return cmp.Equal(want, got) && c.HLen(t.Context(), "agensium:dead").Val() == 4
	})
	signals <- syscall.SIGTERM
	if err := <-ended; err != nil {
		t.Errorf("the node ended with %v", err)
	}
	times := counted.times()
	if asked := p.Requests(); when == celerytest.BeforeReply && cut <= len(asked) && strings.EqualFold(asked[cut-1][0], "LPUSH") {
		times["retried"] = min(times["retried"], 2) // the message of the retry may be there twice
	}
	once := map[string]int{"run": 1, "failed": 1, "rejected": 2, "retried": 2, "later": 1, "early": 1, "recovered": 1, "left": 1}
	if diff := cmp.Diff(once, times); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
	for _, key := range c.Keys(t.Context(), "*").Val() {
		switch {
		case c.PTTL(t.Context(), key).Val() != -1, // results, and what ends by itself
			strings.HasPrefix(key, "agensium:dead"), strings.HasPrefix(key, "_kombu.binding"),
			key == "agensium:nodes": // of the dead node, for a while
		default:
			t.Errorf("left: %s", key)
		}
	}
	return len(p.Requests())
}

func stateOf(c *redis.Client, id string) string {
	_, rest, _ := strings.Cut(c.Get(context.Background(), "celery-task-meta-"+id).Val(), `"status": "`)
	state, _, _ := strings.Cut(rest, `"`)
	return state
}

func settingsOf(t *testing.T, url string) *config.Loaded {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agensium.toml")
	text := fmt.Sprintf(`
[broker]
url = %q
block_timeout = "1s"
[results]
url = %q
[lease]
ttl = "15s"
idle_ttl = "15s"
look_every = "1s"
look_every_with_peers = "1s"
quarantine = "1s"
[python]
app = ""
[pool]
concurrency = 2
[scaling]
min = 2
[admin]
listen = ""
`, url, url)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := config.Load(config.Input{Path: path, Env: func(name string) (string, bool) {
		dir := filepath.Dir(path)
		return dir, name == "STATE_DIRECTORY"
	}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// fill sends one task of each kind, and leaves some where the dead leave theirs.
func fill(t *testing.T, r *celerytest.Redis, c *redis.Client, db int) {
	t.Helper()
	ctx := t.Context()
	target, err := redisconn.Parse(r.URL(db), nil)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := client.New(client.Options{Broker: target})
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	send := func(id, task string, o celery.Options) {
		t.Helper()
		o.TaskID = id
		if _, err := sender.Apply(ctx, celery.S(task).With(o)); err != nil {
			t.Fatal(err)
		}
	}
	made := func(id, task string, deaths int) string {
		t.Helper()
		send(id, task, celery.Options{Queue: "aside"})
		raw, err := c.RPop(ctx, "aside").Result()
		if err != nil {
			t.Fatal(err)
		}
		raw = strings.ReplaceAll(raw, `"aside"`, `"celery"`)
		if deaths > 0 {
			edited, err := celery.Redelivered([]byte(raw), deaths)
			if err != nil {
				t.Fatal(err)
			}
			raw = string(edited)
		}
		return raw
	}
	pipe := c.Pipeline()
	pipe.HSet(ctx, "agensium:nodes", "gone", `{"node":"gone@elsewhere","host":"elsewhere","tickets":8,"keys":["celery"]}`)
	pipe.LPush(ctx, "agensium:claim:gone:0:celery", made("recovered", "cut.run", 0))
	pipe.LPush(ctx, "agensium:claim:gone:1:celery", made("inherited", "cut.early", 0))
	pipe.HSet(ctx, "unacked", "tag", "["+made("left", "cut.run", 0)+`, "", "celery"]`)
	pipe.ZAdd(ctx, "unacked_index", redis.Z{Score: float64(time.Now().Add(-2 * time.Hour).Unix()), Member: "tag"})
	pipe.LPush(ctx, "celery", made("too often", "cut.run", 5), "not a message")
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	send("run", "cut.run", celery.Options{})
	send("failed", "cut.fail", celery.Options{})
	send("rejected", "cut.reject", celery.Options{})
	send("retried", "cut.retry", celery.Options{})
	send("later", "cut.run", celery.Options{Countdown: 300 * time.Millisecond})
	send("early", "cut.early", celery.Options{})
	send("unknown", "cut.nobody", celery.Options{})
	send("expired", "cut.run", celery.Options{Expires: time.Now().Add(-time.Second)})
	c.Del(ctx, "_kombu.binding.aside")
}

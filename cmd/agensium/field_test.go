package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/celery/redisconn"
)

// field is where fault tests happen: a Redis that faults strike, another that keeps the ledger of runs, nodes, and a client.
type field struct {
	t      *testing.T
	redis  *celerytest.Redis
	ledger *celerytest.Redis
	python string
	app    string // directory of flow.py
	state  string // what nodes of one host share
	client *client.Client
	c      *redis.Client // of redis
	book   *redis.Client // of ledger
	nodes  int
	dead   map[string]bool    // nodes and processes that died, by name or number
	paused map[string][]lapse // nodes that were paused for too long
	forgot bool               // Redis may have forgotten what it had answered
}

func newField(t *testing.T, redisArgs ...string) *field {
	t.Helper()
	app, err := filepath.Abs(filepath.Join("testdata", "faults"))
	if err != nil {
		t.Fatal(err)
	}
	f := &field{t: t, python: celerytest.Venv(t, "celery-latest"), app: app, state: t.TempDir(), dead: map[string]bool{}, paused: map[string][]lapse{}}
	f.redis, f.ledger = celerytest.StartRedis(t, redisArgs...), celerytest.StartRedis(t)
	f.c, f.book = f.redis.Client(0), f.ledger.Client(0)
	target, err := redisconn.Parse(f.redis.URL(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	if f.client, err = client.New(client.Options{Broker: target}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.client.Close() })
	return f
}

func (f *field) env(url string) []string {
	return []string{
		"TEST_BROKER=" + url, "TEST_LEDGER=" + f.ledger.URL(0), "PYTHONPATH=" + f.app, "PYTHONDONTWRITEBYTECODE=1",
		"CELERY_BROKER_URL=", "CELERY_RESULT_BACKEND=", "REDIS_URL=", "PORT=",
	}
}

// node is a running agensium.
type node struct {
	*celerytest.Process
	name string
	f    *field
}

// plan is how a node differs from the others.
type plan struct {
	name  string       // default: a new one
	url   string       // of Redis, if through a proxy
	state string       // of another host, with locks of its own
	extra string       // lines of TOML at the end, in tables that are not used here
	slots int          // default 2
	lease string       // default 1m: nobody waits for its end
	hurry bool         // a drain puts back after a second what still runs
	admin int          // port
	dies  broker.Place // kills itself there, and is not waited for
}

// short is a lease for tests that wait for its end. A node that stands still for the most of it loses its claims: no other has it.
const short = "6s"

// start starts a node that looks for dead ones as often as the settings allow, and waits until it consumes.
func (f *field) start(p plan) *node {
	f.t.Helper()
	f.nodes++
	if p.name == "" {
		p.name = fmt.Sprintf("n%d@test", f.nodes)
	}
	if p.url == "" {
		p.url = f.redis.URL(0)
	}
	if p.state == "" {
		p.state = f.state
	}
	if p.slots == 0 {
		p.slots = 2
	}
	if p.lease == "" {
		p.lease = "1m"
	}
	drain := "timeout = '20s'"
	if p.hurry {
		drain = "timeout = '16s'\nmargin = '15s'"
	}
	listen := ""
	if p.admin > 0 {
		listen = fmt.Sprintf("127.0.0.1:%d", p.admin)
	}
	settings := fmt.Sprintf(`
node = %q
[broker]
url = %q
socket_timeout = "2s"
connect_timeout = "2s"
block_timeout = "20s"
[results]
url = %q
[lease]
ttl = %q
idle_ttl = %q
look_every = "1s"
look_every_with_peers = "1s"
quarantine = "1s"
[python]
app = "flow:app"
interpreter = %q
[pool]
concurrency = %d
[scaling]
min = %d
[drain]
%s
[admin]
listen = %q
%s`, p.name, p.url, p.url, p.lease, p.lease, f.python, p.slots, p.slots, drain, listen, p.extra)
	path := filepath.Join(f.t.TempDir(), fmt.Sprintf("node%d.toml", f.nodes))
	if err := os.WriteFile(path, []byte(settings), 0o600); err != nil {
		f.t.Fatal(err)
	}
	env := append(f.env(p.url), "STATE_DIRECTORY="+p.state, diesAt+"="+string(p.dies))
	n := &node{Process: celerytest.StartProcess(f.t, f.app, env, "agensium", "worker", "--config", path), name: p.name, f: f}
	if p.dies == "" {
		n.says(p.name + " ready.")
	}
	return n
}

// celery starts a stock worker.
func (f *field) celery(name string, env ...string) *celerytest.Process {
	f.t.Helper()
	p := celerytest.StartProcess(f.t, f.app, append(f.env(f.redis.URL(0)), env...), f.python, "-m", "celery", "-A", "flow", "worker",
		"-c", "2", "-l", "INFO", "-n", name, "--without-mingle", "--without-gossip", "--without-heartbeat")
	celerytest.Eventually(f.t, "the stock worker", func() bool { return strings.Contains(p.Output(), "ready.") })
	return p
}

func (n *node) says(what string) {
	n.f.t.Helper()
	celerytest.Eventually(n.f.t, fmt.Sprintf("%s to say %q", n.name, what), func() bool {
		ended := n.gone() // looked at first: then the output is complete
		if ended && !strings.Contains(n.Output(), what) {
			n.f.t.Fatalf("%s ended:\n%s", n.name, n.Output())
		}
		return ended || strings.Contains(n.Output(), what)
	})
}

// slay is kill -9 of the supervisor alone: its children have to follow by themselves.
func (n *node) slay() {
	n.f.t.Helper()
	n.f.dead[n.name] = true
	n.Signal(syscall.SIGKILL)
	<-n.Done()
}

// end drains a node and wants it to end well.
func (n *node) end() {
	n.f.t.Helper()
	if status := n.Terminate(); status != 0 {
		n.f.t.Errorf("%s ended with status %d", n.name, status)
	}
}

// send sends tasks at once and returns their ids.
func (f *field) send(n int, task string, args ...any) []string {
	f.t.Helper()
	return f.apply(n, func() *celery.Signature { return celery.S(task, args...) })
}

func (f *field) apply(n int, sig func() *celery.Signature) []string {
	f.t.Helper()
	b := f.client.Batch(f.bounded())
	ids := make([]string, n)
	for i := range ids {
		r, err := b.Apply(sig())
		if err != nil {
			f.t.Fatal(err)
		}
		ids[i] = r.ID()
	}
	if err := b.Flush(); err != nil {
		f.t.Fatal(err)
	}
	return ids
}

func (f *field) bounded() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), celerytest.Backstop)
	f.t.Cleanup(cancel)
	return ctx
}

// execution is a line of the ledger.
type execution struct {
	line int
	pid  int
	node string
	prev int // line of the run before in the same process; -1: none
	next int // and of the one after it
}

// lapse is a pause: the length of the ledger when it began, and when the node had found its lease gone.
type lapse struct{ from, to int }

// cause tells whether something struck the execution, so that the task may run again. A process that has begun its next task was done
// with the one before.
func (f *field) cause(e execution) bool {
	return f.forgot || (f.dead[e.node] || f.dead[strconv.Itoa(e.pid)]) && e.next < 0 || f.lapsed(e)
}

// lapsed tells whether the execution was under way when its node was paused, or in hand and begun before the node heard that its claim was gone.
func (f *field) lapsed(e execution) bool {
	return slices.ContainsFunc(f.paused[e.node], func(l lapse) bool {
		return e.line < l.from && (e.next < 0 || e.next >= l.from) || e.prev < l.from && e.line >= l.from && e.line < l.to
	})
}

// runs reads the ledger: how often each task was begun, where.
func (f *field) runs() map[string][]execution {
	f.t.Helper()
	lines, err := f.book.LRange(context.Background(), "runs", 0, -1).Result()
	if err != nil {
		f.t.Fatal(err)
	}
	all, ids, last := make([]execution, len(lines)), make([]string, len(lines)), map[string]int{}
	for i, line := range lines {
		id, process, _ := strings.Cut(line, " ")
		pid, node, _ := strings.Cut(process, " ")
		number, _ := strconv.Atoi(pid)
		prev, found := last[process]
		if found {
			all[prev].next = i
		} else {
			prev = -1
		}
		all[i], ids[i], last[process] = execution{line: i, pid: number, node: node, prev: prev, next: -1}, id, i
	}
	runs := map[string][]execution{}
	for i, e := range all {
		runs[ids[i]] = append(runs[ids[i]], e)
	}
	return runs
}

// begun waits until n runs have begun in all.
func (f *field) begun(n int) {
	f.t.Helper()
	celerytest.Eventually(f.t, fmt.Sprintf("%d runs", n), func() bool {
		k, _ := f.book.LLen(context.Background(), "runs").Result()
		return k >= int64(n)
	})
}

// open lets held tasks end.
func (f *field) open(gate string) {
	f.t.Helper()
	if err := f.book.Set(context.Background(), gate, 1, 0).Err(); err != nil {
		f.t.Fatal(err)
	}
}

// results waits until each task has a result of that state.
func (f *field) results(ids []string, state string) {
	f.t.Helper()
	left := slices.Clone(ids)
	done := func() bool {
		left = slices.DeleteFunc(left, func(id string) bool { return f.stateOf(id) == state })
		return len(left) == 0
	}
	deadline := time.NewTimer(4 * celerytest.Backstop)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			f.t.Fatalf("%d of %d tasks have no result %s, the first is %s (%q); places: %v", len(left), len(ids), state, left[0], f.stateOf(left[0]), f.places())
		}
	}
}

func (f *field) stateOf(id string) string {
	doc, err := f.c.Get(context.Background(), "celery-task-meta-"+id).Result()
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(doc, `"status": "`)
	state, _, _ := strings.Cut(rest, `"`)
	return state
}

// places counts what lies where a task may be: queues, claims, unacked, parked, dead letters.
func (f *field) places() map[string]int64 {
	ctx := context.Background()
	found := map[string]int64{}
	note := func(place string, n int64) {
		if n > 0 {
			found[place] = n
		}
	}
	all := f.c.TxPipeline() // at once: what goes from one place to the other is seen at one of them
	queue, unacked, parked := all.LLen(ctx, "celery"), all.HLen(ctx, "unacked"), all.ZCard(ctx, "agensium:parked")
	dead, claims := all.HLen(ctx, "agensium:dead"), all.Keys(ctx, "agensium:claim:*")
	_, _ = all.Exec(ctx) // Redis may be away
	note("queue", queue.Val())
	note("unacked", unacked.Val())
	note("parked", parked.Val())
	note("dead", dead.Val())
	note("claims", int64(len(claims.Val())))
	return found
}

// onDisk waits until Redis has written down all that it has answered: with everysec it waits with that if the disk is slow.
func (f *field) onDisk() {
	f.t.Helper()
	celerytest.Eventually(f.t, "the log of Redis to be written", func() bool {
		return strings.Contains(f.c.Info(context.Background(), "persistence").Val(), "aof_buffer_length:0\r")
	})
}

// settled waits until nothing lies anywhere but in the dead letters.
func (f *field) settled(dead int64) {
	f.t.Helper()
	want := map[string]int64{}
	if dead > 0 {
		want["dead"] = dead
	}
	defer func() {
		if now := f.places(); !maps.Equal(now, want) {
			f.t.Errorf("messages lie in %v, want %v; claims %q", now, want, f.c.Keys(context.Background(), "agensium:claim:*").Val())
		}
	}()
	celerytest.Eventually(f.t, "all messages to be settled", func() bool { return maps.Equal(f.places(), want) })
}

// balance checks the ledger: each task ran, and something struck each run before the one that counts. After that one only a node runs it
// that was paused meanwhile. It returns how many ran again.
func (f *field) balance(ids []string) (again int) {
	f.t.Helper()
	runs := f.runs()
	for _, id := range ids {
		all := runs[id]
		if len(all) == 0 {
			f.t.Errorf("%s never ran", id)
			continue
		}
		again += len(all) - 1
		sound := slices.IndexFunc(all, func(e execution) bool { return !f.cause(e) })
		if sound < 0 {
			continue
		}
		for _, e := range all[sound+1:] {
			if !f.lapsed(e) {
				f.t.Errorf("%s ran %d times, without a cause: %+v", id, len(all), all)
				break
			}
		}
	}
	return again
}

// letters are the dead letters.
func (f *field) letters() []broker.DeadLetter {
	f.t.Helper()
	target, err := redisconn.Parse(f.redis.URL(0), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	dead := broker.OpenDeadLetters(target, "")
	defer dead.Close()
	all, err := dead.List(context.Background(), broker.DeadFilter{})
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

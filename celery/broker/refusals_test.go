package broker

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/redisconn"
)

// lines is a log to look at.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// with returns the lines that hold all of the words.
func (l *lines) with(words ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.buf.String()) {
		for _, w := range words {
			if !strings.Contains(line, w) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// patient is a Redis with a user for the broker, reached through a proxy.
type patient struct {
	t *testing.T
	r *celerytest.Redis
	p *celerytest.Proxy
	c *redis.Client
}

func (p *patient) do(args ...any) {
	p.t.Helper()
	if err := p.c.Do(bounded(p.t), args...).Err(); err != nil {
		p.t.Fatalf("%v: %v", args, err)
	}
}

// answers waits until Redis refuses to read.
func (p *patient) answers(refusal string) {
	p.t.Helper()
	celerytest.Eventually(p.t, refusal, func() bool { return redisconn.Classify(p.c.Get(bounded(p.t), "k").Err()).Name == refusal })
}

// TestEachRefusalOfRedisIsAState makes a Redis refuse while a task runs and a slot waits. The broker says once which state that is and what
// to do, loses nothing, and goes on when it is over.
func TestEachRefusalOfRedisIsAState(t *testing.T) {
	for name, tc := range map[string]struct {
		args    []string
		refuses func(*patient)
		cured   func(*patient)
		want    string
	}{
		"LOADING": {
			args: []string{"--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024"},
			refuses: func(p *patient) {
				p.do("DEBUG", "POPULATE", 20_000, "ballast", 100)
				p.do("CONFIG", "SET", "key-load-delay", 5000)
				reload := p.r.Client(0)
				gone := make(chan struct{})
				go func() { defer close(gone); _ = reload.Do(context.Background(), "DEBUG", "RELOAD").Err() }()
				p.t.Cleanup(func() { _ = reload.Close(); <-gone })
				p.answers(redisconn.Loading)
			},
			cured: func(p *patient) { p.do("CONFIG", "SET", "key-load-delay", 0) },
			want:  redisconn.Loading,
		},
		"READONLY": {
			refuses: func(p *patient) { p.do("REPLICAOF", "127.0.0.1", "1") },
			cured:   func(p *patient) { p.do("REPLICAOF", "NO", "ONE") },
			want:    redisconn.ReadOnly,
		},
		"OOM": {
			refuses: func(p *patient) { p.do("CONFIG", "SET", "maxmemory", 1) },
			cured:   func(p *patient) { p.do("CONFIG", "SET", "maxmemory", 0) },
			want:    redisconn.OutOfMemory,
		},
		"MISCONF": {
			args: []string{"--save", "3600 1"},
			refuses: func(p *patient) {
				if err := os.RemoveAll(p.r.Dir); err != nil {
					p.t.Fatal(err)
				}
				_ = p.c.BgSave(bounded(p.t)).Err()
				celerytest.Eventually(p.t, "the snapshot to fail", func() bool { return p.c.Set(bounded(p.t), "k", "v", 0).Err() != nil })
			},
			cured: func(p *patient) { p.do("CONFIG", "SET", "stop-writes-on-bgsave-error", "no") },
			want:  redisconn.Misconf,
		},
		"NOAUTH": {
			refuses: func(p *patient) {
				p.do("CONFIG", "SET", "requirepass", "p")
				p.p.CutAll()
			},
			cured: func(p *patient) { p.do("CONFIG", "SET", "requirepass", "") },
			want:  redisconn.Auth,
		},
		"WRONGPASS": {
			refuses: func(p *patient) {
				p.do("ACL", "SETUSER", "worker", "resetpass", ">another")
				p.p.CutAll()
			},
			cured: func(p *patient) { p.do("ACL", "SETUSER", "worker", ">p") },
			want:  redisconn.Auth,
		},
		"NOPERM": {
			refuses: func(p *patient) { p.do("ACL", "SETUSER", "worker", "-@write") },
			cured:   func(p *patient) { p.do("ACL", "SETUSER", "worker", "+@write") },
			want:    redisconn.NoPerm,
		},
		"max number of clients": {
			refuses: func(p *patient) {
				p.do("CONFIG", "SET", "maxclients", 1)
				p.p.CutAll()
			},
			cured: func(p *patient) { p.do("CONFIG", "SET", "maxclients", 100) },
			want:  redisconn.MaxClients,
		},
		"max requests limit exceeded": { // only a provider says this
			refuses: func(p *patient) {
				p.p.Answer("-ERR max requests limit exceeded. Limit: 500000, Usage: 500001. See https://example.com for details")
			},
			cured: func(p *patient) { p.p.Answer("") },
			want:  redisconn.Quota,
		},
		"BUSY": {
			args: []string{"--busy-reply-threshold", "1"},
			refuses: func(p *patient) {
				long := p.r.Client(0)
				ended := make(chan struct{})
				go func() { defer close(ended); _ = long.Eval(context.Background(), "while true do end", nil).Err() }()
				p.t.Cleanup(func() { <-ended })
				p.answers(redisconn.Busy)
			},
			cured: func(p *patient) {
				p.do("SCRIPT", "KILL")
				celerytest.Eventually(p.t, "its end", func() bool { return redisconn.Classify(p.c.Get(bounded(p.t), "k").Err()).Name == "" })
			},
			want: redisconn.Busy,
		},
	} {
		prepare := func(t *testing.T) (*patient, *Broker, *lines) {
			p := &patient{t: t, r: celerytest.StartRedis(t, tc.args...)}
			p.c, p.p = p.r.Client(0), celerytest.StartProxy(t, p.r.Addr())
			p.do("ACL", "SETUSER", "worker", "on", ">p", "~*", "&*", "+@all")
			url := p.p.URL(0)
			if name == "WRONGPASS" || name == "NOPERM" {
				url = "redis://worker:p@" + p.p.Addr + "/0"
			}
			log := new(lines)
			return p, start(t, url, func(o *Options) {
				o.Log = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: log})
			}), log
		}
		waits := func(t *testing.T, b *Broker) <-chan *celery.Delivery {
			came := make(chan *celery.Delivery, 1)
			go func() { d, _ := b.Next(bounded(t), nil); came <- d }()
			celerytest.Eventually(t, "a slot that waits", func() bool { return b.Status().Blocked == 4 })
			return came
		}
		// is waits for the state and for a few attempts in it.
		is := func(t *testing.T, b *Broker, log *lines) {
			t.Helper()
			celerytest.Eventually(t, "the state", func() bool { c := b.Status().Condition; return c != nil && c.Name == tc.want })
			celerytest.Eventually(t, "its line", func() bool { return len(log.with("broker is not usable", "reason="+tc.want)) > 0 })
			tries := func() (n uint64) {
				s := b.Status()
				for _, k := range s.Commands {
					n += k
				}
				return n + s.Dialed
			}
			before := tries()
			celerytest.Eventually(t, "further attempts", func() bool { return tries() > before+10 })
		}
		// ends delivers a message to the slot that waited, and looks at what was said.
		ends := func(t *testing.T, p *patient, b *Broker, came <-chan *celery.Delivery, log *lines) {
			t.Helper()
			push(t, p.c, "celery", "next")
			d := <-came
			if d == nil || idOf(d.Raw) != "next" {
				t.Fatalf("the slot that waited got %v", d)
			}
			if err := b.Settle(bounded(t), *acked(d)); err != nil {
				t.Fatal(err)
			}
			celerytest.Eventually(t, "the end of the state", func() bool { return b.Status().Condition == nil })
			if said := log.with("broker is not usable", "reason="+tc.want); len(said) != 1 || !strings.Contains(said[0], "hint=") || !strings.Contains(said[0], "retry in") {
				t.Errorf("said: %q", log.with())
			}
			if said := log.with("broker is usable again"); len(said) == 0 || len(said) > 2 {
				t.Errorf("of its end was said: %q", said)
			}
			closeBroker(t, b)
			if left := claimKeys(t, p.c); len(left) != 0 {
				t.Errorf("left: %q", left)
			}
		}
		t.Run(name+" while a task ends", func(t *testing.T) {
			t.Parallel()
			p, b, log := prepare(t)
			push(t, p.c, "celery", "running")
			d := next(t, b, nil)
			came := waits(t, b)
			tc.refuses(p)
			settled := make(chan error, 1)
			go func() { settled <- b.Settle(bounded(t), *acked(d)) }()
			is(t, b, log)
			if len(settled) != 0 {
				t.Fatal("the task was settled all the same")
			}
			tc.cured(p)
			if err := <-settled; err != nil {
				t.Fatal(err)
			}
			ends(t, p, b, came, log)
			if n := p.c.Exists(bounded(t), "celery-task-meta-running", "celery-task-meta-next").Val(); n != 2 {
				t.Errorf("%d of 2 results", n)
			}
		})
		t.Run(name+" while nothing happens", func(t *testing.T) {
			t.Parallel()
			p, b, log := prepare(t)
			came := waits(t, b)
			tc.refuses(p)
			p.p.CutAll() // else it hears of it only with the next message
			is(t, b, log)
			tc.cured(p)
			ends(t, p, b, came, log)
		})
	}
}

func TestPausesGrowToABound(t *testing.T) {
	var b backoff
	full := 50 * time.Millisecond
	for range 20 {
		if d := b.next(); d < full/2 || d >= full {
			t.Errorf("%s, want %s to %s", d, full/2, full)
		}
		full = min(2*full, longestPause)
	}
	b.reset()
	if d := b.next(); d >= 50*time.Millisecond {
		t.Errorf("%s after a success", d)
	}
}

// A user may be allowed to claim and not to wake: then the engine gets on, and the loop that does not says so.
func TestALoopThatIsRefusedSaysSo(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	allow := func(rule string) {
		t.Helper()
		if err := c.Do(bounded(t), "ACL", "SETUSER", "worker", "on", ">p", "~*", "&*", "+@all", rule).Err(); err != nil {
			t.Fatal(err)
		}
	}
	allow("-hmget")
	var log lines
	b := start(t, "redis://worker:p@"+r.Addr()+"/0", func(o *Options) { o.Log = hclog.New(&hclog.LoggerOptions{Level: hclog.Info, Output: &log}) })
	push(t, c, "celery", "a")
	park(t, b, time.Now().Add(10*time.Millisecond), nil)
	celerytest.Eventually(t, "the line", func() bool { return len(log.with("[WARN]", "wake parked tasks", "reason=noperm", "hint=")) > 0 })
	allow("+hmget")
	if d := next(t, b, nil); idOf(d.Raw) != "a" {
		t.Errorf("got %s", idOf(d.Raw))
	}
	if said := log.with("wake parked tasks"); len(said) != 1 {
		t.Errorf("said: %q", said)
	}
}

package celerytest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func through(t *testing.T, p *Proxy) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: p.Addr, Protocol: 2, PoolSize: 1, MaxRetries: -1, DisableIdentity: true, PipelinePoolSize: -1, ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRedisKeepsItsDataOverARestartAndLosesItWhenKilled(t *testing.T) {
	r := StartRedis(t, "--save", "3600 1")
	c := r.Client(0)
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	r.Restart()
	if v := r.Client(0).Get(t.Context(), "k").Val(); v != "v" {
		t.Fatalf("after restart: %q", v)
	}
	r.Client(0).Set(t.Context(), "k", "lost", 0)
	r.Kill()
	r.Start()
	if v := r.Client(0).Get(t.Context(), "k").Val(); v != "v" {
		t.Fatalf("after kill: %q", v)
	}
}

func TestPausedRedisAnswersOnceResumed(t *testing.T) {
	r := StartRedis(t)
	c := r.Client(0)
	r.Pause()
	got := make(chan error, 1)
	go func() { got <- c.Ping(context.Background()).Err() }()
	select {
	case err := <-got:
		t.Fatalf("a paused server answered: %v", err)
	default:
	}
	r.Resume()
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestMonitorRecordsArgumentsByteForByte(t *testing.T) {
	r := StartRedis(t)
	m := r.Monitor()
	key := "celery\x06\x163 \"q\" \\ \xff"
	r.Client(2).LPush(t.Context(), key, "a", "")
	r.Client(0).Eval(t.Context(), "return redis.call('get', KEYS[1])", []string{"x"})
	cmds := m.Commands()
	if len(cmds) != 3 || cmds[0].DB != 2 || fmt.Sprint(cmds[0].Args) != fmt.Sprint([]string{"lpush", key, "a", ""}) {
		t.Fatalf("%+v", cmds)
	}
	if counts := m.Counts(); counts["LPUSH"] != 1 || counts["EVAL"] != 1 || counts["GET"] != 0 {
		t.Fatal(counts)
	}
	m.Reset()
	if cmds := m.Commands(); len(cmds) != 0 {
		t.Fatalf("%+v", cmds)
	}
}

// Each cut is tried in a pipeline of three INCRs: which of them the server has done and the client knows of is exact.
func TestProxyCutsAtACommand(t *testing.T) {
	r := StartRedis(t)
	for n := 1; n <= 3; n++ {
		for when, want := range map[When]struct{ done, known int }{
			BeforeRequest: {n - 1, n - 1},
			BeforeReply:   {n, n - 1},
			AfterReply:    {n, n},
		} {
			t.Run(fmt.Sprintf("%s %d", when, n), func(t *testing.T) {
				p := StartProxy(t, r.Addr())
				c := through(t, p)
				r.Client(0).FlushAll(t.Context())
				cut := p.CutAt(n, when)
				var cmds []*redis.IntCmd
				_, _ = c.Pipelined(t.Context(), func(pipe redis.Pipeliner) error {
					for range 3 {
						cmds = append(cmds, pipe.Incr(t.Context(), "n"))
					}
					return nil
				})
				<-cut
				known := 0
				for _, cmd := range cmds {
					if cmd.Val() > 0 { // go-redis sets the error of the cut in all commands, also in those answered before
						known++
					}
				}
				if known != want.known {
					t.Errorf("the client knows of %d, want %d", known, want.known)
				}
				if done, _ := r.Client(0).Get(t.Context(), "n").Int(); done != want.done {
					t.Errorf("the server has done %d, want %d", done, want.done)
				}
				if err := c.Ping(t.Context()).Err(); err != nil {
					t.Errorf("the next connection: %v", err)
				}
			})
		}
	}
}

func TestProxyFaults(t *testing.T) {
	r := StartRedis(t)
	p := StartProxy(t, r.Addr())
	c := through(t, p)
	ping := func(d time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		return c.Ping(ctx).Err()
	}
	if err := ping(Backstop); err != nil || p.Connections() != 1 {
		t.Fatal(err, p.Connections())
	}
	p.CutAll()
	if err := ping(Backstop); err == nil {
		// go-redis may have seen the end before it wrote: then it dialed anew.
		t.Log("the end was seen before the command was sent")
	}
	p.BlackHole(true)
	if err := ping(50 * time.Millisecond); err == nil {
		t.Fatal("an answer out of a black hole")
	}
	p.BlackHole(false)
	if err := ping(Backstop); err != nil {
		t.Fatal(err)
	}
	p.Refuse(true)
	p.CutAll()
	Eventually(t, "the end of connections", func() bool { return p.Connections() == 0 })
	if err := ping(Backstop); err == nil {
		t.Fatal("a refused connection was served")
	}
}

// A client may give up the connection before the replies are there that come before the cut.
func TestACutThatTheClientDoesNotWaitForHasHappened(t *testing.T) {
	r := StartRedis(t)
	p := StartProxy(t, r.Addr())
	c := through(t, p)
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	r.Pause()
	cut := p.CutAt(2, BeforeRequest)
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		_, _ = c.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			pipe.Incr(ctx, "n")
			pipe.Incr(ctx, "n")
			return nil
		})
	}()
	Eventually(t, "both commands", func() bool { return len(p.Requests()) == 2 })
	p.CutAll()
	cancel()
	<-asked
	<-cut
	r.Resume()
	if done, err := r.Client(0).Get(t.Context(), "n").Int(); done > 1 {
		t.Errorf("the server has done %d, %v", done, err)
	}
}

func TestSentinelKnowsItsMaster(t *testing.T) {
	r := StartRedis(t)
	s := StartSentinel(t, r, "mymaster")
	c := redis.NewSentinelClient(&redis.Options{Addr: s.Addr(), Protocol: 2, DisableIdentity: true, PipelinePoolSize: -1})
	defer c.Close()
	at, err := c.GetMasterAddrByName(t.Context(), "mymaster").Result()
	if err != nil || strings.Join(at, ":") != r.Addr() {
		t.Fatal(at, err)
	}
}

func TestPythonOfEachVenvHasItsCelery(t *testing.T) {
	for name, version := range map[string]string{"celery-latest": "5.", "celery-5.5": "5.5.", "celery-5.2": "5.2."} {
		t.Run(name, func(t *testing.T) {
			got := RunPython(t, Venv(t, name), "import celery, os; print(celery.__version__, os.environ['X'])", "X=y")
			if !strings.HasPrefix(got, version) || !strings.HasSuffix(got, " y\n") {
				t.Fatal(got)
			}
		})
	}
}

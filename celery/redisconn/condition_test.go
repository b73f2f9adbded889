package redisconn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/redis/go-redis/v9"
)

// client of a URL, closed with the test.
func client(t *testing.T, url string, transport map[string]any) *redis.Client {
	t.Helper()
	target, err := Parse(url, transport)
	if err != nil {
		t.Fatal(err)
	}
	c := target.Client(ClientOptions{DialTimeout: celerytest.Backstop, ReadTimeout: celerytest.Backstop})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func expect(t *testing.T, err error, name, hint string) {
	t.Helper()
	if got := Classify(err); got.Name != name || !strings.Contains(got.Hint, hint) {
		t.Errorf("%v: got %+v; want %s with %q in the hint", err, got, name, hint)
	}
}

func TestRealRefusals(t *testing.T) {
	ctx := t.Context()
	t.Run("no password", func(t *testing.T) {
		r := celerytest.StartRedis(t, "--requirepass", "p")
		expect(t, client(t, r.URL(0), nil).Ping(ctx).Err(), Auth, "wants a password")
		expect(t, client(t, "redis://:wrong@"+r.Addr(), nil).Ping(ctx).Err(), Auth, "wrong")
		expect(t, client(t, "redis://who:p@"+r.Addr(), nil).Ping(ctx).Err(), Auth, "wrong")
		expect(t, client(t, "redis://:p@"+r.Addr()+"/3", nil).Ping(ctx).Err(), "", "")
	})
	t.Run("password not wanted", func(t *testing.T) {
		r := celerytest.StartRedis(t)
		expect(t, client(t, "redis://:p@"+r.Addr(), nil).Ping(ctx).Err(), "", "") // the default user takes any
		expect(t, client(t, "redis://u:p@"+r.Addr(), nil).Ping(ctx).Err(), Auth, "wrong")
	})
	t.Run("ACL", func(t *testing.T) {
		r := celerytest.StartRedis(t)
		if err := r.Client(0).Do(ctx, "ACL", "SETUSER", "worker", "on", ">p", "~celery*", "+@all", "-@dangerous").Err(); err != nil {
			t.Fatal(err)
		}
		c := client(t, "redis://worker:p@"+r.Addr(), nil)
		expect(t, c.LPush(ctx, "celery", "x").Err(), "", "")
		expect(t, c.LPush(ctx, "other", "x").Err(), NoPerm, "ACL SETUSER")
		expect(t, c.FlushAll(ctx).Err(), NoPerm, "ACL SETUSER")
		expect(t, c.Eval(ctx, "return redis.call('FLUSHALL')", nil).Err(), NoPerm, "ACL SETUSER")
		expect(t, c.Eval(ctx, "return redis.call('LPUSH', 'other', 'x')", nil).Err(), NoPerm, "ACL SETUSER")
		if err := r.Client(0).Do(ctx, "ACL", "SETUSER", "worker", "-exec").Err(); err != nil {
			t.Fatal(err)
		}
		_, err := c.TxPipelined(ctx, func(p redis.Pipeliner) error { return p.Get(ctx, "celery").Err() })
		expect(t, err, NoPerm, "ACL SETUSER")
	})
	t.Run("database", func(t *testing.T) {
		r := celerytest.StartRedis(t, "--databases", "2")
		expect(t, client(t, r.URL(7), nil).Ping(ctx).Err(), WrongDB, "database")
	})
	t.Run("maxclients", func(t *testing.T) {
		r := celerytest.StartRedis(t, "--maxclients", "1")
		// The connection that has asked whether the server is ready may not be gone yet.
		first := client(t, r.URL(0), nil)
		celerytest.Eventually(t, "the only connection", func() bool { return first.Ping(ctx).Err() == nil })
		err := client(t, r.URL(0), nil).Ping(ctx).Err()
		expect(t, err, MaxClients, "maxclients")
		var refused *RefusedError
		if !errors.As(err, &refused) {
			t.Errorf("the server's words are lost: %v", err)
		}
	})
	t.Run("replica", func(t *testing.T) {
		r := celerytest.StartRedis(t, "--replicaof", "127.0.0.1 1")
		expect(t, client(t, r.URL(0), nil).Set(ctx, "k", "v", 0).Err(), ReadOnly, "primary")
	})
	t.Run("lost primary", func(t *testing.T) {
		r := celerytest.StartRedis(t, "--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no")
		expect(t, client(t, r.URL(0), nil).Get(ctx, "k").Err(), ReadOnly, "lost its primary")
	})
	t.Run("maxmemory", func(t *testing.T) {
		r := celerytest.StartRedis(t, "--maxmemory", "1")
		expect(t, client(t, r.URL(0), nil).Set(ctx, "k", "v", 0).Err(), OutOfMemory, "noeviction")
	})
	t.Run("too few replicas", func(t *testing.T) {
		r := celerytest.StartRedis(t, "--min-replicas-to-write", "1")
		expect(t, client(t, r.URL(0), nil).Set(ctx, "k", "v", 0).Err(), Misconf, "replicas")
	})
	t.Run("cannot save", func(t *testing.T) {
		r := celerytest.StartRedis(t, "--save", "3600 1", "--rdbcompression", "no")
		c := client(t, r.URL(0), nil)
		if err := os.RemoveAll(r.Dir); err != nil {
			t.Fatal(err)
		}
		_ = c.Set(ctx, "k", "v", 0).Err()
		_ = c.BgSave(ctx).Err()
		celerytest.Eventually(t, "the snapshot to fail", func() bool { return c.Set(ctx, "k", "v", 0).Err() != nil })
		expect(t, c.Set(ctx, "k", "v", 0).Err(), Misconf, "disk")
	})
	t.Run("busy", func(t *testing.T) {
		r := celerytest.StartRedis(t, "--busy-reply-threshold", "1")
		blocked := client(t, r.URL(0), nil)
		done := make(chan error, 1)
		go func() { done <- blocked.Eval(context.Background(), "while true do end", nil).Err() }()
		c := client(t, r.URL(0), nil)
		var err error
		celerytest.Eventually(t, "BUSY", func() bool { err = c.Get(ctx, "k").Err(); return err != nil && err != redis.Nil })
		expect(t, err, Busy, "script")
		if err := c.ScriptKill(ctx).Err(); err != nil {
			t.Error(err)
		}
		<-done
	})
	t.Run("cluster mode", func(t *testing.T) {
		r := celerytest.StartRedis(t, "--cluster-enabled", "yes")
		c := client(t, r.URL(0), nil)
		expect(t, c.Set(ctx, "k", "v", 0).Err(), Cluster, "cluster")
		expect(t, client(t, r.URL(1), nil).Ping(ctx).Err(), Cluster, "cluster")
		slots := []any{"CLUSTER", "ADDSLOTSRANGE", 0, 16383}
		if err := c.Do(ctx, slots...).Err(); err != nil {
			t.Fatal(err)
		}
		celerytest.Eventually(t, "the cluster", func() bool { return c.Get(ctx, "k").Err() == redis.Nil })
		expect(t, c.LMove(ctx, "a", "b", "right", "left").Err(), Cluster, "several keys")
	})
	t.Run("gone", func(t *testing.T) {
		r := celerytest.StartRedis(t)
		c := client(t, r.URL(0), nil)
		if err := c.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		r.Kill()
		expect(t, c.Ping(ctx).Err(), Unreachable, "")
		expect(t, c.Ping(ctx).Err(), Unreachable, "Nothing listens")
		expect(t, client(t, "unix://"+r.Dir+"/none", nil).Ping(ctx).Err(), Unreachable, "no socket")
	})
	t.Run("paused", func(t *testing.T) {
		r := celerytest.StartRedis(t)
		r.Pause()
		defer r.Resume()
		target, err := Parse(r.URL(0), nil)
		if err != nil {
			t.Fatal(err)
		}
		c := target.Client(ClientOptions{ReadTimeout: 50 * time.Millisecond})
		defer c.Close()
		expect(t, c.Ping(ctx).Err(), Unreachable, "in time")
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		expect(t, client(t, r.URL(0), nil).Ping(short).Err(), Unreachable, "in time")
	})
	t.Run("unknown host", func(t *testing.T) {
		expect(t, client(t, "redis://no-such-host.invalid", nil).Ping(ctx).Err(), Unreachable, "name of the host")
	})
	t.Run("answers", func(t *testing.T) {
		r := celerytest.StartRedis(t)
		c := client(t, r.URL(0), nil)
		expect(t, c.Get(ctx, "none").Err(), "", "")
		expect(t, c.Do(ctx, "NONSENSE").Err(), Other, "6.2")
	})
}

// fake is a server that answers each command with what the script says, and closes the connection where it says "".
func fake(t *testing.T, answer func(command string) string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					command, err := readCommand(in)
					if err != nil {
						return
					}
					reply := answer(command)
					if _, err := io.WriteString(conn, reply); err != nil || reply == "" {
						return
					}
				}
			}()
		}
	}()
	return "redis://" + l.Addr().String()
}

// readCommand reads a command and returns its first word.
func readCommand(in *bufio.Reader) (string, error) {
	var n int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return "", err
	}
	first := ""
	for i := range n {
		var size int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return "", err
		}
		arg := make([]byte, size+2)
		if _, err := io.ReadFull(in, arg); err != nil {
			return "", err
		}
		if i == 0 {
			first = strings.ToUpper(string(arg[:size]))
		}
	}
	return first, nil
}

// A server with an error in store for every command: HELLO is refused in the same way, as old servers and proxies do.
func TestScriptedRefusals(t *testing.T) {
	for reply, want := range map[string]struct{ name, hint string }{
		"-ERR max requests limit exceeded. Limit: 500000, Usage: 500000.":                                    {Quota, "quota"},
		"-ERR max daily request limit exceeded. Limit: 10000, Usage: 10000.":                                 {Quota, "quota"},
		"-ERR DB capacity quota exceeded":                                                                    {Quota, "quota"},
		"-ERR max concurrent connections exceeded":                                                           {MaxClients, "connections"},
		"-LOADING Redis is loading the dataset in memory":                                                    {Loading, "loading"},
		"-MOVED 3999 127.0.0.1:6381":                                                                         {Cluster, "cluster"},
		"-ASK 3999 127.0.0.1:6381":                                                                           {Cluster, "cluster"},
		"-CROSSSLOT Keys in request don't hash to the same slot":                                             {Cluster, "cluster"},
		"-CLUSTERDOWN Hash slot not served":                                                                  {Cluster, "cluster"},
		"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.":  {Misconf, "disk"},
		"-ERR Client sent AUTH, but no password is set":                                                      {Auth, "none"},
		"-ERR Only 0th database is supported! Selected DB: 1.":                                               {WrongDB, "/0"},
		"-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)":      {ReadOnly, "failover"},
		"-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AU": {Auth, "password"},
		"-ERR ACL failure in script: No permissions to access a key script: 8159, on @user_script:1.":        {NoPerm, "ACL SETUSER"},
		"-ERR something else": {Other, "all that is known"},
		"HTTP/1.1 400 Bad":    {NotRedis, "not Redis"},
	} {
		t.Run(reply, func(t *testing.T) {
			url := fake(t, func(string) string { return reply + "\r\n" })
			expect(t, client(t, url, nil).Ping(t.Context()).Err(), want.name, want.hint)
		})
	}
}

func TestHelloRefused(t *testing.T) {
	url := fake(t, func(command string) string {
		if command == "HELLO" {
			return "-ERR unknown command 'HELLO'\r\n"
		}
		return "+OK\r\n"
	})
	for _, login := range []string{"", ":p@", "u:p@"} {
		c := client(t, strings.Replace(url, "//", "//"+login, 1)+"/1", nil)
		expect(t, c.Set(t.Context(), "k", "v", 0).Err(), "", "")
	}
}

func TestServerThatHangsUp(t *testing.T) {
	t.Run("after an error", func(t *testing.T) {
		said := false
		url := fake(t, func(string) string {
			if said {
				return ""
			}
			said = true
			return "-DENIED Redis is running in protected mode\r\n"
		})
		expect(t, client(t, url, nil).Ping(t.Context()).Err(), Auth, "protected mode")
	})
	t.Run("without a word", func(t *testing.T) {
		url := fake(t, func(string) string { return "" })
		expect(t, client(t, url, nil).Ping(t.Context()).Err(), Unreachable, "rediss://")
	})
	t.Run("in TLS", func(t *testing.T) {
		url := fake(t, func(string) string { return "\x15\x03\x01\x00\x02\x02\x46" })
		expect(t, client(t, url, nil).Ping(t.Context()).Err(), TLS, "rediss://")
	})
}

func TestClassifyLooksThroughWrapping(t *testing.T) {
	for name, err := range map[string]error{
		Unreachable: &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)},
		Other:       context.Canceled,
		TLS:         &HandshakeError{Addr: "h", Err: io.EOF},
		Quota:       &RefusedError{Reply: "ERR max requests limit exceeded", Err: io.EOF},
		"":          redis.Nil,
	} {
		if got := Classify(fmt.Errorf("claim: %w", errors.Join(errors.New("x"), err))); got.Name != name {
			t.Errorf("%v: got %+v", err, got)
		}
	}
}

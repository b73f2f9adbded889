package redisconn

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/redis/go-redis/v9"
)

func TestHandshakeIsShort(t *testing.T) {
	r := celerytest.StartRedis(t)
	m := r.Monitor()
	target, err := Parse(r.URL(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := target.Client(ClientOptions{Name: "agensium:test", PoolSize: 1})
	defer c.Close()
	for range 3 {
		if _, err := c.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Incr(t.Context(), "n")
			p.Incr(t.Context(), "n")
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if counts := m.Counts(); len(counts) != 1 || counts["INCR"] != 6 {
		t.Errorf("commands: %v", counts)
	}
	list := r.Client(0).ClientList(t.Context()).Val()
	if strings.Count(list, "name=agensium:test") != 1 || !strings.Contains(list, "db=2") || !strings.Contains(list, "resp=2") {
		t.Errorf("connections:\n%s", list)
	}
}

func TestClosingTheConnectionEndsABlockingCommand(t *testing.T) {
	r := celerytest.StartRedis(t)
	target, err := Parse(r.URL(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	var conn atomic.Value
	c := target.Client(ClientOptions{PoolSize: 1, OnDial: func(n net.Conn) { conn.Store(n) }})
	defer c.Close()
	done := make(chan error, 1)
	go func() { done <- c.BLMove(context.Background(), "a", "b", "RIGHT", "LEFT", celerytest.Backstop).Err() }()
	look := r.Client(0)
	celerytest.Eventually(t, "BLMOVE to block", func() bool {
		return strings.Contains(look.Info(t.Context(), "clients").Val(), "blocked_clients:1")
	})
	_ = conn.Load().(net.Conn).Close()
	expect(t, <-done, Unreachable, "closed")
	celerytest.Eventually(t, "the server to notice", func() bool {
		return strings.Contains(look.Info(t.Context(), "clients").Val(), "blocked_clients:0")
	})
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the next command: %v", err)
	}
}

// An idle connection that the server has closed is replaced before it is used, so that no command is lost to it.
func TestConnectionThatTheServerClosedIsNotUsed(t *testing.T) {
	r := celerytest.StartRedis(t)
	p := celerytest.StartProxy(t, r.Addr())
	c := client(t, p.URL(0), nil)
	cut := p.CutAt(1, celerytest.AfterReply)
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	<-cut
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatalf("after the server has closed the connection: %v", err)
	}
}

// The error of a dial comes as it is, each command dials anew, and the server is found as soon as it is back.
func TestEachCommandDialsWhileTheServerIsGone(t *testing.T) {
	r := celerytest.StartRedis(t)
	r.Stop()
	target, err := Parse(r.URL(0), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := target.Client(ClientOptions{})
	defer c.Close()
	for range 3 {
		if err := c.Ping(t.Context()).Err(); err == nil || err.Error() != "dial tcp "+r.Addr()+": connect: connection refused" {
			t.Fatal(err)
		}
	}
	r.Start()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestUnixSocket(t *testing.T) {
	r := celerytest.StartRedis(t, "--requirepass", "p")
	c := client(t, "redis+socket://:p@"+r.Socket()+"?virtual_host=3", nil)
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v := r.Client(3).Get(t.Context(), "k").Val(); v != "v" {
		t.Fatal(v)
	}
}

func TestSentinelLeadsToTheMasterAndAfterAFailoverToTheNewOne(t *testing.T) {
	old := celerytest.StartRedis(t)
	next := celerytest.StartRedis(t)
	const dead = "127.0.0.1:1"
	watch := celerytest.StartSentinel(t, old, "mymaster")
	url := "sentinel://" + dead + "/2;sentinel://" + watch.Addr()
	c := client(t, url, map[string]any{"master_name": "mymaster"})
	if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v := old.Client(2).Get(t.Context(), "k").Val(); v != "v" {
		t.Fatal("not in the master")
	}
	// A failover as clients see it: the sentinel names another master, and the old one ends their connections.
	s := redis.NewSentinelClient(&redis.Options{Addr: watch.Addr(), Protocol: 2, DisableIdentity: true, PipelinePoolSize: -1})
	defer s.Close()
	host, port, _ := net.SplitHostPort(next.Addr())
	if err := s.Remove(t.Context(), "mymaster").Err(); err != nil {
		t.Fatal(err)
	}
	expect(t, client(t, url, map[string]any{"master_name": "mymaster"}).Ping(t.Context()).Err(), Unreachable, "")
	if err := s.Monitor(t.Context(), "mymaster", host, port, "1").Err(); err != nil {
		t.Fatal(err)
	}
	old.Kill()
	_ = c.Ping(t.Context()).Err() // finds the end of the old connection, or is on the new one already
	if err := c.Set(t.Context(), "k", "w", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v := next.Client(2).Get(t.Context(), "k").Val(); v != "w" {
		t.Fatal("not in the new master")
	}
}

func TestSentinelWithPassword(t *testing.T) {
	r := celerytest.StartRedis(t, "--requirepass", "p")
	watch := celerytest.StartSentinel(t, r, "mymaster", "sentinel auth-pass mymaster p", "requirepass sp")
	url := "sentinel://:p@" + watch.Addr()
	options := map[string]any{"master_name": "mymaster", "sentinel_kwargs": map[string]any{"password": "sp"}}
	if err := client(t, url, options).Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	delete(options, "sentinel_kwargs")
	expect(t, client(t, url, options).Ping(t.Context()).Err(), Auth, "password")
	options["master_name"] = "other"
	options["sentinel_kwargs"] = map[string]any{"password": "sp"}
	expect(t, client(t, url, options).Ping(t.Context()).Err(), Unreachable, "master_name")
}

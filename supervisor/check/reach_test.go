package check

import (
	"context"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/redisconn"
)

func TestFit(t *testing.T) {
	s := celerytest.StartRedis(t, "--appendonly", "yes")
	r := checked(t, s.URL(0))
	for _, result := range r {
		if result.Mark != OK {
			t.Errorf("%s: %s %s", result.Name, result.Mark, result.Text)
		}
	}
	r.expect(t, "url", OK, "", s.URL(0), "(REDIS_URL)")
	r.expect(t, "lists", OK, "", "BLMOVE")
	r.expect(t, "server", OK, "", "Redis ")
	r.expect(t, "memory", OK, "", "noeviction")
	r.expect(t, "persistence", OK, "", "everysec")
	r.expect(t, "connections", OK, "", "of 10000 in use", "a node opens 8")
	r.expect(t, "database", OK, "", "0, of 16")
	r.expect(t, "latency", OK, "", "p50", "p99")
	r.expect(t, "provider", OK, "", "plain Redis", "83,272 commands")
	if n := s.Client(0).DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys are left behind", n)
	}
}

func TestUnixSocket(t *testing.T) {
	s := celerytest.StartRedis(t)
	r := checked(t, "redis+socket://"+s.Socket())
	r.expect(t, "unix", OK, "", s.Socket())
	r.expect(t, "auth", OK, "", "no password is wanted")
	if !r.OK() {
		t.Error("not fit")
	}
}

func TestSentinel(t *testing.T) {
	s := celerytest.StartRedis(t)
	w := celerytest.StartSentinel(t, s, "mymaster")
	r := checkedWith(t, Subject{Broker: target(t, "sentinel://"+w.Addr()+"/0", map[string]any{"master_name": "mymaster"})})
	r.expect(t, "sentinel", OK, "", w.Addr(), "mymaster")
	if !r.OK() {
		t.Error("not fit")
	}
	r = checkedWith(t, Subject{Broker: target(t, "sentinel://"+w.Addr()+"/0", map[string]any{"master_name": "nobody"})})
	r.expect(t, "ping", Failed, redisconn.Unreachable, "master_name")
}

func TestResultsOfTheirOwn(t *testing.T) {
	s := celerytest.StartRedis(t)
	r := checkedWith(t, Subject{Broker: target(t, s.URL(0), nil), Results: target(t, s.URL(99), nil)})
	r.expect(t, "ping", OK, "")
	r.expect(t, "results database", Failed, redisconn.WrongDB)
	r = checkedWith(t, Subject{Broker: target(t, s.URL(0), nil), Results: target(t, s.URL(1), nil)})
	r.expect(t, "connections", OK, "", "a node opens 9")
	r.expect(t, "results groups", OK, "", "SETEX")
	if !r.OK() || slices.ContainsFunc(r, func(one Result) bool { return one.Name == "results latency" || one.Name == "results lists" }) {
		t.Error("what is true of the server is said twice, or of messages about results")
	}
	other := celerytest.StartRedis(t)
	r = checkedWith(t, Subject{Broker: target(t, s.URL(0), nil), Results: target(t, other.URL(0), nil)})
	r.expect(t, "connections", OK, "", "a node opens 8")
	r.expect(t, "results connections", OK, "", "a node opens 1")
	r.expect(t, "results latency", OK, "")
	for _, c := range []*celerytest.Redis{s, other} {
		if n := c.Client(0).DBSize(t.Context()).Val() + c.Client(1).DBSize(t.Context()).Val(); n != 0 {
			t.Errorf("%d keys are left behind", n)
		}
	}
}

func TestConnectionRefused(t *testing.T) {
	port := strconv.Itoa(celerytest.FreePort(t))
	checked(t, "redis://:"+secret+"@127.0.0.1:"+port).expect(t, "tcp", Failed, redisconn.Unreachable, "connection refused", "Nothing listens")
}

func TestUnknownHost(t *testing.T) {
	r := checkedWith(t, Subject{Broker: target(t, "redis://no-such-host.example:6379", nil), Resolver: resolver(t)})
	r.expect(t, "dns", Failed, redisconn.Unreachable, "no-such-host.example", "name of the host is not known")
}

// resolver asks a server that knows no name.
func resolver(t *testing.T) *net.Resolver {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { server.Close(); <-done })
	go func() {
		defer close(done)
		query := make([]byte, 512)
		for {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			question := 12
			for query[question] != 0 && question < n {
				question += int(query[question]) + 1
			}
			answer := append([]byte{}, query[:question+5]...)
			answer[2], answer[3] = 0x85, 0x83            // an authoritative answer: no such name (RFC 1035, 4.1.1)
			copy(answer[6:12], []byte{0, 0, 0, 0, 0, 0}) // no records
			_, _ = server.WriteTo(answer, from)
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server.LocalAddr().String())
	}}
}

// A server whose queue of connections is full does not answer at all, as a firewall that drops does.
func TestConnectTimesOut(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	unix.CloseOnExec(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + strconv.Itoa(bound.(*unix.SockaddrInet4).Port)
	for full := false; !full; {
		conn, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(conn)
		unix.CloseOnExec(conn)
		if err := unix.SetNonblock(conn, true); err != nil {
			t.Fatal(err)
		}
		_ = unix.Connect(conn, bound) // in progress
		connected, _ := unix.Poll([]unix.PollFd{{Fd: int32(conn), Events: unix.POLLOUT}}, 200)
		full = connected == 0
	}
	s := settings(t)
	s.Config.Broker.ConnectTimeout = 300 * time.Millisecond
	r := checkedWith(t, Subject{Broker: target(t, "redis://"+addr, nil), Settings: s})
	r.expect(t, "tcp", Failed, redisconn.Unreachable, "timeout", "No answer in time")
}

func TestAnswerTimesOut(t *testing.T) {
	p := celerytest.StartProxy(t, celerytest.StartRedis(t).Addr())
	p.BlackHole(true)
	s := settings(t)
	s.Config.Broker.ConnectTimeout = 4 * time.Second // enough to connect in, on any machine
	r := checkedWith(t, Subject{Broker: target(t, p.URL(0), nil), Settings: s})
	r.expect(t, "tcp", OK, "")
	r.expect(t, "ping", Failed, redisconn.Unreachable, "No answer in time")
}

func TestWhatIsPrivate(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:6379": true, "10.1.2.3:6379": true, "192.168.0.9:1": true, "[fd12::1]:6379": true, "[::1]:1": true, "100.64.3.4:6379": true,
		"8.8.8.8:6379": false, "[2001:db8::1]:6379": false, "/run/redis.sock": true,
	} {
		if got := private("redis.example", named(addr)); got != want {
			t.Errorf("%s: private %t", addr, got)
		}
	}
	if !private("redis.railway.internal", named("8.8.8.8:6379")) {
		t.Error("a private name is private")
	}
	r := unprotected(target(t, "redis://redis.example", nil), named("8.8.8.8:6379"))
	Report{r}.expect(t, "tls", Warning, "", "public address", "rediss://")
}

type named string

func (named) Network() string  { return "tcp" }
func (n named) String() string { return string(n) }

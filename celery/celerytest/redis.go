package celerytest

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server of the test's own, on a loopback port, with a directory of its own and, unless the
// arguments say otherwise, without persistence.
type Redis struct {
	t    testing.TB
	proc *Process
	args []string
	Port int
	Dir  string // its working directory: snapshots, append-only files, the socket
}

// StartRedis starts a redis-server with arguments added ("--requirepass", "secret") and returns when it answers
// PING, be it to ask for a password. The test's end kills it.
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	r := &Redis{t: t, Dir: shortTempDir(t)}
	// Another process may take the free port before the server does.
	for range 5 {
		r.Port = FreePort(t)
		r.args = append([]string{
			"--port", strconv.Itoa(r.Port), "--bind", "127.0.0.1", "--dir", r.Dir, "--save", "", "--daemonize", "no",
			"--unixsocket", r.Socket(),
		}, args...)
		if r.start() {
			return r
		}
	}
	t.Fatalf("start redis-server:\n%s", r.proc.Output())
	return nil
}

func (r *Redis) start() bool {
	r.t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		need(r.t, "redis", err.Error())
	}
	r.proc = StartProcess(r.t, r.Dir, nil, program, r.args...)
	Eventually(r.t, "redis-server to answer PING", func() bool { return r.proc.ended() || r.answers() })
	return !r.proc.ended()
}

// answers tells whether the server has anything but LOADING to say to a PING. On the port another one may answer, who was there first.
func (r *Redis) answers() bool {
	network, addr := "unix", r.arg("--unixsocket")
	if addr == "" { // a sentinel
		network, addr = "tcp", r.Addr()
	}
	conn, err := net.DialTimeout(network, addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && !strings.HasPrefix(line, "-LOADING")
}

// Addr is host:port.
func (r *Redis) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Port)) }

// Socket is the path of the unix socket.
func (r *Redis) Socket() string { return filepath.Join(r.Dir, "s") }

// URL is the redis:// URL of a database.
func (r *Redis) URL(db int) string { return fmt.Sprintf("redis://%s/%d", r.Addr(), db) }

// Client returns a plain client of a database, closed when the test ends. It is for looking at and preparing data.
func (r *Redis) Client(db int) *redis.Client {
	c := redis.NewClient(&redis.Options{
		Addr: r.Addr(), DB: db, Protocol: 2, Password: r.arg("--requirepass"), DisableIdentity: true, PipelinePoolSize: -1, ReadTimeout: Backstop,
	})
	r.t.Cleanup(func() { _ = c.Close() })
	return c
}

func (r *Redis) arg(name string) string {
	for i, a := range r.args[:len(r.args)-1] {
		if a == name {
			return r.args[i+1]
		}
	}
	return ""
}

// PID is the id of the server's process.
func (r *Redis) PID() int { return r.proc.PID() }

// Log is what the server has printed since it was started last.
func (r *Redis) Log() string { return r.proc.Output() }

// Kill is kill -9.
func (r *Redis) Kill() { r.proc.Kill() }

// Stop ends the server as SHUTDOWN does: what is to be persisted is.
func (r *Redis) Stop() {
	r.t.Helper()
	r.proc.Terminate()
}

// Start starts the server again after Kill or Stop, on the same port and directory.
func (r *Redis) Start() {
	r.t.Helper()
	if !r.start() {
		r.t.Fatalf("start redis-server again:\n%s", r.proc.Output())
	}
}

// Restart is Stop and Start.
func (r *Redis) Restart() {
	r.t.Helper()
	r.Stop()
	r.Start()
}

// Pause stops the server with SIGSTOP: it accepts connections and does not answer.
func (r *Redis) Pause() { r.proc.Signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (r *Redis) Resume() { r.proc.Signal(syscall.SIGCONT) }

// StartSentinel starts a sentinel that watches a master under a name, with lines added to its configuration. It
// returns when the sentinel can tell the master's address.
func StartSentinel(t testing.TB, master *Redis, name string, lines ...string) *Redis {
	t.Helper()
	dir := shortTempDir(t)
	conf := filepath.Join(dir, "sentinel.conf")
	lines = append([]string{fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1", name, master.Port)}, lines...)
	if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Redis{t: t, Dir: dir, Port: FreePort(t)}
	s.args = []string{conf, "--sentinel", "--port", strconv.Itoa(s.Port), "--bind", "127.0.0.1", "--dir", dir}
	if !s.start() {
		t.Fatalf("start sentinel:\n%s", s.proc.Output())
	}
	return s
}

// FreePort returns a loopback port that nobody used a moment ago. It is none of those that the system gives to outgoing connections and to
// listeners that name none: a server that is started again after a while finds it free.
func FreePort(t testing.TB) int {
	t.Helper()
	const first, last = 10_000, 32_000 // Linux gives from 32768 on, others from 49152
	for range 100 {
		port := first + rand.IntN(last-first)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("find a free port: a hundred were in use")
	return 0
}

// shortTempDir is for directories that hold a unix socket, whose path may have 107 bytes; t.TempDir's is longer.
func shortTempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agensium-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

package supervisor

import (
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery/celerytest"
)

// manager is the socket of a service manager.
type manager struct {
	t    *testing.T
	conn *net.UnixConn
}

func newManager(t *testing.T) *manager {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{t, conn}
}

// next is the next datagram, by lines.
func (m *manager) next() []string {
	m.t.Helper()
	_ = m.conn.SetReadDeadline(time.Now().Add(celerytest.Backstop))
	b := make([]byte, 4096)
	n, err := m.conn.Read(b)
	if err != nil {
		m.t.Fatalf("wait for a datagram: %v", err)
	}
	return strings.Split(string(b[:n]), "\n")
}

// until reads datagrams up to one that has the line, and returns that one.
func (m *manager) until(line string) []string {
	m.t.Helper()
	for {
		if d := m.next(); slices.Contains(d, line) {
			return d
		}
	}
}

func (m *manager) silent() bool {
	_ = m.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := m.conn.Read(make([]byte, 4096))
	return err != nil
}

// pretended is a node that is as the test says.
type pretended struct {
	live, ready bool
	why         string
}

func (p *pretended) Live() (bool, string)  { return p.live, p.why }
func (p *pretended) Ready() (bool, string) { return p.ready, p.why }

func has(lines []string, prefix string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, prefix) })
}

func TestSystemdHearsALife(t *testing.T) {
	m := newManager(t)
	now := time.Now()
	node := &pretended{live: true, why: "starting: importing proj:app"}
	n := &systemd{log: hclog.NewNullLogger(), watchdog: 10 * time.Second, node: node, life: newLife(now), reloads: &reloads{}, grace: time.Minute}
	look := func() { n.look(now, 5*time.Second) }

	look()
	d := m.next()
	if has(d, "READY=1") || !has(d, "STATUS=starting: importing proj:app") || !has(d, "EXTEND_TIMEOUT_USEC=") || !has(d, "WATCHDOG=1") {
		t.Errorf("while it starts: %q", d)
	}
	node.ready, node.why = true, "consuming: celery"
	n.life.is(consuming, "celery")
	look()
	if d := m.next(); !has(d, "READY=1") || !has(d, "STATUS=consuming: celery") || has(d, "EXTEND") {
		t.Errorf("when it consumes: %q", d)
	}
	look()
	if d := m.next(); len(d) != 1 || d[0] != "WATCHDOG=1" {
		t.Errorf("while nothing changes: %q", d)
	}
	node.ready, node.why = false, "no broker: unreachable"
	look()
	if d := m.next(); has(d, "READY") || !has(d, "STATUS=no broker: unreachable") || !has(d, "WATCHDOG=1") {
		t.Errorf("without broker: %q", d)
	}
	node.live, node.why = false, "stalled: nothing is claimed"
	look()
	if d := m.next(); has(d, "WATCHDOG") || !has(d, "STATUS=stalled") {
		t.Errorf("without progress: %q", d)
	}
	n.life.drains("signal SIGTERM", 20*time.Second)
	look()
	if d := m.next(); !has(d, "STOPPING=1") || !has(d, "EXTEND_TIMEOUT_USEC=15000000") {
		t.Errorf("when it drains: %q", d)
	}
	look()
	if d := m.next(); has(d, "STOPPING") || !has(d, "EXTEND_TIMEOUT_USEC=") || !has(d, "WATCHDOG=1") {
		t.Errorf("while it drains: %q", d)
	}
	now = now.Add(2 * time.Minute)
	look()
	if !m.silent() {
		t.Error("a drain that is past its end still asks for time")
	}
}

func TestSystemdLoopFollowsAtOnceAndEnds(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "3600000000")
	s := &Supervisor{life: newLife(time.Now()), log: hclog.NewNullLogger()}
	n := newSystemd(s)
	if n.watchdog != time.Hour {
		t.Errorf("watchdog %s", n.watchdog)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.run() }()
	m.until("STATUS=starting: reading the settings")
	s.life.is(resting, "USE_CELERY says so")
	m.until("READY=1")
	s.reloads.changed = s.life.tell
	s.reloads.ask(1)
	if d := m.until("RELOADING=1"); !has(d, "MONOTONIC_USEC=") {
		t.Errorf("reload: %q", d)
	}
	s.reloads.answer(1)
	m.until("READY=1")
	s.life.drains("signal SIGTERM", time.Minute)
	m.until("STOPPING=1")
	n.stop(nil)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestWithoutServiceManagerNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	n := newSystemd(&Supervisor{})
	if n != nil {
		t.Fatal("a loop for nobody")
	}
}

// Who asked systemd for a reload waits until the new code is in place, or was refused; and READY=1 is said by who is ready.
func TestSystemdHearsOfReloads(t *testing.T) {
	m := newManager(t)
	now := time.Now()
	node := &pretended{live: true, why: "starting: importing proj:app"}
	r := &reloads{}
	n := &systemd{log: hclog.NewNullLogger(), node: node, life: newLife(now), reloads: r}
	look := func() { n.look(now, 5*time.Second) }
	tells := func(when string, want ...string) {
		t.Helper()
		look()
		for _, line := range want {
			if d := m.next(); !has(d, line) {
				t.Errorf("%s: %q, want %s", when, d, line)
			}
		}
		if !m.silent() {
			t.Errorf("%s: says more", when)
		}
	}
	r.ask(1)
	tells("asked while it starts", "EXTEND_TIMEOUT_USEC=")
	node.ready, node.why = true, "consuming: celery"
	n.life.is(consuming, "celery")
	tells("begins to consume", "READY=1")
	tells("imports", "RELOADING=1", "EXTEND_TIMEOUT_USEC=15000000")
	r.ask(2)
	tells("asked again", "RELOADING=1", "EXTEND")
	r.answer(1)
	tells("the first has ended", "EXTEND")
	r.answer(2)
	tells("both have", "READY=1")
	tells("nothing new")
	r.ask(3)
	r.note(now, errors.New("No module named 'shop'\nsecond line"))
	r.answer(3)
	tells("asked and refused at once", "RELOADING=1", "READY=1")
	if n.status != "consuming: celery; the last reload was refused: No module named 'shop'" {
		t.Errorf("status %q", n.status)
	}
	r.ask(4)
	n.life.drains("signal SIGTERM", time.Minute)
	tells("asked when it ends", "STOPPING=1")
}

func TestChildrenDoNotInheritWhatIsForTheSupervisor(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "/run/systemd/notify")
	t.Setenv("WATCHDOG_USEC", "1")
	t.Setenv("SHOP", "open")
	env := environment(map[string]string{"A": "1"}, map[string]string{"B": "2"})
	for _, name := range ofSystemd {
		if has(env, name+"=") {
			t.Errorf("%s is passed on", name)
		}
	}
	for _, want := range []string{"SHOP=open", "A=1", "B=2"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is not passed on", want)
		}
	}
}

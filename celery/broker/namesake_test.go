package broker

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery/celerytest"
)

// aboutNamesakes has the lines about nodes of our name, of a level or of all.
func aboutNamesakes(log *lines, level string) []string {
	return log.with("["+level, "another node of this name")
}

// heard has a broker keep its locks in dir and write its log to be looked at.
func heard(log *lines, dir string) func(*Options) {
	return func(o *Options) { o.StateDir, o.Log = dir, hclog.New(&hclog.LoggerOptions{Output: log}) }
}

// looks waits until a broker has looked at the others another n times.
func looks(t *testing.T, b *Broker, n uint64) {
	t.Helper()
	before := b.Status().Commands["registry"]
	celerytest.Eventually(t, "looks", func() bool { b.Notice(); return b.Status().Commands["registry"] > before+n })
}

func TestTheYoungerOfTwoNodesOfOneNameSaysSo(t *testing.T) {
	r := celerytest.StartRedis(t)
	dir := t.TempDir()
	var old, young lines
	a := start(t, r.URL(0), heard(&old, dir))
	celerytest.Eventually(t, "connects", func() bool { return a.Status().Connected })
	b := start(t, r.URL(0), heard(&young, dir))
	celerytest.Eventually(t, "the warning", func() bool { return len(aboutNamesakes(&young, "WARN")) == 1 })
	looks(t, a, 2)
	looks(t, b, 2)
	said := aboutNamesakes(&young, "WARN")
	if len(said) != 1 || !strings.Contains(said[0], fmt.Sprint("pid=", os.Getpid(), " ")) || !strings.Contains(said[0], "-n") {
		t.Errorf("%q", said)
	}
	if all := append(aboutNamesakes(&old, "WARN"), append(aboutNamesakes(&old, "INFO"), aboutNamesakes(&young, "INFO")...)...); len(all) > 0 {
		t.Errorf("besides: %q", all)
	}
	push(t, r.Client(0), "celery", "a", "b", "c")
	consume(t, 3, a, b)
}

func TestWhoWasKilledIsNoNamesake(t *testing.T) {
	r := celerytest.StartRedis(t)
	dir := t.TempDir()
	push(t, r.Client(0), "celery", "a")
	for range 3 {
		var h lines
		b := start(t, r.URL(0), heard(&h, dir))
		next(t, b, nil)
		celerytest.Eventually(t, "the lives before to be forgotten", func() bool { return len(nodeIDs(t, r)) == 1 })
		b.crash()
		if all := append(aboutNamesakes(&h, "WARN"), aboutNamesakes(&h, "INFO")...); len(all) > 0 {
			t.Errorf("it says %q", all)
		}
	}
}

// All nodes of a host look at once whether one is dead, when another tells that it has begun.
func TestWhoLooksIsNotTakenForTheOwner(t *testing.T) {
	path := lockPath(t.TempDir(), "gone")
	l, err := takeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if alive, dead := owner(path); !alive || dead {
		t.Errorf("of one that runs: alive %t, dead %t", alive, dead)
	}
	l.abandon()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH); err != nil { // another is just looking
		t.Fatal(err)
	}
	if alive, dead := owner(path); alive || !dead {
		t.Errorf("of one that was killed: alive %t, dead %t", alive, dead)
	}
}

// Of another host the lease tells, at the start only that there was one.
func TestANamesakeElsewhereIsKnownToRunWhenItsLeaseWasRenewed(t *testing.T) {
	r := celerytest.StartRedis(t)
	var old, young lines
	a := start(t, r.URL(0), heard(&old, ""))
	celerytest.Eventually(t, "connects", func() bool { return a.Status().Connected })
	short := func(o *Options) { o.BusyLease, o.IdleLease = time.Second, time.Second }
	b := start(t, r.URL(0), heard(&young, ""), short)
	celerytest.Eventually(t, "the warning", func() bool { b.Notice(); return len(aboutNamesakes(&young, "WARN")) == 1 })
	looks(t, b, 2)
	if said := aboutNamesakes(&young, ""); len(said) != 2 || !strings.Contains(said[0], "[INFO]") || !strings.Contains(said[1], "[WARN]") {
		t.Errorf("it says %q", said)
	}
}

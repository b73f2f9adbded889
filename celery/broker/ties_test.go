package broker

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
)

func nodeIDs(t testing.TB, r *celerytest.Redis) []string {
	t.Helper()
	ids, err := r.Client(0).HKeys(bounded(t), "agensium:nodes").Result()
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// A node that is killed again and again, some of the times with a message in hand, leaves nothing behind but the last of its lives.
func TestTheKilledAreForgottenAtTheNextStart(t *testing.T) {
	r := celerytest.StartRedis(t)
	dir := t.TempDir()
	c := r.Client(0)
	push(t, c, "celery", "a")
	for range 5 {
		b := start(t, r.URL(0), func(o *Options) { o.StateDir = dir })
		next(t, b, nil)
		celerytest.Eventually(t, "the lives before to be forgotten", func() bool {
			return slices.Equal(nodeIDs(t, r), []string{b.Status().Incarnation})
		})
		b.crash()
	}
	if n := len(claimKeys(t, c)); n != 1 {
		t.Errorf("%d claim keys", n)
	}
}

// As long as Redis has a connection of the dead, what that has sent may still be done.
func TestTheKilledAreRememberedWhileRedisServesThem(t *testing.T) {
	r := celerytest.StartRedis(t)
	c, ctx := r.Client(0), bounded(t)
	first := start(t, r.URL(0), func(o *Options) { o.StateDir = t.TempDir() })
	entry := first.lease.entry(8, []string{"celery"}) // of this host and boot
	conn := c.Conn()
	defer conn.Close()
	number, err := conn.ClientID(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lockPath(first.opt.StateDir, "gone"), fmt.Appendln(nil, 1, number), 0o600); err != nil {
		t.Fatal(err)
	}
	c.HSet(ctx, "agensium:nodes", "gone", entry)
	look := func() {
		before := first.Status().Commands["recover"]
		celerytest.Eventually(t, "a look", func() bool { first.Notice(); return first.Status().Commands["recover"] > before+2 })
	}
	look()
	served := make(chan error, 1)
	go func() { served <- conn.BLMove(ctx, "celery", "agensium:claim:gone:3:celery", "RIGHT", "LEFT", 0).Err() }()
	celerytest.Eventually(t, "waits", func() bool { return strings.Contains(c.Info(ctx, "clients").Val(), "blocked_clients:1\r") })
	push(t, c, "celery", "a")
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	first.Notice()
	if d := next(t, first, nil); idOf(d.Raw) != "a" {
		t.Errorf("got %s", idOf(d.Raw))
	}
	look()
	if !slices.Contains(nodeIDs(t, r), "gone") {
		t.Error("forgotten")
	}
	c.ClientKillByFilter(ctx, "ID", fmt.Sprint(number))
	celerytest.Eventually(t, "it to be forgotten", func() bool { first.Notice(); return !slices.Contains(nodeIDs(t, r), "gone") })
}

// Who starts in the moment of the death, before Redis has seen it, looks again soon, whether or not there was something to give back.
func TestTheKilledAreLookedAtAgainSoon(t *testing.T) {
	for name, held := range map[string][]string{"idle": nil, "busy": {"a"}} {
		t.Run(name, func(t *testing.T) { lookedAtAgain(t, held) })
	}
}

func lookedAtAgain(t *testing.T, held []string) {
	r := celerytest.StartRedis(t)
	c, ctx := r.Client(0), bounded(t)
	b := start(t, r.URL(0), func(o *Options) { o.StateDir, o.PeersEvery, o.severedSoon = t.TempDir(), time.Hour, time.Hour })
	entry := b.lease.entry(8, []string{"celery"})
	conn := c.Conn()
	defer conn.Close()
	number, err := conn.ClientID(ctx).Result()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(lockPath(b.opt.StateDir, "gone"), fmt.Appendln(nil, number), 0o600); err != nil {
		t.Fatal(err)
	}
	push(t, c, "agensium:claim:gone:3:celery", held...)
	c.HSet(ctx, "agensium:nodes", "gone", entry)
	before := b.Status().Commands["recover"]
	b.Notice()
	celerytest.Eventually(t, "the first look", func() bool {
		s := b.Status()
		return s.Commands["recover"] > before+1 && s.Recovered == uint64(len(held))
	})
	c.ClientKillByFilter(ctx, "ID", fmt.Sprint(number))
	celerytest.Eventually(t, "it to be forgotten", func() bool { return !slices.Contains(nodeIDs(t, r), "gone") })
}

func TestWhoMayNotAskWaitsForTheTime(t *testing.T) {
	r := celerytest.StartRedis(t)
	dir := t.TempDir()
	if err := r.Client(0).Do(bounded(t), "ACL", "SETUSER", "default", "-client|list").Err(); err != nil {
		t.Fatal(err)
	}
	state := func(o *Options) { o.StateDir, o.BlockTimeout, o.Quarantine = dir, time.Second, 50*time.Millisecond }
	first := start(t, r.URL(0), state)
	celerytest.Eventually(t, "connects", func() bool { return first.Status().Connected })
	first.crash()
	dead := time.Now()
	second := start(t, r.URL(0), state)
	celerytest.Eventually(t, "it to be forgotten", func() bool {
		second.Notice()
		return slices.Equal(nodeIDs(t, r), []string{second.Status().Incarnation})
	})
	if d := time.Since(dead); d < time.Second {
		t.Errorf("forgotten after %s", d)
	}
}

// What stands before Redis may know its own connections only.
func TestAListThatLacksOneOfOursProvesNothing(t *testing.T) {
	b := start(t, celerytest.StartRedis(t).URL(0), func(o *Options) { o.StateDir = t.TempDir() })
	path := lockPath(b.opt.StateDir, "gone")
	if err := os.WriteFile(path, []byte("999998\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	severed := func() bool {
		_, gone := b.ties.severed(bounded(t), path, b.aux, b.commands)
		return gone
	}
	celerytest.Eventually(t, "what was never there to be gone", severed)
	b.ties.tied(b.commands, 999999)
	if severed() {
		t.Error("gone, as far as the one of ours knows that is listed")
	}
}

func TestTiesAreThoseOfClientsThatMayStillBeServed(t *testing.T) {
	dir := t.TempDir()
	b := start(t, celerytest.StartRedis(t).URL(0), func(o *Options) { o.StateDir = dir })
	ties := &ties{patience: time.Hour}
	for i := range mostTies {
		ties.tied(b.aux, int64(i+1))
	}
	if n := len(ties.all); n != mostTies || ties.of(b.aux) != mostTies {
		t.Errorf("%d, the last is %d", n, ties.of(b.aux))
	}
	ties.patience = 0
	ties.tied(b.aux, 1000)
	ties.tied(b.commands, 1001)
	if got := fmt.Sprint(ties.of(b.aux), ties.of(b.commands), len(ties.all)); got != "1000 1001 2" {
		t.Errorf("got %s", got)
	}
	ties.ended(b.aux)
	if ties.of(b.aux) != 0 {
		t.Error("a closed client has a connection")
	}
}

package broker

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// lease keeps the key that says that this incarnation lives: short while claims are held, long while slots only wait. The
// engine begins incarnations and asks lapsed before it writes; the loop here renews.
type lease struct {
	b      *Broker
	ring   *keyring
	held   atomic.Bool
	wake   chan struct{}
	host   string
	bootID string
	start  time.Time

	mu          sync.Mutex
	incarnation string
	since       time.Time     // when the last renewal that counts was sent
	ttl         time.Duration // that it asked for
	lost        lapse         // what Redis has shown
	file        *lockFile
}

// node is an entry of the registry: all that is needed to name the claim keys that an incarnation may have filled.
type node struct {
	Node    string    `json:"node"`
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	BootID  string    `json:"boot_id"`
	Tickets int       `json:"tickets"`
	Keys    []string  `json:"keys"`
	Started time.Time `json:"started"`
	Version string    `json:"version"`
}

// lapse is why claims may not be ours any more.
type lapse string

const (
	lapseNone   lapse = ""
	lapseTime   lapse = "the lease was not renewed in time"
	lapseServer lapse = "another Redis process answers, which may have forgotten the last writes"
	lapseGone   lapse = "the lease is gone from Redis before its time: FLUSHALL, eviction, or somebody deleted it"
)

func newID() string { return uuid.NewString() }

func newLease(b *Broker, ring *keyring) *lease {
	host, _ := os.Hostname()
	boot, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return &lease{
		b: b, ring: ring, wake: make(chan struct{}, 1),
		host: host, bootID: strings.TrimSpace(string(boot)), start: time.Now(),
	}
}

func (l *lease) entry(tickets int, keys []string) []byte {
	entry, err := json.Marshal(node{
		Node: l.b.opt.Node, Host: l.host, PID: os.Getpid(), BootID: l.bootID,
		Tickets: tickets, Keys: keys, Started: l.start.UTC(), Version: l.b.opt.Version,
	})
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	return entry
}

// begin makes id the incarnation whose lease is kept; its first lease was sent at that time.
func (l *lease) begin(id string, file *lockFile, sent time.Time, ttl time.Duration) {
	l.mu.Lock()
	old := l.file
	l.incarnation, l.since, l.ttl, l.lost, l.file = id, sent, ttl, lapseNone, file
	l.mu.Unlock()
	old.abandon() // what is left under the old name is recovered, by us as by anyone
	l.poke()
}

// lose says that our claims may be gone though the lease holds. If it has ended, too, others may have taken them before.
func (l *lease) lose(why lapse) {
	l.mu.Lock()
	if l.lost = why; l.over(time.Now()) {
		l.lost = lapseTime
	}
	l.mu.Unlock()
	l.b.inbox.poke()
}

// suspect has the lease renewed at once, to see whether Redis still has it.
func (l *lease) suspect() {
	l.mu.Lock()
	if due := time.Now().Add(-l.ttl / 3); l.since.After(due) {
		l.since = due
	}
	l.mu.Unlock()
	l.poke()
}

// over tells whether the lease has not been renewed in time. A machine that slept has a monotonic clock that stood still, and a wall clock
// can be set: the larger one counts. The caller holds mu.
func (l *lease) over(now time.Time) bool {
	return max(now.Sub(l.since), now.Round(0).Sub(l.since.Round(0))) > l.ttl-l.ttl/10
}

// lapsed tells whether the lease may have ended, so that our claims may be somebody else's.
func (l *lease) lapsed(now time.Time) bool { return l.lapse(now) != lapseNone }

func (l *lease) lapse(now time.Time) lapse {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.incarnation == "" {
		return lapseNone
	}
	if l.lost == lapseNone && l.over(now) {
		return lapseTime
	}
	return l.lost
}

// busy tells whether claims are held. The short lease is written at once when the first comes, the long one when the next
// renewal is due.
func (l *lease) busy(held bool) {
	if l.held.Swap(held) == held || !held {
		return
	}
	l.mu.Lock()
	long := l.ttl > l.b.opt.BusyLease
	l.mu.Unlock()
	if long {
		l.poke()
	}
}

func (l *lease) poke() { poke(l.wake) }

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

func (l *lease) run(life context.Context) {
	l.b.repeat(life, l.wake, "renew the lease", func(life context.Context) (time.Duration, error) {
		next, err := l.renew(life)
		if err != nil {
			l.b.inbox.call(func() { l.b.eng.doubtLines(err) })
		}
		return next, err
	})
}

// renew writes the lease if that is due and returns when to come again.
func (l *lease) renew(life context.Context) (time.Duration, error) {
	now := time.Now()
	l.mu.Lock()
	id, since, ttl := l.incarnation, l.since, l.ttl
	l.mu.Unlock()
	want := l.b.opt.IdleLease
	if l.held.Load() {
		want = l.b.opt.BusyLease
	}
	if id == "" {
		return time.Hour, nil // begin pokes
	}
	if l.lapsed(now) {
		l.b.inbox.poke() // the engine looks what is left to us
		return time.Hour, nil
	}
	if due := since.Add(ttl / 3); now.Before(due) && want >= ttl {
		return due.Sub(now), nil
	}
	return l.write(life, id, want, now)
}

// prove renews the lease before its time, to see whether Redis takes writes, and has since then.
func (l *lease) prove(life context.Context, since time.Time) error {
	l.mu.Lock()
	id, ttl := l.incarnation, l.ttl
	l.mu.Unlock()
	_, err := l.write(life, id, ttl, since)
	return err
}

// write renews the lease and returns when to do it again. asked is when the first command was sent that tells of Redis what this one tells.
func (l *lease) write(life context.Context, id string, want time.Duration, asked time.Time) (time.Duration, error) {
	now := time.Now()
	l.b.tally.commands.add(purposeLease, 1)
	err := l.b.aux.Do(life, "SET", l.ring.lease(id), l.b.opt.Node, "XX", "PX", want.Milliseconds()).Err()
	l.b.known.heard(asked, err, l.b.opt.BusyLease)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.incarnation != id {
		return 0, nil
	}
	switch {
	case err == nil:
		if l.since.Before(now) { // two may write at the same time
			l.since, l.ttl = now, want
		}
	case errors.Is(err, redis.Nil):
		if l.lost = lapseTime; now.Round(0).Before(l.since.Round(0).Add(l.ttl)) && now.Before(l.since.Add(l.ttl)) {
			l.lost = lapseGone
		}
		l.b.inbox.poke()
		return time.Hour, nil
	case !answered(err) && now.Add(want).Before(l.since.Add(l.ttl)):
		l.since, l.ttl = now, want // it may have been done, and then ends sooner than we knew
		return 0, err
	default:
		return 0, err
	}
	return want / 3, nil
}

func (l *lease) snapshot() (id string, age, ttl time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.incarnation == "" {
		return "", 0, 0
	}
	return l.incarnation, time.Since(l.since), l.ttl
}

func (l *lease) mine(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.incarnation == id
}

// lock takes the lock file of an incarnation; nil without a state directory.
func (l *lease) lock(id string) *lockFile {
	if l.b.opt.StateDir == "" {
		return nil
	}
	f, err := takeLock(lockPath(l.b.opt.StateDir, id))
	if err != nil {
		l.b.log.Warn("no lock file: after a crash a restart waits for the lease", "error", err)
		return nil
	}
	l.b.ties.keepIn(f)
	return f
}

// unlock lets the lock go. If something of ours may be left in Redis the file stays: it tells the next process on this host
// that we are dead.
func (l *lease) unlock(clean bool) {
	l.mu.Lock()
	f := l.file
	l.file = nil
	l.mu.Unlock()
	if clean {
		f.release()
	} else {
		f.abandon()
	}
}

package supervisor

import (
	"fmt"
	"sync"
	"time"

	"github.com/agensium/agensium/celery/redisconn"
)

// The phases of a node's life. Health, metrics, status and systemd say the same words.
const (
	starting  = "starting"
	consuming = "consuming"
	resting   = "resting" // consumes nothing, as asked
	draining  = "draining"
)

var phases = []string{starting, consuming, resting, draining}

// life is where the node is in its life. The parts tell it as they come and go; whoever wants to know reads it.
type life struct {
	mu      sync.Mutex
	phase   string
	detail  string // what it is doing, or why
	since   time.Time
	ends    time.Time // draining: when running tasks are put back
	stalled string    // why the node makes no progress; empty: it does
	next    time.Time // consuming: until when the progress check is to look again
	changed chan struct{}
}

func newLife(now time.Time) *life {
	return &life{phase: starting, detail: "reading the settings", since: now, changed: make(chan struct{}, 1)}
}

func (l *life) is(phase, detail string) {
	l.mu.Lock()
	if l.phase != phase {
		l.since = time.Now()
	}
	l.phase, l.detail = phase, detail
	l.mu.Unlock()
	l.tell()
}

// drains notes the beginning of a drain that may take so long.
func (l *life) drains(why string, budget time.Duration) {
	l.mu.Lock()
	l.phase, l.detail, l.since = draining, why, time.Now()
	l.ends = l.since.Add(budget)
	l.mu.Unlock()
	l.tell()
}

// stall notes why there is no progress.
func (l *life) stall(why string) {
	l.mu.Lock()
	l.stalled = why
	l.mu.Unlock()
	l.tell()
}

// looked notes that the progress check runs; within its timeout it does so again.
func (l *life) looked(now time.Time, timeout time.Duration) {
	l.mu.Lock()
	l.next = now.Add(timeout + askTimeout)
	l.mu.Unlock()
}

func (l *life) tell() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// moment is a life as it was when asked.
type moment struct {
	phase, detail, stalled string
	since, ends, next      time.Time
}

func (l *life) now() moment {
	l.mu.Lock()
	defer l.mu.Unlock()
	return moment{l.phase, l.detail, l.stalled, l.since, l.ends, l.next}
}

func (m moment) words() string {
	if m.detail == "" {
		return m.phase
	}
	return fmt.Sprintf("%s: %s", m.phase, m.detail)
}

// Live tells whether the node makes progress. It does while it starts, rests, drains, and while Redis cannot be reached.
func (s *Supervisor) Live() (ok bool, reason string) {
	m := s.life.now()
	if m.stalled != "" {
		return false, "stalled: " + m.stalled
	}
	if m.phase == consuming && !m.next.IsZero() && time.Now().After(m.next) {
		return false, "stalled: the progress check does not run"
	}
	return true, "ok: " + m.words()
}

// Ready tells whether the node takes tasks, or rests as it was asked to.
func (s *Supervisor) Ready() (ok bool, reason string) {
	m := s.life.now()
	if m.phase != consuming {
		return m.phase == resting, m.words()
	}
	if trouble := s.brokerTrouble(); trouble != "" {
		return false, "no broker: " + trouble
	}
	return true, m.words()
}

// brokerTrouble is what keeps the broker from working, in words; empty if nothing does.
func (s *Supervisor) brokerTrouble() string {
	b := s.running().broker
	if b == nil {
		return "not connected yet"
	}
	st := b.Status()
	switch {
	case st.Condition != nil:
		return st.Condition.Name + ": " + redisconn.Mask(st.Condition.Error)
	case st.Incarnation == "" || !st.Connected:
		return "connecting"
	}
	return ""
}

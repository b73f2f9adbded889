package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery/broker"
)

// progress decides whether the node is stuck: messages wait, a slot is free, Redis answers, and nothing is claimed. It is pure; times are
// given. A broker that cannot be reached is no such case.
//
// It asks Redis seldom: one command when nothing was claimed for the timeout, then after twice that time, and so on
// up to longestGap. Only while messages wait it asks more often.
type progress struct {
	claimed uint64
	idle    time.Time     // since when a slot was free, Redis answered and nothing was claimed; zero: not so
	waiting time.Time     // since when messages were seen to wait, in each look
	gap     time.Duration // to the next look
	ask     time.Time     // the next look
	rebuilt bool          // since something was claimed last
}

// sight is what the supervisor sees without asking Redis.
type sight struct {
	free    bool   // a slot waits for a message
	usable  bool   // Redis answers
	claimed uint64 // messages, ever
}

type verdict int

const (
	fine    verdict = iota
	rebuild         // the connections
	giveUp
)

const longestGap = 5 * time.Minute

// step takes in what is seen and tells whether Redis is to be asked for waiting messages now.
func (p *progress) step(now time.Time, s sight, timeout time.Duration) (ask bool) {
	if s.claimed != p.claimed {
		*p = progress{claimed: s.claimed}
	}
	if !s.free || !s.usable {
		p.idle, p.waiting = time.Time{}, time.Time{}
		return false
	}
	if p.idle.IsZero() {
		p.idle, p.gap = now, timeout
		p.ask = now.Add(timeout)
	}
	return !now.Before(p.ask)
}

// answer takes in whether messages wait.
func (p *progress) answer(now time.Time, waiting bool, timeout time.Duration) verdict {
	if !waiting {
		p.waiting, p.rebuilt = time.Time{}, false
		p.gap = min(2*p.gap, max(timeout, longestGap))
		p.ask = now.Add(p.gap)
		return fine
	}
	p.ask = now.Add(timeout / 4)
	switch {
	case p.waiting.IsZero():
		p.waiting = now
	case now.Sub(p.waiting) < timeout:
	case p.rebuilt:
		return giveUp
	default:
		p.rebuilt, p.waiting = true, time.Time{}
		return rebuild
	}
	return fine
}

// claimer is what the watch needs of the broker.
type claimer interface {
	Status() broker.Status
	Backlogged(ctx context.Context) (bool, error)
	Rebuild() int
}

// watch keeps an eye on progress while the node consumes.
type watch struct {
	broker  claimer
	life    *life
	log     hclog.Logger
	timeout func() time.Duration // broker.stall_timeout
	stalls  func()               // counts
	give    func(error)          // ends the process so that it is started again
}

// askTimeout bounds a look. The engine answers between two rounds, which the socket timeout bounds.
const askTimeout = 5 * time.Second

func (w *watch) run(ctx context.Context) {
	var p progress
	for {
		timeout := w.timeout()
		timer := time.NewTimer(timeout / 4)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		w.life.looked(time.Now(), timeout)
		st := w.broker.Status()
		if st.Draining {
			return
		}
		if !p.step(time.Now(), sight{free: st.Waiting > 0 && !st.Paused, usable: st.Connected && st.Condition == nil, claimed: st.Claimed}, timeout) {
			continue
		}
		waiting, known := w.ask(ctx)
		if !known || w.broker.Status().Claimed != st.Claimed {
			continue
		}
		switch p.answer(time.Now(), waiting, timeout) {
		case rebuild:
			w.stalls()
			n := w.broker.Rebuild()
			w.log.Warn("no progress", "waiting_slots", st.Waiting, "took", timeout, "reason", "messages wait, slots are free, nothing is claimed",
				"next", fmt.Sprintf("rebuild %d connections, give up after %s", n, timeout))
		case giveUp:
			w.stalls()
			err := fmt.Errorf("no progress: messages wait, %d slots are free, and nothing was claimed for %s, with new connections too", st.Waiting, 2*timeout)
			w.life.stall(err.Error())
			w.give(err)
			return
		}
	}
}

// ask looks for waiting messages. An engine that does not answer is as bad as one that does not claim; a Redis that does not is
// another matter.
func (w *watch) ask(ctx context.Context) (waiting, known bool) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	waiting, err := w.broker.Backlogged(ctx)
	if errors.Is(err, broker.ErrSilent) {
		return true, true
	}
	return waiting, err == nil
}

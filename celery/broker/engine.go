package broker

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
)

// engine owns the claims. One goroutine runs it in rounds: what came in since the last round becomes one pipeline, its replies are
// told to those who wait, and while the pipeline is under way the next round's work gathers in the inbox.
type engine struct {
	b     *Broker
	log   hclog.Logger
	ring  *keyring
	batch *batch
	tally *tally

	incarnation string
	next        *incarnation // being begun
	epoch       int          // counts incarnations
	adding      []adding     // queues that the registry does not know yet
	growing     bool         // the tickets have run out
	tickets     *tickets
	claims      map[*celery.Delivery]*claim
	waiters     []*work // the last one in is the first one served: its executor is warm
	owed        []*work // settlements not written yet
	doubts      []*doubt
	waits       map[*wait]struct{}
	spare       func()               // told of a message that is held for a slot to come; nil: none is
	held        *claim               // that message
	shares      *shares              // how the slots are divided between the queues; nil: not at all
	bequests    []*bequest           // of dead nodes, for slots of ours
	strange     map[string]*queueKey // lists that we do not consume but inherit from
	unwritten   bool                 // the registry does not know one of them yet
	unserved    []*claim             // inherited when the slot had gone, or come when the lease had ended
	bequeathed  bool                 // we leave claims for others to inherit

	up       bool       // the connection answers: claims are allowed
	probe    *redis.Cmd // of the round under way: asks whether it does
	draining bool
	paused   bool
	closing  bool
	backoff  backoff
	round    time.Duration // how long the last one took

	works    []*work // taken from the inbox
	landings []landing
	calls    []func()
	moves    []move   // LMOVEs of the round under way
	checks   []*doubt // and its looks at doubtful keys
	looks    []*redis.StringCmd
}

// serve runs until the broker is closed and nothing is left, or life ends.
func (e *engine) serve(life context.Context) {
	for life.Err() == nil {
		runtime.Gosched() // slots that are ready hand in first: one round for all of them
		e.take()
		if e.closing && e.empty() {
			return
		}
		// One that was begun is ended, though the lease may turn out to hold: claims may have its names already.
		if why := e.b.lease.lapse(time.Now()); why != lapseNone || e.incarnation == "" || e.next != nil {
			if err := e.incarnate(life, why); err != nil {
				e.trouble(life, err)
			}
			continue
		}
		if err := e.register(life); err != nil {
			e.trouble(life, err)
			continue
		}
		e.compose()
		e.watch()
		if e.batch.empty() {
			e.sleep(life)
			continue
		}
		begin := time.Now()
		err := e.batch.exec(life)
		e.round = time.Since(begin)
		refusal := e.conclude(err)
		e.batch.reset()
		e.watch()
		e.report()
		if err == nil {
			err = refusal
		}
		if err != nil {
			e.trouble(life, err)
			continue
		}
		e.fine()
	}
}

// take gets what came in.
func (e *engine) take() {
	in := &e.b.inbox
	in.mu.Lock()
	e.works, in.works = in.works, e.works[:0]
	e.landings, in.landings = in.landings, e.landings[:0]
	e.calls, in.calls = in.calls, e.calls[:0]
	in.mu.Unlock()
	for _, w := range e.works {
		e.accept(w)
	}
	clear(e.works)
	if len(e.landings) > 1 { // several keys at once: the more urgent first
		slices.SortStableFunc(e.landings, func(a, b landing) int { return a.wait.key.step - b.wait.key.step })
	}
	for _, l := range e.landings {
		e.landed(l)
	}
	clear(e.landings)
	for _, f := range e.calls { // after the rest: what was handed in before a Close is no longer put back by it
		f()
	}
	clear(e.calls)
	e.report()
}

// accept sorts one call in: a settlement to be written, or a slot that waits.
func (e *engine) accept(w *work) {
	switch {
	case !w.settles || w.stored && w.finished.Settlement.Action == Keep:
		e.await(w)
	case e.admit(w):
		e.owed = append(e.owed, w)
	}
}

// await makes w a waiter, if that is what it came for.
func (e *engine) await(w *work) {
	switch {
	case !w.wants:
		w.answer(nil, nil)
	case e.draining:
		w.answer(nil, ErrDraining)
	case !w.gone() && !e.handHeld(w) && !e.serveInherited(w):
		e.waiters = append(e.waiters, w)
	}
}

// compose fills the batch: looks at doubtful keys, settlements, and a claim for each slot that is free or will be when its
// settlement is written.
func (e *engine) compose() {
	e.look(time.Now())
	want := e.wanting()
	for _, w := range e.owed {
		e.write(w)
		if w.wants && !w.resent && !w.gone() {
			want++
		}
	}
	want = e.withSpare(want)
	if !e.up {
		if e.batch.empty() && (want > 0 || e.closing) {
			e.probe = e.batch.do(purposeLease, "PING")
		}
		return
	}
	e.shares.count(e.ring.queues, e.claims)
	if !e.draining && !e.paused {
		e.plan(want - e.planBequests(want))
	}
}

// wanting drops the slots that went away and counts the others.
func (e *engine) wanting() int {
	e.waiters = slices.DeleteFunc(e.waiters, (*work).gone)
	return len(e.waiters)
}

// conclude reads the replies of a round. It returns a refusal, if there was one, that gives reason to wait.
func (e *engine) conclude(err error) (refusal error) {
	now := time.Now()
	note := func(err error) {
		if err != nil && refusal == nil {
			refusal = err
		}
	}
	if e.probe != nil {
		note(refused(e.probe.Err()))
		e.probe = nil
	}
	for i, d := range e.checks {
		note(e.looked(d, e.looks[i], now))
	}
	e.checks, e.looks = e.checks[:0], e.looks[:0]

	n, kept := len(e.owed), 0
	for i := range n {
		w := e.owed[i]
		ended, r := e.written(w)
		note(r)
		if ended {
			e.await(w)
			continue
		}
		e.owed[kept] = w
		kept++
	}
	e.owed = slices.Delete(e.owed, kept, n)

	for _, q := range e.bequests {
		note(e.inherited(q, now))
	}
	e.bequests = slices.DeleteFunc(e.bequests, func(q *bequest) bool { return q.over })
	for _, m := range e.moves {
		note(e.moved(m, now))
	}
	for _, m := range e.moves {
		k := m.key
		if k.asked > 0 && k.state == tryMove && k.asked >= k.run {
			k.run = min(2*max(k.run, 1), mostAtOnce)
		}
		k.asked = 0
	}
	clear(e.moves)
	e.moves = e.moves[:0]
	return refusal
}

// trouble waits before the next round. Until the connection answers nothing is claimed; what Redis refuses is tried again, so that the state ends when it
// is taken and not before.
func (e *engine) trouble(life context.Context, err error) {
	e.doubtLines(err)
	e.tally.connected.Store(answered(err))
	other := errors.Is(err, errServerChanged)
	if other { // it answers: the incarnation that begins next, and says so, need not wait
		e.backoff.reset()
	}
	d := min(e.backoff.next(), e.b.opt.BusyLease/3) // others wait a lease for us to come back
	if !other {
		if c, changed := e.tally.queues.set(err); changed {
			e.log.Warn("broker is not usable", "reason", c.Name, "error", c.Error, "hint", c.Hint, "next", "retry in "+d.Round(time.Millisecond).String())
		}
	}
	e.report()
	e.b.pause(life, d)
}

func (e *engine) fine() {
	e.up = true
	e.backoff.reset()
	e.tally.connected.Store(true)
	if d := e.tally.queues.clear(); d > 0 {
		e.tally.reconnects.Add(1)
		e.log.Info("broker is usable again", "took", d.Round(time.Millisecond))
	}
}

// sleep waits for something to do.
func (e *engine) sleep(life context.Context) {
	var timer <-chan time.Time
	if at := e.nextTime(); !at.IsZero() {
		t := time.NewTimer(max(time.Until(at), time.Millisecond))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-e.b.inbox.wake:
	case <-timer:
	case <-life.Done():
	}
}

// nextTime is when something has to be done by itself: a look at a doubtful key, or at a key that rests.
func (e *engine) nextTime() time.Time {
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	for _, d := range e.doubts {
		sooner(d.check)
	}
	if !e.paused && (len(e.waiters) > 0 || e.spareWaits()) {
		for _, k := range e.ring.keys {
			if k.state == resting {
				sooner(k.restUntil)
			}
		}
	}
	return at
}

// empty tells whether nothing is left that has to be written or looked at.
func (e *engine) empty() bool {
	if len(e.owed) > 0 || len(e.claims) > 0 || len(e.waits) > 0 || e.b.storer.pending() > 0 {
		return false
	}
	return !slices.ContainsFunc(e.doubts, func(d *doubt) bool { return !d.looked })
}

func (e *engine) report() {
	t := e.tally
	t.waiting.Store(int64(len(e.waiters)))
	t.claims.Store(int64(len(e.claims)))
	t.owed.Store(int64(len(e.owed)))
	t.doubts.Store(int64(len(e.doubts)))
	t.blocked.Store(int64(len(e.waits)))
	t.held.Store(e.held != nil)
	t.paused.Store(e.paused)
}

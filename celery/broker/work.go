package broker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
)

// What a caller branches on.
var (
	ErrDraining = errors.New("broker is draining: no more deliveries")
	ErrClosed   = errors.New("broker is closed")
	ErrTaken    = errors.New("claim is not ours any more: after our lease ended another node took it, or Redis had forgotten it")
	ErrSilent   = errors.New("the engine does not answer")
	ErrNotHeld  = errors.New("delivery is not held: it was settled before")
)

// work is one call of Next, Settle or Store on its way through the engine.
type work struct {
	finished Finished
	settles  bool            // finished says something
	wants    bool            // a delivery, when that is done
	stored   bool            // the results are written
	resent   bool            // an earlier attempt was cut: the claim may be settled already
	ousted   []celery.Result // what was stored a moment before the results, and is to stay

	state atomic.Int32
	reply chan reply

	// of the round under way
	claim *claim
	sets  []*redis.StatusCmd
	pubs  []*redis.IntCmd
	move  redis.Cmder
}

type reply struct {
	delivery *celery.Delivery
	err      error
}

const (
	open int32 = iota
	answeredWork
	abandoned // the caller's context ended; what it handed in is still owed
)

var works = sync.Pool{New: func() any { return &work{reply: make(chan reply, 1)} }}

// answer gives the caller its reply and reports whether it was still there to take it.
func (w *work) answer(d *celery.Delivery, err error) bool {
	if !w.state.CompareAndSwap(open, answeredWork) {
		return false
	}
	w.reply <- reply{d, err}
	return true
}

func (w *work) gone() bool { return w.state.Load() == abandoned }

// inbox is the way to the engine.
type inbox struct {
	mu       sync.Mutex
	works    []*work
	landings []landing
	calls    []func()
	closed   bool
	wake     chan struct{} // capacity 1
}

func (in *inbox) poke() {
	select {
	case in.wake <- struct{}{}:
	default:
	}
}

func (in *inbox) hand(w *work) bool {
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return false
	}
	in.works = append(in.works, w)
	in.mu.Unlock()
	in.poke()
	return true
}

func (in *inbox) land(l landing) {
	in.mu.Lock()
	in.landings = append(in.landings, l)
	in.mu.Unlock()
	in.poke()
}

// call runs f on the engine's goroutine between two rounds; false when there will be none.
func (in *inbox) call(f func()) bool {
	in.mu.Lock()
	if in.closed {
		in.mu.Unlock()
		return false
	}
	in.calls = append(in.calls, f)
	in.mu.Unlock()
	in.poke()
	return true
}

// Next is called by each idle slot: it settles what the slot finished (done may be nil) and waits for the next delivery.
// What was handed in is written whatever becomes of ctx; while Redis is away Next waits, and tries for ever.
//
// It returns ErrDraining when no more deliveries will come, after done is written; the error of ctx when that ended first;
// ErrClosed after Close. A delivery that was assigned before ctx ended is returned. That done was taken from us
// by another node (its results are dropped) is logged and counted, and no error.
func (b *Broker) Next(ctx context.Context, done *Finished) (*celery.Delivery, error) {
	w := works.Get().(*work)
	w.wants = true
	if done != nil {
		w.finished, w.settles = *done, true
	}
	return b.await(ctx, w)
}

// Settle ends a delivery, or stores results for one that goes on (Keep), and returns when that is written. When ctx ends first the
// settlement is still owed and will be written. ErrTaken: another node took the claim, nothing was stored unless an earlier attempt
// was cut off; the task must not be begun. ErrNotHeld: it was settled before.
func (b *Broker) Settle(ctx context.Context, f Finished) error {
	w := works.Get().(*work)
	w.finished, w.settles = f, true
	_, err := b.await(ctx, w)
	return err
}

// Store writes and publishes documents of a task that goes on, and returns when they are written, so that what the
// caller stores afterwards comes after them.
func (b *Broker) Store(ctx context.Context, results []celery.Result) error {
	return b.Settle(ctx, Finished{Settlement: Settlement{Results: results}})
}

func (b *Broker) await(ctx context.Context, w *work) (*celery.Delivery, error) {
	if !b.inbox.hand(w) {
		return nil, ErrClosed
	}
	select {
	case r := <-w.reply:
		return done(w, r)
	case <-ctx.Done():
		if w.state.CompareAndSwap(open, abandoned) {
			return nil, context.Cause(ctx)
		}
		return done(w, <-w.reply)
	}
}

func done(w *work, r reply) (*celery.Delivery, error) {
	reply := w.reply
	clear(w.sets)
	clear(w.pubs)
	sets, pubs := w.sets[:0], w.pubs[:0]
	*w = work{reply: reply, sets: sets, pubs: pubs} //nolint:govet // nobody else holds it
	works.Put(w)
	return r.delivery, r.err
}

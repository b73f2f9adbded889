package broker

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// wait is one BLMOVE under way, on a connection that serves one key.
type wait struct {
	key     *queueKey
	ticket  *ticket
	epoch   int
	line    *line
	started time.Time
	expires time.Time     // when Redis gives up by itself
	cut     bool          // by us
	over    chan struct{} // closed when its reply, or its end, is known
}

// errUnsent ends a wait that was cut before its command was sent: nothing is in doubt.
var errUnsent = errors.New("cut before it was sent")

// landing is how a wait ended.
type landing struct {
	wait *wait
	raw  []byte
	err  error
}

// line is the connection on which one key is waited for. go-redis cannot end a blocking command; closing the connection below it does.
type line struct {
	client *redis.Client
	mu     sync.Mutex
	conn   net.Conn
	id     int64 // of the connection, as Redis numbers them; 0: not known
	cancel context.CancelFunc
	retry  backoff // the engine's
}

func (l *line) dialed(c net.Conn) {
	l.mu.Lock()
	l.conn, l.id = c, 0
	l.mu.Unlock()
}

// identify learns the connection's id, which it needs to be unblocked by. Redis may not tell.
func (l *line) identify(ctx context.Context) int64 {
	l.mu.Lock()
	id := l.id
	l.mu.Unlock()
	if id != 0 {
		return id
	}
	id, err := l.client.ClientID(ctx).Result()
	if err != nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.id = id
	return id
}

// unblock lets Redis end the command under way as if its time were over: then its reply says what became of it, and nothing is in
// doubt. It reports whether Redis did; no error and false mean that no command of this connection waits there, not yet or not any more.
func (l *line) unblock(ctx context.Context, by *redis.Client) (bool, error) {
	l.mu.Lock()
	id := l.id
	l.mu.Unlock()
	if id == 0 {
		return false, errors.New("the number of the connection is not known")
	}
	n, err := by.ClientUnblock(ctx, id).Result()
	return n == 1, err
}

// cut ends the command under way, wherever it is: dialing, being sent, or waiting.
func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil {
		l.cancel()
	}
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn, l.id = nil, 0 // Redis may not have noticed yet, and would unblock that connection instead of the next
	}
}

// watch starts a BLMOVE for each empty key while a slot waits, and ends all of them when no more is to be claimed.
func (e *engine) watch() {
	if e.draining || e.paused {
		for w := range e.waits {
			e.cut(w)
		}
		return
	}
	if !e.up || len(e.waiters) == 0 && e.owedWanting() == 0 && !e.spareWaits() {
		return
	}
	free := 0
	if e.shares != nil {
		free = e.withSpare(len(e.waiters) + e.owedWanting())
	}
	for _, k := range e.ring.keys {
		if k.state != tryBlock || e.shares.barred(k.queue, free) {
			continue
		}
		if len(e.waits) >= e.b.opt.MaxBlocked && !e.busier(k) {
			k.state, k.restUntil = resting, time.Now().Add(e.b.opt.RestInterval)
			continue
		}
		if len(e.waits) < e.b.opt.MaxBlocked {
			e.block(k)
		}
	}
}

func (e *engine) owedWanting() (n int) {
	for _, w := range e.owed {
		if w.wants && !w.gone() {
			n++
		}
	}
	return n
}

// busier tells whether k gave a message more recently than a key that is waited on; that one then ends its wait to make room.
func (e *engine) busier(k *queueKey) bool {
	var last *wait
	for w := range e.waits {
		if w.cut {
			return true // room is being made
		}
		if last == nil || w.key.lastHit.Before(last.key.lastHit) {
			last = w
		}
	}
	if last == nil || !last.key.lastHit.Before(k.lastHit) {
		return false
	}
	e.cut(last)
	return true
}

func (e *engine) block(k *queueKey) {
	t := e.ticket()
	if t == nil {
		return
	}
	if k.line == nil {
		k.line = &line{}
		k.line.client = e.b.client("wait", k.line.dialed)
	}
	ctx, cancel := context.WithCancel(e.b.life)
	k.line.mu.Lock()
	k.line.cancel = cancel
	k.line.mu.Unlock()
	now := time.Now()
	w := &wait{key: k, ticket: t, epoch: e.epoch, line: k.line, started: now, expires: now.Add(e.b.opt.BlockTimeout), over: make(chan struct{})}
	k.state = blocked
	e.waits[w] = struct{}{}
	e.tally.commands.add(purposeWait, 1)
	name := t.name(e.ring, e.incarnation, k)
	e.b.loops.Go(func() {
		defer cancel()
		defer close(w.over)
		w.line.identify(ctx)
		if ctx.Err() != nil {
			e.b.inbox.land(landing{w, nil, errUnsent})
			return
		}
		cmd := w.line.client.BLMove(ctx, k.list, name, "RIGHT", "LEFT", e.b.opt.BlockTimeout)
		raw, err := cmd.Bytes()
		e.b.inbox.land(landing{w, raw, err})
	})
}

// cut ends a wait. If Redis cannot be asked to end it, its connection is closed, and what it did is in doubt.
func (e *engine) cut(w *wait) {
	if w.cut {
		return
	}
	w.cut = true
	if !e.up {
		w.line.cut()
		return
	}
	e.b.loops.Go(func() {
		for pause := time.Millisecond; pause < e.b.opt.unblockFor; pause *= 2 {
			e.tally.commands.add(purposeWait, 1)
			done, err := w.line.unblock(e.b.life, e.b.aux)
			if done {
				return
			}
			if err != nil {
				break
			}
			select {
			case <-w.over:
				return
			case <-time.After(pause):
			}
		}
		w.line.cut()
	})
}

// landed takes in how a wait ended.
func (e *engine) landed(l landing) {
	w, k, now := l.wait, l.wait.key, time.Now()
	delete(e.waits, w)
	if k.state == blocked {
		k.state = tryBlock
	}
	if k.removed && k.line != nil {
		e.b.conns.close(k.line.client)
		k.line = nil
	}
	if w.epoch != e.epoch || e.next != nil {
		// Its claim key belongs to an incarnation that is over, or about to be: what lies there is recovered as from any dead one.
		e.b.recovery.poke()
		return
	}
	switch {
	case l.err == nil:
		if now.Sub(w.started) < e.swift() && !k.removed {
			k.state = tryMove // it hardly waited: there is more, which the shared pipeline gets cheaper
		}
		w.line.retry.reset()
		k.lastHit = now
		e.ring.gave(k)
		e.adopt(e.newClaim(w.ticket, k, l.raw, now))
	case l.err == redis.Nil:
		e.tickets.put(w.ticket)
		w.line.retry.reset()
	case l.err == errUnsent:
		e.tickets.put(w.ticket)
	case answered(l.err):
		e.tickets.put(w.ticket)
		e.ail(k, l.err, now)
	default:
		e.doubts = append(e.doubts, newDoubt(w.ticket, k, now, max(w.expires.Sub(now), 0)+e.b.opt.Quarantine))
		if !w.cut {
			e.ail(k, l.err, now)
		}
	}
}

// swift is the time within which a BLMOVE counts as not having waited: a few round trips.
func (e *engine) swift() time.Duration { return max(3*e.round, 2*time.Millisecond) }

// doubtLines makes the engine prove its connection before it claims again, unless it was a refusal that came by it. If one call had no answer in time the other connections may be
// as dead, and a BLMOVE would find out minutes later: they are cut.
func (e *engine) doubtLines(err error) {
	if answered(err) {
		return
	}
	e.up = false
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		for w := range e.waits {
			e.cut(w)
		}
	}
}

// ail lets a key rest whose wait was cut or refused. If it was cut the engine proves its own connection before it claims again; if it was refused
// its next LMOVE will be, too, and say so.
func (e *engine) ail(k *queueKey, err error, now time.Time) {
	if k.line == nil {
		return
	}
	pause := k.line.retry.next()
	k.state, k.restUntil = resting, now.Add(pause)
	e.up = e.up && answered(err)
	e.log.Debug("wait ended", "queue", k.queue, "error", err, "next", "retry in "+pause.String())
}

package broker

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
)

func newEngine(b *Broker, ring *keyring) *engine {
	return &engine{
		b: b, log: b.log, ring: ring, tally: &b.tally,
		batch:  newBatch(b.commands, &b.tally.commands, b.opt.ResultExpires),
		claims: map[*celery.Delivery]*claim{}, waits: map[*wait]struct{}{},
	}
}

// incarnate begins an incarnation: at the start, when the lease could not be renewed in time, since then anyone may have taken our claims,
// and when another Redis process answers; why says which. Registry and lease are written first; then each claim is moved to a name of the new incarnation. What is not there any more
// was taken. Each step can be repeated after a cut, so an error means: call again.
func (e *engine) incarnate(life context.Context, why lapse) error {
	if e.next == nil {
		e.next = &incarnation{id: newID(), tickets: newTickets(max(firstTickets, 2*(len(e.claims)+len(e.doubts)+len(e.waits))))}
		e.next.moving = e.holdings(e.next.tickets)
		e.next.keep = e.b.lease.lock(e.next.id)
		if e.incarnation != "" {
			e.tally.lapses.Add(1)
			e.next.why = why
			e.log.Warn("claims may be gone: "+string(why), "id", e.incarnation, "next", "look which claims are still ours")
		}
	}
	n := e.next
	e.b.known.meet()
	sent := time.Now()
	ttl := e.b.opt.BusyLease
	entry := e.b.lease.entry(n.tickets.total, e.known())
	hset := e.batch.do(purposeRegistry, "HSET", e.ring.nodes(), n.id, entry)
	set := e.batch.do(purposeLease, "SET", e.ring.lease(n.id), e.b.opt.Node, "PX", ttl.Milliseconds())
	e.batch.do(purposeRegistry, "PUBLISH", e.ring.notice(), n.id)
	e.declare(e.ring.queues...)
	var old, info *redis.Cmd // not the first: the connection to a replica ends if that is refused
	switch n.why {
	case lapseServer:
		info = e.batch.do(purposeRegistry, "INFO")
		fallthrough
	case lapseGone:
		old = e.batch.do(purposeRegistry, "HEXISTS", e.ring.nodes(), e.incarnation)
	}
	if err := e.execNow(life, hset, set); err != nil {
		return err
	}
	switch {
	case n.emptied, old == nil, old.Err() != nil, took(old): // it is the registry that tells others of our claims
	case info == nil:
		n.emptied = true
		e.log.Warn("Redis was emptied while this node worked: what waited in it is gone", "next", onEmptied)
	case beganEmpty(info):
		n.emptied = true
		e.log.Warn("Redis was started anew without its data: what waited in it is gone", "next", onEmptied)
	}
	AtRegistered.Pass()
	if err := e.moveHoldings(life); err != nil {
		return err
	}
	if len(n.moving) > 0 {
		AtMoved.Pass()
	}
	first := e.incarnation == ""
	e.incarnation, e.tickets, e.next = n.id, n.tickets, nil
	e.epoch++
	e.doubts = nil
	for w := range e.waits {
		e.cut(w)
	}
	e.b.lease.begin(n.id, n.keep, sent, ttl)
	e.regain(n) // from here on the lease is good
	e.b.lease.busy(len(e.claims) > 0)
	e.b.recovery.poke()
	e.fine()
	if first {
		e.log.Info("connected", "id", n.id)
		close(e.b.begun)
		e.b.parking.poke()
		e.b.leftover.poke()
	}
	return nil
}

const onEmptied = "go on; what runs is not run again, and its results are stored"

// incarnation is one in the making.
type incarnation struct {
	id      string
	tickets *tickets
	moving  []*holding
	keep    *lockFile
	why     lapse // the last one ended; empty: there was none
	emptied bool  // Redis has forgotten everything, so that nobody can have taken a claim
}

// execNow sends the batch outside of a round. Any error or refusal of one of cmds is an error.
func (e *engine) execNow(life context.Context, cmds ...*redis.Cmd) error {
	defer e.batch.reset()
	if e.batch.empty() {
		return nil
	}
	if err := e.batch.exec(life); err != nil {
		return err
	}
	for _, c := range cmds {
		if err := refused(c.Err()); err != nil {
			return err
		}
	}
	return nil
}

// known are all lists that this incarnation may have claimed from.
func (e *engine) known() []string {
	lists := e.ring.lists()
	for _, c := range e.claims {
		lists = append(lists, c.Key)
	}
	for _, d := range e.doubts {
		lists = append(lists, d.key.list)
	}
	for w := range e.waits {
		lists = append(lists, w.key.list)
	}
	for list := range e.strange {
		lists = append(lists, list)
	}
	for _, a := range e.adding {
		for _, s := range e.ring.steps {
			lists = append(lists, e.ring.list(a.queue, s))
		}
	}
	slices.Sort(lists)
	return slices.Compact(lists)
}

type adding struct {
	queue string
	done  chan struct{}
}

func (e *engine) addQueue(queue string, done chan struct{}) {
	e.adding = append(e.adding, adding{queue, done})
}

func (e *engine) growTickets() { e.growing = true }

// register brings the registry up to date before queues or tickets that it does not know are used.
func (e *engine) register(life context.Context) error {
	if e.incarnation == "" || len(e.adding) == 0 && !e.growing && !e.unwritten {
		return nil
	}
	total := e.tickets.total
	if e.growing && len(e.tickets.free) == 0 {
		total *= 2
	}
	hset := e.batch.do(purposeRegistry, "HSET", e.ring.nodes(), e.incarnation, e.b.lease.entry(total, e.known()))
	for _, a := range e.adding {
		e.declare(a.queue)
	}
	if err := e.execNow(life, hset); err != nil {
		return err
	}
	e.tickets.grow(total)
	for _, a := range e.adding {
		e.ring.add(a.queue)
		close(a.done)
	}
	e.adding, e.growing, e.unwritten = nil, false, false
	return nil
}

func (e *engine) removeQueue(queue string) {
	e.adding = slices.DeleteFunc(e.adding, func(a adding) bool {
		if a.queue == queue {
			close(a.done)
		}
		return a.queue == queue
	})
	for _, k := range e.ring.remove(queue) {
		waiting := false
		for w := range e.waits {
			if w.key == k {
				waiting = true
				e.cut(w)
			}
		}
		if k.line != nil && !waiting {
			e.b.conns.close(k.line.client)
			k.line = nil
		}
	}
}

func (e *engine) drain() {
	e.draining = true
	for _, w := range e.waiters {
		w.answer(nil, ErrDraining)
	}
	e.waiters = nil
	e.setSpare(nil)
}

// close puts back what is held and lets serve end when nothing is left.
func (e *engine) close() {
	e.closing = true
	for _, c := range e.claims {
		switch {
		case c.taken:
			delete(e.claims, &c.Delivery)
		case c.heir && !c.ending: // another node inherits it from us
			delete(e.claims, &c.Delivery)
			e.bequeathed = true
		case !c.ending:
			e.giveBack(c)
		}
	}
}

// leave says goodbye. While a key is in doubt, or a claim is left for others to inherit, the registry keeps our entry, so that somebody
// looks at it later.
func (e *engine) leave(life context.Context) {
	if e.incarnation == "" || life.Err() != nil {
		e.b.lease.unlock(false)
		return
	}
	defer e.b.lease.unlock(true)
	AtLeaving.Pass()
	e.batch.do(purposeLease, "DEL", e.ring.lease(e.incarnation))
	if len(e.doubts) == 0 && !e.bequeathed {
		e.batch.do(purposeRegistry, "HDEL", e.ring.nodes(), e.incarnation)
	}
	if err := e.execNow(life); err != nil {
		e.log.Warn("registry entry left behind", "id", e.incarnation, "error", err, "next", "it is removed by whoever recovers it")
	}
}

func (e *engine) closeLines() {
	for _, k := range e.ring.keys {
		if k.line != nil {
			_ = k.line.client.Close()
		}
	}
}

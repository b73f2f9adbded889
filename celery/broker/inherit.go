package broker

import (
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// bequest is a message in the claim key of a dead node that goes to a slot of ours (see Inherit). It stays where it is until a slot waits, so
// that no node takes more than it has slots for, and another may come first.
type bequest struct {
	name string // of the dead node's claim key
	key  *queueKey
	raw  []byte

	// of the round under way
	ticket *ticket
	cmd    *redis.Cmd
	over   bool
}

// bequeath notes a message for the next slot that waits. Recovery finds it again at each look until somebody has taken it.
func (e *engine) bequeath(queue, list, name string, raw []byte) {
	if e.closing || slices.ContainsFunc(e.bequests, func(q *bequest) bool { return q.name == name }) {
		return
	}
	e.bequests = append(e.bequests, &bequest{name: name, key: e.keyOf(queue, list), raw: raw})
}

// keyOf finds the key of a list. The claim keys of one that we do not consume have names that the registry must know first.
func (e *engine) keyOf(queue, list string) *queueKey {
	for _, k := range e.ring.keys {
		if k.list == list {
			return k
		}
	}
	k := e.strange[list]
	if k == nil {
		k = &queueKey{queue: queue, list: list, index: e.ring.next, removed: true}
		e.ring.next++
		if e.strange == nil {
			e.strange = map[string]*queueKey{}
		}
		e.strange[list] = k
		e.unwritten = true
	}
	return k
}

// planBequests adds a move for each of at most n slots and returns how many.
func (e *engine) planBequests(n int) int {
	planned := 0
	for _, q := range e.bequests {
		if planned == n || e.unwritten {
			break
		}
		if q.ticket = e.ticket(); q.ticket == nil {
			break
		}
		q.cmd = e.batch.do(purposeRecover, giveScript.args([]string{q.name, q.ticket.name(e.ring, e.incarnation, q.key)}, marked(q.raw, true), "RPUSH")...)
		planned++
	}
	return planned
}

// inherited takes in the reply of such a move.
func (e *engine) inherited(q *bequest, now time.Time) error {
	if q.cmd == nil {
		return nil
	}
	t, moved, err := q.ticket, took(q.cmd), q.cmd.Err()
	q.ticket, q.cmd = nil, nil
	switch {
	case moved:
		q.over = true
		AtInherited.Pass()
		e.tally.recovered.Add(1)
		e.log.Info("message of a dead node inherited", "queue", q.key.queue, "next", "a slot records what became of it")
		c := e.newClaim(t, q.key, marked(q.raw, true), now)
		c.heir = true
		e.adopt(c)
	case err == nil || errors.Is(err, redis.Nil): // another node was first
		q.over = true
		e.tickets.put(t)
	case answered(err):
		e.tickets.put(t)
		return err
	default: // it may have been done, and is tried again: only one of the two finds the message
		d := newDoubt(t, q.key, now, e.b.opt.Quarantine)
		d.heir = true
		e.doubts = append(e.doubts, d)
		e.b.recovery.poke() // it may still lie where it was
	}
	return nil
}

// serveInherited gives a slot what was inherited for one that went away.
func (e *engine) serveInherited(w *work) bool {
	for len(e.unserved) > 0 {
		c := e.unserved[len(e.unserved)-1]
		if c.taken {
			delete(e.claims, &c.Delivery)
		} else if !w.answer(&c.Delivery, nil) {
			return false
		} else {
			e.b.lease.busy(true)
			e.unserved = e.unserved[:len(e.unserved)-1]
			return true
		}
		e.unserved = e.unserved[:len(e.unserved)-1]
	}
	return false
}

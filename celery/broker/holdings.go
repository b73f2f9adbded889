package broker

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// holding is a claim key of the last incarnation on its way to the next: one that holds a claim, or one that a command of a cut connection
// may have filled.
type holding struct {
	name   string
	key    *queueKey
	ticket *ticket // of the next incarnation
	c      *claim  // nil: what lies there, if anything, was never delivered
	heir   bool
	found  []byte // what lies there; nil: nothing
	look   *redis.StringCmd
}

func (e *engine) holdings(t *tickets) []*holding {
	var all []*holding
	for _, c := range e.claims {
		if !c.taken {
			all = append(all, &holding{name: c.name, key: c.key, ticket: t.take(), c: c})
		}
	}
	for _, d := range e.doubts {
		all = append(all, &holding{name: d.ticket.name(e.ring, e.incarnation, d.key), key: d.key, ticket: t.take(), heir: d.heir})
	}
	for w := range e.waits {
		if w.epoch == e.epoch {
			all = append(all, &holding{name: w.ticket.name(e.ring, e.incarnation, w.key), key: w.key, ticket: t.take()})
		}
	}
	return all
}

// moveHoldings renames the claim keys. The move and the look at its result go together, so that a repetition tells the same.
func (e *engine) moveHoldings(life context.Context) error {
	n := e.next
	var moves []*redis.Cmd
	for _, h := range n.moving {
		name := h.ticket.name(e.ring, n.id, h.key)
		moves = append(moves, e.batch.do(purposeRecover, "LMOVE", h.name, name, "LEFT", "LEFT"))
		h.look = add(e.batch, purposeRecover, redis.NewStringCmd(context.Background(), "LINDEX", name, 0))
	}
	if err := e.execNow(life, moves...); err != nil {
		return err
	}
	for _, h := range n.moving {
		if err := refused(h.look.Err()); err != nil {
			return err
		}
		h.found, _ = h.look.Bytes()
	}
	return nil
}

// takenOr says what became of a claim that is not there any more.
var takenOr = map[lapse]string{
	lapseTime:   "claim was taken by another node",
	lapseServer: "claim was forgotten by Redis, or taken by another node",
	lapseGone:   "claim was taken by another node, or deleted",
}

// forget notes that the message of a claim is gone from Redis, though no other node may take it.
func (e *engine) forget(c *claim) {
	if c.forgotten {
		return
	}
	c.forgotten = true
	e.tally.forgotten.Add(1)
	e.log.Warn("claim is gone from Redis, and no node has taken it: FLUSHALL, eviction, a restart without data, or somebody deleted it", "queue", c.Queue, "key", c.name,
		"next", "it is not run again; what results it brings are stored")
}

// regain goes on with what is still there, and gives up claims that are not. A claim key may also hold a message that was settled before, if
// Redis has forgotten that: it is redelivered.
func (e *engine) regain(n *incarnation) {
	now := time.Now()
	for _, h := range n.moving {
		ours := h.found != nil && h.c != nil && bytes.Equal(h.found, h.c.Raw)
		switch {
		case h.c == nil || ours:
		case n.emptied && h.found == nil:
			ours = true // it ends as any other, without a message to acknowledge
			e.forget(h.c)
		default:
			h.c.taken = true
			e.tally.taken.Add(1)
			e.log.Warn(takenOr[n.why], "queue", h.c.Queue, "key", h.c.name, "next", "drop its results")
		}
		switch {
		case ours:
			h.c.name, h.c.ticket = h.ticket.name(e.ring, e.incarnation, h.key), h.ticket
		case h.found == nil:
			e.tickets.put(h.ticket)
		case h.c == nil:
			c := e.newClaim(h.ticket, h.key, h.found, now)
			c.heir = h.heir
			e.adopt(c)
		default:
			e.giveAway(e.newClaim(h.ticket, h.key, h.found, now), redeliver)
		}
	}
	if e.held != nil && e.held.taken {
		delete(e.claims, &e.held.Delivery)
		e.held = nil
	}
	e.owed = slices.DeleteFunc(e.owed, func(w *work) bool {
		if w.claim == nil || !w.claim.taken {
			return false
		}
		e.drop(w, w.claim)
		return true
	})
	late := e.unserved
	e.unserved = nil
	for _, c := range late {
		if c.taken {
			delete(e.claims, &c.Delivery)
			continue
		}
		e.adopt(c)
	}
}

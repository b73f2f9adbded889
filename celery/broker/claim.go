package broker

import (
	"errors"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
)

// claim is a message that lies in a claim key of ours.
type claim struct {
	celery.Delivery
	name   string // of the claim key; changes when an incarnation lapses
	ticket *ticket
	key    *queueKey
	ending bool // a settlement is owed
	taken  bool // by another node

	forgotten bool // its message is gone from Redis, and no node has it
	heir      bool // inherited from a dead node: it must not go back to its queue
}

// move is an LMOVE under way.
type move struct {
	key    *queueKey
	ticket *ticket
	cmd    *redis.StringCmd
}

// plan adds an LMOVE for each of n slots, from the most urgent keys that may have something, in turn.
func (e *engine) plan(n int) {
	if e.shares != nil {
		e.planShares(n)
		return
	}
	now := time.Now()
	keys := e.ring.keys
	for i := 0; i < len(keys) && n > 0; {
		j := i // keys[i:j] have the same step
		for j < len(keys) && keys[j].step == keys[i].step {
			if k := keys[j]; k.state == resting && !now.Before(k.restUntil) {
				k.state = tryMove
			}
			j++
		}
		if slices.ContainsFunc(keys[i:j], func(k *queueKey) bool { return k.state == tryMove }) {
			e.planStep(keys[i:j], n)
			return
		}
		i = j
	}
}

const mostAtOnce = 1024

// planStep asks a key for one message at first, and for twice as many after each round in which all came: a few tasks on an idle node
// shall not cost a miss for every slot that waits.
func (e *engine) planStep(keys []*queueKey, n int) {
	for planned := true; planned; {
		planned = false
		for _, k := range keys {
			if k.state != tryMove {
				continue
			}
			if k.asked == max(k.run, 1) {
				if e.ring.order != OrderRoundRobin {
					return // the others come after it
				}
				continue
			}
			if !e.ask(k) {
				return
			}
			planned = true
			if n--; n == 0 {
				return
			}
			if e.ring.order != OrderRoundRobin {
				break
			}
		}
	}
}

// ask adds an LMOVE of one message; false if it has to wait for a ticket.
func (e *engine) ask(k *queueKey) bool {
	t := e.ticket()
	if t == nil {
		return false
	}
	cmd := e.batch.claim(k.list, t.name(e.ring, e.incarnation, k))
	e.moves = append(e.moves, move{k, t, cmd})
	k.asked++
	return true
}

// ticket returns nil if there is none: then the registry grows in the next round.
func (e *engine) ticket() *ticket {
	t := e.tickets.take()
	if t == nil {
		e.b.inbox.call(e.growTickets)
	}
	return t
}

// moved takes in the reply of an LMOVE.
func (e *engine) moved(m move, now time.Time) error {
	e.shares.add(m.key.queue, -1)
	raw, err := m.cmd.Bytes()
	switch {
	case err == nil:
		m.key.lastHit = now
		e.ring.gave(m.key)
		e.adopt(e.newClaim(m.ticket, m.key, raw, now))
	case errors.Is(err, redis.Nil):
		e.tickets.put(m.ticket)
		if m.key.state == tryMove {
			m.key.state, m.key.run = tryBlock, 0
		}
	case answered(err):
		e.tickets.put(m.ticket)
		return err
	default:
		e.doubts = append(e.doubts, newDoubt(m.ticket, m.key, now, e.b.opt.Quarantine))
	}
	return nil
}

// newClaim makes a claim of a message that arrived in a claim key.
func (e *engine) newClaim(t *ticket, k *queueKey, raw []byte, now time.Time) *claim {
	name := t.name(e.ring, e.incarnation, k)
	c := &claim{
		Delivery: celery.Delivery{Queue: k.queue, Key: k.list, Claim: name, Raw: raw, Claimed: now},
		name:     name, ticket: t, key: k,
	}
	e.claims[&c.Delivery] = c
	e.shares.add(k.queue, 1)
	e.tally.claimed.Add(1)
	return c
}

// adopt gives a claim to the slot that waited last. Without a slot that it may have it goes back where it came from. A process that was paused reads replies
// that are as old as its lease: then it has to be seen first whether the claim is still ours.
func (e *engine) adopt(c *claim) {
	k := c.key
	AtClaimed.Pass()
	if e.b.lease.lapsed(time.Now()) {
		e.unserved = append(e.unserved, c)
		return
	}
	for !e.draining && !e.paused && (!k.removed || c.heir) && len(e.waiters) > 0 && e.mayServe(c, len(e.waiters)) {
		w := e.waiters[len(e.waiters)-1]
		e.waiters[len(e.waiters)-1] = nil
		e.waiters = e.waiters[:len(e.waiters)-1]
		if w.answer(&c.Delivery, nil) {
			e.b.lease.busy(len(e.claims) > 0)
			return
		}
	}
	if (!k.removed || c.heir) && e.hold(c) {
		return
	}
	if c.heir {
		e.unserved = append(e.unserved, c)
		return
	}
	e.giveBack(c)
	if k.state == tryBlock {
		k.state = tryMove // we know that something is there
	}
}

// giveBack owes a claim's return to the consuming end of its queue.
func (e *engine) giveBack(c *claim) {
	e.tally.putBack.Add(1)
	e.giveAway(c, PutBack)
}

func (e *engine) giveAway(c *claim, how Action) {
	c.ending = true
	e.shares.add(c.Queue, -1)
	e.owed = append(e.owed, &work{
		finished: Finished{Delivery: &c.Delivery, Settlement: Settlement{Action: how}},
		settles:  true, stored: true, claim: c, reply: make(chan reply, 1),
	})
}

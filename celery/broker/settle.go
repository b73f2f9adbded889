package broker

import (
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
)

// admit finds the claim of a settlement and tells whether the engine has something to write for it now.
func (e *engine) admit(w *work) bool {
	s := &w.finished.Settlement
	if d := w.finished.Delivery; d != nil && w.claim == nil {
		c := e.claims[d]
		switch {
		case c != nil && c.taken:
			e.drop(w, c)
			return false
		case s.Action == Keep: // an acknowledged delivery may still have results
		case c == nil || c.ending:
			e.log.Error("settlement of a delivery that is not held", "queue", d.Queue, "reason", string(s.Action), "next", "ignore")
			if w.wants {
				e.await(w)
			} else {
				w.answer(nil, ErrNotHeld)
			}
			return false
		default:
			c.ending = true
			e.shares.add(c.Queue, -1)
			w.claim = c
		}
	}
	if len(s.Results) == 0 {
		w.stored = true
	}
	if !w.stored && e.b.storer.first(s) {
		e.b.storer.put(w)
		return false
	}
	return true
}

// drop ends a settlement whose claim somebody took: what it brings is no longer ours to write.
func (e *engine) drop(w *work, c *claim) {
	e.log.Warn("results dropped: the claim is not ours any more", "queue", c.Queue, "next", "it runs again where it is now")
	if w.finished.Settlement.Action != Keep {
		delete(e.claims, &c.Delivery)
	}
	if w.wants {
		e.await(w)
		return
	}
	w.answer(nil, ErrTaken)
}

// write adds the commands of a settlement to the batch: results, then what becomes of the claim.
func (e *engine) write(w *work) {
	s := &w.finished.Settlement
	if !w.stored {
		for _, r := range s.Results {
			w.sets = append(w.sets, e.batch.set(r.Key, r.Document))
			w.pubs = append(w.pubs, e.batch.publish(r.Key, r.Document))
		}
	}
	if w.claim == nil {
		return
	}
	c := w.claim
	switch s.Action {
	case Ack:
		w.move = e.batch.del(c.name)
	case PutBack:
		w.move = e.batch.putBack(c.name, c.Key)
	case Requeue:
		w.move = e.batch.do(purposeSettle, giveScript.args([]string{c.name, c.Key}, marked(c.Raw, s.Died), "LPUSH")...)
	case redeliver:
		w.move = e.batch.do(purposeRecover, giveScript.args([]string{c.name, c.Key}, marked(c.Raw, true), "RPUSH")...)
	case Park:
		w.move = e.b.parking.add(e.batch, c.name, &c.Delivery, s)
	case Bury:
		w.move = e.b.graves.add(e.batch, c.name, &c.Delivery, s.Dead)
	}
}

// written reads the replies of a settlement and tells whether it is ended. If not it is written again in the next round; each
// part may be repeated: the key in which the message lies decides, and its ticket is not used until we know.
func (e *engine) written(w *work) (ended bool, refusal error) {
	if !w.stored {
		stored, err := w.storedNow()
		refusal = err
		w.stored = stored
		if !stored && err != nil {
			e.b.storer.refused()
		}
	}
	clear(w.sets)
	clear(w.pubs)
	w.sets, w.pubs = w.sets[:0], w.pubs[:0]
	if w.claim != nil && w.move != nil {
		err := w.move.Err()
		switch {
		case err == nil || errors.Is(err, redis.Nil):
			e.release(w, took(w.move))
		case answered(err):
			refusal = err
		default:
			w.resent = true
		}
	} else if w.claim == nil && !w.stored {
		w.resent = true
	}
	w.move = nil
	if !w.stored || w.claim != nil {
		return false, refusal
	}
	return true, refusal
}

// storedNow tells whether all results were stored. A refused PUBLISH is not worth holding a task for: who waits reads the key.
func (w *work) storedNow() (bool, error) {
	for _, c := range w.sets {
		if err := c.Err(); err != nil && err != redis.Nil { // nothing was replaced
			return false, refused(err)
		}
	}
	for _, c := range w.pubs {
		if err := c.Err(); err != nil && !answered(err) {
			return false, nil
		}
	}
	return true, nil
}

// took tells from the reply whether the claim was still there.
func took(c redis.Cmder) bool {
	switch c := c.(type) {
	case *redis.IntCmd:
		return c.Val() > 0
	case *redis.StringCmd:
		return c.Err() == nil
	case *redis.Cmd:
		n, _ := c.Int()
		return n > 0
	}
	return false
}

// release ends a claim whose settlement was answered.
func (e *engine) release(w *work, ours bool) {
	c := w.claim
	w.claim = nil
	action := w.finished.Settlement.Action
	if c.ticket == nil { // of a dead node: whoever was first has done it
		if ours {
			e.tally.recovered.Add(1)
			AtRecovered.Pass()
			e.log.Info("message of a dead node given back", "queue", c.Queue, "reason", string(action))
		}
		return
	}
	delete(e.claims, &c.Delivery)
	e.tickets.put(c.ticket)
	e.b.lease.busy(len(e.claims) > 0)
	switch {
	case ours || w.resent: // the cut attempt did it
		e.tally.settled.Add(1)
		e.b.settledAs(action, &w.finished.Settlement)
	case !e.b.lease.lapsed(time.Now()): // while it holds nobody takes our claims
		e.forget(c)
		e.b.lease.suspect()
	default:
		e.tally.taken.Add(1)
		e.log.Warn("claim was taken by another node", "queue", c.Queue, "key", c.name, "reason", string(action), "next", "it runs again there")
	}
}

// settledAs tells the other loops what they have to know.
func (b *Broker) settledAs(a Action, s *Settlement) {
	switch a {
	case Park:
		AtParking.Pass()
		b.tally.parked.Add(1)
		b.parking.notice(s.Until)
	case Bury:
		AtBuried.Pass()
		b.tally.buried.Add(1)
	default:
		AtSettled.Pass()
	}
}

// marked is the message with its redelivered flags set, and with the delivery count raised if died. A message that
// cannot be edited stays as it is.
func marked(raw []byte, died bool) []byte {
	n := celery.Deliveries(raw)
	if died {
		n++
	}
	edited, err := celery.Redelivered(raw, n)
	if err != nil {
		return raw
	}
	return edited
}

package broker

import (
	"maps"
	"time"

	"github.com/agensium/agensium/celery"
)

// Share is what one queue is given of the slots against the others.
type Share struct {
	Min    int // slots that no other queue may take
	Weight int // its part of the rest; 0 counts as 1
}

// SetShares divides the slots between queues, so that the flood of one does not starve another. A queue's minimum stays free for it, also
// while it is empty, since a running task is never stopped for a newcomer. The rest goes by weight to the queues that have messages,
// before priority, which counts within a queue, and before the queues' turn, which decides where they are equal. most is how many slots
// there can be: minima that would shut a queue out give way. With nil, claims come in kombu's order. It costs no command.
func (b *Broker) SetShares(most int, of map[string]Share) {
	var s *shares
	if len(of) > 0 {
		s = &shares{most: most, of: maps.Clone(of), taken: map[string]int{}}
	}
	b.inbox.call(func() { b.eng.setShares(s) })
}

func (e *engine) setShares(s *shares) {
	e.shares = s
	s.count(e.ring.queues, e.claims)
	if c := e.held; c != nil { // a slot may have it now
		e.held = nil
		e.adopt(c)
	}
}

// shares is the division in force. The engine owns it.
type shares struct {
	most  int
	of    map[string]Share
	kept  map[string]int // minima of the queues that are consumed, as far as they hold
	taken map[string]int // slots that each queue has, or is about to have
	heads []*queueKey    // of the round being planned: the most urgent key of each queue that may have something
}

// count looks what the queues have.
func (s *shares) count(queues []string, claims map[*celery.Delivery]*claim) {
	if s == nil {
		return
	}
	s.kept = keep(s.most, queues, s.of)
	clear(s.taken)
	for _, c := range claims {
		if !c.ending {
			s.taken[c.Queue]++
		}
	}
}

// add counts slots that a queue gets or gives up until the next count.
func (s *shares) add(queue string, n int) {
	if s != nil {
		s.taken[queue] += n
	}
}

// keep says which minima hold. No queue may be shut out: if some would have neither a minimum nor a slot that is open to it, one slot
// is open to all.
func keep(most int, queues []string, of map[string]Share) map[string]int {
	kept, left, without := map[string]int{}, most, false
	for _, q := range queues {
		kept[q] = min(max(0, of[q].Min), left)
		left -= kept[q]
		without = without || kept[q] == 0
	}
	for i := len(queues) - 1; without && left == 0 && i >= 0; i-- {
		if kept[queues[i]] > 0 {
			kept[queues[i]]--
			left++
		}
	}
	return kept
}

// barred tells whether the queue has to leave the free slots to others.
func (s *shares) barred(queue string, free int) bool {
	if s == nil || s.taken[queue] < s.kept[queue] {
		return false
	}
	for q, n := range s.kept {
		free -= max(0, n-s.taken[q])
	}
	return free <= 0
}

// before tells whether one more slot is due to a rather than to b: the smaller part for its weight, beyond the minimum.
func (s *shares) before(a, b string) bool {
	if below := s.taken[a] < s.kept[a]; below != (s.taken[b] < s.kept[b]) {
		return below
	}
	part := func(q string) int { return s.taken[q] - min(s.taken[q], s.kept[q]) }
	return part(a)*max(1, s.of[b].Weight) < part(b)*max(1, s.of[a].Weight)
}

// begin notes which key of each queue is asked in this round. keys are in kombu's order.
func (s *shares) begin(keys []*queueKey, now time.Time) {
	s.heads = s.heads[:0]
next:
	for _, k := range keys {
		if k.state == resting && !now.Before(k.restUntil) {
			k.state = tryMove
		}
		if k.state != tryMove {
			continue
		}
		for _, h := range s.heads {
			if h.queue == k.queue {
				continue next
			}
		}
		s.heads = append(s.heads, k)
	}
}

// next is the key that one of so many free slots asks; nil if there is none that it may.
func (s *shares) next(free int) *queueKey {
	var first *queueKey
	for _, k := range s.heads {
		if k.asked < max(k.run, 1) && (first == nil || s.before(k.queue, first.queue)) && !s.barred(k.queue, free) {
			first = k
		}
	}
	return first
}

// planShares adds an LMOVE for each of n slots, from the queues that are furthest behind their share.
func (e *engine) planShares(n int) {
	s := e.shares
	for s.begin(e.ring.keys, time.Now()); n > 0; n-- {
		k := s.next(n)
		if k == nil || !e.ask(k) {
			return
		}
		s.add(k.queue, 1) // until there is a reply
	}
}

// mayServe tells whether one of the slots that wait may have the claim.
func (e *engine) mayServe(c *claim, waiting int) bool {
	if e.shares == nil || c.heir {
		return true
	}
	e.shares.add(c.Queue, -1) // it is counted already
	defer e.shares.add(c.Queue, 1)
	return !e.shares.barred(c.Queue, waiting)
}

package broker

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// keyState says how the engine gets at the messages of a queue key.
type keyState uint8

const (
	tryMove  keyState = iota // LMOVE may find something
	tryBlock                 // BLMOVE next time: it was empty when last seen
	blocked                  // a BLMOVE is waiting; LMOVE is not allowed
	resting                  // empty, and there are too many keys to wait on all: LMOVE again at restUntil
)

// queueKey is one Redis list: a queue at one priority step. The engine owns it.
type queueKey struct {
	queue     string
	list      string
	step      int
	index     int // position in ticket.names; never reused
	state     keyState
	removed   bool  // its queue is no longer consumed
	line      *line // the connection to wait on; nil until first needed
	run       int   // how many LMOVEs the next round may have for it
	asked     int   // how many the round under way has
	restUntil time.Time
	lastHit   time.Time
}

// keyring knows the names of all keys and the order in which kombu would ask the queues
// (kombu/transport/redis.py _brpop_start, protocol notes B.3): priority step first, then the queues in turn.
type keyring struct {
	prefix    string
	separator string
	steps     []int
	order     string
	queues    []string // in turn: whoever gave a message goes to the end
	keys      []*queueKey
	next      int
}

func newKeyring(o *Options) *keyring {
	r := &keyring{prefix: o.KeyPrefix, separator: o.Separator, steps: slices.Sorted(slices.Values(o.PrioritySteps)), order: o.QueueOrder}
	for _, q := range o.Queues {
		r.add(q)
	}
	return r
}

func (r *keyring) add(queue string) bool {
	if slices.Contains(r.queues, queue) {
		return false
	}
	r.queues = append(r.queues, queue)
	if r.order == OrderSorted {
		sort.Strings(r.queues)
	}
	for _, s := range r.steps {
		r.keys = append(r.keys, &queueKey{queue: queue, list: r.list(queue, s), step: s, index: r.next})
		r.next++
	}
	r.arrange()
	return true
}

// remove takes a queue out and returns its keys.
func (r *keyring) remove(queue string) []*queueKey {
	i := slices.Index(r.queues, queue)
	if i < 0 {
		return nil
	}
	r.queues = slices.Delete(r.queues, i, i+1)
	var gone []*queueKey
	r.keys = slices.DeleteFunc(r.keys, func(k *queueKey) bool {
		if k.queue != queue {
			return false
		}
		k.removed = true
		gone = append(gone, k)
		return true
	})
	return gone
}

// gave moves the queue of k to the end of the line.
func (r *keyring) gave(k *queueKey) {
	if len(r.queues) < 2 || r.order != OrderRoundRobin || k.removed {
		return
	}
	i := slices.Index(r.queues, k.queue)
	copy(r.queues[i:], r.queues[i+1:])
	r.queues[len(r.queues)-1] = k.queue
	r.arrange()
}

// arrange sorts the keys by priority step, then by the queues' turn.
func (r *keyring) arrange() {
	if len(r.queues) == 1 {
		return
	}
	slices.SortStableFunc(r.keys, func(a, b *queueKey) int {
		if a.step != b.step {
			return a.step - b.step
		}
		return slices.Index(r.queues, a.queue) - slices.Index(r.queues, b.queue)
	})
}

func (r *keyring) lists() []string {
	l := make([]string, len(r.keys))
	for i, k := range r.keys {
		l[i] = k.list
	}
	sort.Strings(l)
	return l
}

// list is the Redis key of a queue at a priority step; step 0 has the bare name.
func (r *keyring) list(queue string, step int) string {
	if step == 0 {
		return r.prefix + queue
	}
	return r.prefix + queue + r.separator + strconv.Itoa(step)
}

// listFor is the key that a message of this raw priority belongs in: clamped to 0..9, rounded down to a step
// (kombu/transport/redis.py _q_for_pri, protocol notes B.2).
func (r *keyring) listFor(queue string, priority int) string {
	priority = min(max(priority, 0), 9)
	step := 0
	for _, s := range r.steps {
		if s <= priority {
			step = max(step, s)
		}
	}
	return r.list(queue, step)
}

// queueOf is the inverse of list.
func (r *keyring) queueOf(list string) string {
	q := strings.TrimPrefix(list, r.prefix)
	if i := strings.LastIndex(q, r.separator); i > 0 {
		if _, err := strconv.Atoi(q[i+len(r.separator):]); err == nil {
			return q[:i]
		}
	}
	return q
}

func (r *keyring) claim(incarnation string, ticket int, list string) string {
	return fmt.Sprintf("%sagensium:claim:%s:%d:%s", r.prefix, incarnation, ticket, list)
}

func (r *keyring) lease(incarnation string) string { return r.prefix + "agensium:lease:" + incarnation }
func (r *keyring) nodes() string                   { return r.prefix + "agensium:nodes" }
func (r *keyring) notice() string                  { return r.prefix + "agensium:notice" }
func (r *keyring) parked() string                  { return r.prefix + "agensium:parked" }
func (r *keyring) dead() string                    { return r.prefix + "agensium:dead" }
func (r *keyring) deadIndex() string               { return r.prefix + "agensium:dead:index" }

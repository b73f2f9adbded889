package broker

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agensium/agensium/celery/redisconn"
)

// purpose is what a Redis command is for; some providers bill by the command.
type purpose int

const (
	purposeClaim purpose = iota
	purposeWait
	purposeResult
	purposeSettle
	purposeLease
	purposeRegistry
	purposeRecover
	purposePark
	purposeUnacked
	purposeDead
	purposeSample
	purposeLimit
	purposes
)

var purposeNames = [purposes]string{"claim", "wait", "result", "settle", "lease", "registry", "recover", "park", "unacked", "dead", "sample", "limit"}

// counters counts the commands sent, those that were cut off included.
type counters [purposes]atomic.Uint64

func (c *counters) add(p purpose, n int) { c[p].Add(uint64(n)) }

// Condition is a state of a Redis that keeps us from working.
type Condition struct {
	Name  string    `json:"name"` // as redisconn names it
	Hint  string    `json:"hint"`
	Error string    `json:"error"`
	Since time.Time `json:"since"`
}

// Status is a snapshot. Counters are since the broker was made.
type Status struct {
	Connected   bool              `json:"connected"` // the last round was answered
	Condition   *Condition        `json:"condition,omitempty"`
	Results     *Condition        `json:"results_condition,omitempty"` // of the result store, if it is another server
	Incarnation string            `json:"incarnation"`
	Draining    bool              `json:"draining"`
	Paused      bool              `json:"paused"`  // nothing is claimed, as asked
	Waiting     int               `json:"waiting"` // slots that wait for a delivery
	Claims      int               `json:"claims"`  // deliveries held
	Held        bool              `json:"held"`    // one of them waits for a slot that is to come, see Broker.Spare
	Owed        int               `json:"owed"`    // settlements not written yet
	Doubts      int               `json:"doubts"`  // claim keys that a cut connection may still fill
	Blocked     int               `json:"blocked"` // BLMOVEs that wait
	LeaseAge    time.Duration     `json:"lease_age"`
	LeaseTTL    time.Duration     `json:"lease_ttl"`
	Claimed     uint64            `json:"claimed"`
	Settled     uint64            `json:"settled"`
	Taken       uint64            `json:"taken"`     // claims that somebody took from us
	Forgotten   uint64            `json:"forgotten"` // claims that Redis has no more, though nobody may have taken them
	PutBack     uint64            `json:"put_back"`  // landings without a free slot, and what a drain left
	Recovered   uint64            `json:"recovered"` // messages of the dead that we gave back
	Lapses      uint64            `json:"lapses"`    // leases that we could not renew in time
	Parked      uint64            `json:"parked"`
	Woken       uint64            `json:"woken"`
	Restored    uint64            `json:"restored"` // from stock Celery's unacked
	Buried      uint64            `json:"buried"`
	Connections int               `json:"connections"` // open now
	Dialed      uint64            `json:"dialed"`      // ever
	Reconnects  uint64            `json:"reconnects"`  // times that Redis was usable again after it was not
	Commands    map[string]uint64 `json:"commands"`    // Redis commands by purpose
}

// tally is what the loops write and Status reads.
type tally struct {
	commands                                                       counters
	claimed, settled, taken, forgotten, putBack, recovered, lapses atomic.Uint64
	parked, woken, restored, buried, reconnects                    atomic.Uint64
	waiting, claims, owed, doubts, blocked                         atomic.Int64
	connected, held, paused                                        atomic.Bool
	queues, results                                                condition
}

// condition holds the present state of one server.
type condition struct {
	mu   sync.Mutex
	now  *Condition
	told []string // the names that it had since all was well
}

// set notes err and reports whether that is news: a server that is overwhelmed may refuse in turns.
func (c *condition) set(err error) (_ Condition, news bool) {
	k := redisconn.Classify(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now != nil && c.now.Name == k.Name {
		n := *c.now
		n.Error = err.Error()
		c.now = &n
		return n, false
	}
	c.now = &Condition{Name: k.Name, Hint: k.Hint, Error: err.Error(), Since: time.Now()}
	news = !slices.Contains(c.told, k.Name)
	if news {
		c.told = append(c.told, k.Name)
	}
	return *c.now, news
}

// clear reports how long the condition lasted; 0 if there was none.
func (c *condition) clear() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now == nil {
		return 0
	}
	d := time.Since(c.now.Since)
	c.now, c.told = nil, nil
	return max(d, 1)
}

func (c *condition) get() *Condition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Status may be called by anyone at any time.
func (b *Broker) Status() Status {
	t := &b.tally
	s := Status{
		Connected: t.connected.Load(), Condition: t.queues.get(), Results: t.results.get(),
		Draining: b.draining.Load(), Waiting: int(t.waiting.Load()), Claims: int(t.claims.Load()), Held: t.held.Load(), Paused: t.paused.Load(), Owed: int(t.owed.Load()),
		Doubts: int(t.doubts.Load()), Blocked: int(t.blocked.Load()),
		Claimed: t.claimed.Load(), Settled: t.settled.Load(), Taken: t.taken.Load(), Forgotten: t.forgotten.Load(), PutBack: t.putBack.Load(),
		Recovered: t.recovered.Load(), Lapses: t.lapses.Load(), Parked: t.parked.Load(), Woken: t.woken.Load(),
		Restored: t.restored.Load(), Buried: t.buried.Load(), Reconnects: t.reconnects.Load(),
		Commands: make(map[string]uint64, purposes),
	}
	s.Connections, s.Dialed = b.conns.count()
	s.Incarnation, s.LeaseAge, s.LeaseTTL = b.lease.snapshot()
	for p, name := range purposeNames {
		s.Commands[name] = t.commands[p].Load()
	}
	return s
}

package control

import (
	"container/list"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
)

// How many revocations are kept, and for how long, if the options do not say (CELERY_WORKER_REVOKES_MAX, …_EXPIRES).
const (
	RevokedMost = 50_000
	RevokedAge  = 3 * time.Hour
)

// Revoked is the list of revoked tasks: ids, and values of stamped headers. The oldest go when there are too many,
// each goes when it is too old. The nodes share it through one key in Redis, so that a node that starts later knows
// too; see revoked_store.go. Any goroutine may use it.
type Revoked struct {
	bounds atomic.Pointer[revokedBounds]
	names  Names
	link   *link
	log    hclog.Logger

	once   sync.Once
	loaded chan struct{}

	saving  sync.Mutex // held by who writes the shared list
	mu      sync.Mutex // guards what follows
	entries map[string]*list.Element
	order   list.List // of *revocation, the oldest first
	stamps  int       // how many of them are of stamps
	unsaved []revocation
}

// revocation is one entry. The name is "i" and the id of a task, or "s", a header, a zero byte and the value's JSON.
type revocation struct {
	name string
	at   time.Time // to the minute: nodes that were told by the same broadcast agree on it
}

const (
	ofID    = "i"
	ofStamp = "s"
)

type revokedBounds struct {
	most int
	age  time.Duration
}

func newRevoked(most int, age time.Duration, names Names, k *link, log hclog.Logger) *Revoked {
	r := &Revoked{names: names, link: k, log: log, entries: map[string]*list.Element{}, loaded: make(chan struct{})}
	r.SetBounds(most, age)
	return r
}

// SetBounds changes how many revocations are kept and for how long, from the next one on; 0: RevokedMost, RevokedAge.
func (r *Revoked) SetBounds(most int, age time.Duration) {
	if most <= 0 {
		most = RevokedMost
	}
	if age <= 0 {
		age = RevokedAge
	}
	r.bounds.Store(&revokedBounds{most, age})
}

func (r *Revoked) most() int          { return r.bounds.Load().most }
func (r *Revoked) age() time.Duration { return r.bounds.Load().age }

// Loaded is closed when the shared list has been read for the first time. A task that is claimed before may be one that was
// revoked before this node started.
func (r *Revoked) Loaded() <-chan struct{} { return r.loaded }

// Task tells whether a task is revoked, and by what: its id, or a stamp such as "monitoring_id=abc".
func (r *Revoked) Task(t *celery.Task) (by string, revoked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.has(ofID + t.ID) {
		return t.ID, true
	}
	if r.stamps == 0 || len(t.Stamps) == 0 {
		return "", false
	}
	for header, values := range stampValues(t.Stamps) {
		for _, value := range values {
			if r.has(stampName(header, value)) {
				return header + "=" + value, true
			}
		}
	}
	return "", false
}

// Add puts ids on this node's list alone: tasks that expired here, or that another worker told us of.
func (r *Revoked) Add(ids ...string) {
	now := minute(time.Now())
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		r.put(revocation{ofID + id, now})
	}
}

// IDs lists the revoked ids, the oldest first.
func (r *Revoked) IDs() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.purge()
	ids := make([]string, 0, len(r.entries))
	for e := r.order.Front(); e != nil; e = e.Next() {
		if id, ok := strings.CutPrefix(e.Value.(revocation).name, ofID); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// has tells whether an entry is there and not too old. The caller holds mu.
func (r *Revoked) has(name string) bool {
	e, ok := r.entries[name]
	return ok && time.Since(e.Value.(revocation).at) < r.age()+time.Minute
}

// put adds an entry, or renews it if it is newer. The caller holds mu.
func (r *Revoked) put(n revocation) {
	if e, ok := r.entries[n.name]; ok {
		if !n.at.After(e.Value.(revocation).at) {
			return
		}
		r.remove(e)
	}
	after := r.order.Back()
	for after != nil && after.Value.(revocation).at.After(n.at) {
		after = after.Prev()
	}
	if after == nil {
		r.entries[n.name] = r.order.PushFront(n)
	} else {
		r.entries[n.name] = r.order.InsertAfter(n, after)
	}
	if strings.HasPrefix(n.name, ofStamp) {
		r.stamps++
	}
	for len(r.entries) > r.most() {
		r.remove(r.order.Front())
	}
}

// purge drops what is too old. The caller holds mu.
func (r *Revoked) purge() {
	for e := r.order.Front(); e != nil && !r.has(e.Value.(revocation).name); e = r.order.Front() {
		r.remove(e)
	}
}

func (r *Revoked) remove(e *list.Element) {
	n := r.order.Remove(e).(revocation)
	delete(r.entries, n.name)
	if strings.HasPrefix(n.name, ofStamp) {
		r.stamps--
	}
}

// minute is the time to the minute, upwards. Rounding keeps the many nodes that hear the same broadcast from writing and
// announcing it one after the other.
func minute(t time.Time) time.Time { return t.Add(time.Minute - 1).Truncate(time.Minute) }

func stampName(header, value string) string { return ofStamp + header + "\x00" + value }

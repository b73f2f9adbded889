package supervisor

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/supervisor/autoscale"
)

const (
	meetEvery = 5 * time.Second        // while this node works
	meetSoon  = 250 * time.Millisecond // between two meetings, whoever announces itself
	meetLease = 3 * meetEvery          // a dead node counts for so long
)

// fleet knows the other nodes that work on the same queues, so that each takes its part of what the load asks for. Nodes that have nothing to
// do say nothing and ask nothing. It belongs to the scaler's goroutine, but for announced.
type fleet struct {
	meet func(ctx context.Context, says []byte, ttl time.Duration) (map[string]string, error)
	log  hclog.Logger

	soon  atomic.Bool // somebody began to work
	there bool        // others may know of us
	last  time.Time   // meeting
	peers map[string]nodeSays
}

// nodeSays is what a node tells of itself.
type nodeSays struct {
	Capacity int                  `json:"capacity"`
	Size     int                  `json:"size"`
	Queues   map[string]queueSays `json:"queues"`
}

type queueSays struct {
	Busy    int   `json:"busy"`
	Claimed int64 `json:"claimed"` // since the node began
}

// announced is told that another node began to work. It may be called by anyone.
func (f *fleet) announced() { f.soon.Store(true) }

// look meets the others if it is time to, while this node works.
func (f *fleet) look(ctx context.Context, works bool, now time.Time, say func() nodeSays) {
	switch {
	case !works && !f.there:
		return
	case !works:
		f.leave(ctx)
		return
	}
	since := now.Sub(f.last)
	if f.there && since < meetEvery && !(f.soon.Load() && since >= meetSoon) {
		return
	}
	f.soon.Store(false)
	text, err := json.Marshal(say())
	if err != nil {
		panic(err) // numbers and names
	}
	f.last = now
	said, err := f.meet(ctx, text, meetLease)
	if err != nil {
		f.log.Debug("other nodes not met", "error", err)
		return // what is known of them is good for a while
	}
	f.there = true
	before := len(f.peers)
	f.peers = map[string]nodeSays{}
	for id, text := range said {
		var says nodeSays
		if err := json.Unmarshal([]byte(text), &says); err != nil {
			f.log.Warn("what a node says of itself is not readable", "id", id, "error", err, "next", "leave it out")
			continue
		}
		f.peers[id] = says
	}
	if len(f.peers) != before {
		f.log.Info("nodes that share the load", "nodes", len(f.peers)+1, "before", before+1)
	}
}

// leave takes back what was said, so that the others need not wait for its end.
func (f *fleet) leave(ctx context.Context) {
	if _, err := f.meet(ctx, nil, 0); err != nil {
		f.log.Debug("presence not taken back", "error", err, "next", "it ends by itself")
	}
	f.there, f.peers = false, nil
}

// list is what the decision needs of the others.
func (f *fleet) list() []autoscale.Peer {
	all := make([]autoscale.Peer, 0, len(f.peers))
	for _, id := range slices.Sorted(maps.Keys(f.peers)) {
		all = append(all, autoscale.Peer{ID: id, Capacity: f.peers[id].Capacity, Size: f.peers[id].Size})
	}
	return all
}

// queue is what the others together do for a queue.
func (f *fleet) queue(name string) (all queueSays) {
	for _, p := range f.peers {
		all.Busy += p.Queues[name].Busy
		all.Claimed += p.Queues[name].Claimed
	}
	return all
}

// ourselves is what this node says.
func (c *scaler) ourselves(s autoscale.Slots) func() nodeSays {
	return func() nodeSays {
		c.mu.Lock()
		d := c.last
		c.mu.Unlock()
		return nodeSays{Capacity: d.Capacity, Size: max(d.Target, s.Idle+s.Busy+s.Starting), Queues: c.estimates.ours(c.queues())}
	}
}

// listenForFleet has the scaler look when another node begins to work.
func (s *Supervisor) listenForFleet(ctx context.Context) {
	if s.control == nil {
		return
	}
	err := s.control.Subscribe(ctx, s.broker.FleetChannel(), func(id string) {
		if id != s.broker.Status().Incarnation {
			s.scaler.fleet.announced()
			s.scaler.nudge()
		}
	})
	if err != nil {
		s.log.Warn("listen for other nodes", "error", err, "next", "meet them from time to time")
	}
}

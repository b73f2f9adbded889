package autoscale

import (
	"slices"
	"strings"
)

// Peer is a node that consumes the same queues, as its presence in Redis tells.
type Peer struct {
	ID       string
	Capacity int // slots it could have: the lowest of its hard bounds
	Size     int // slots it has or has decided to have, whichever is more
}

// Share is this node's part of the fleet's slots. There is no leader: every node does the same arithmetic on what it knows, and
// takes its own part. Parts are equal, except that a node takes no more than it can have, and that a peer which still has
// more than its part keeps it, since busy slots are not given away: what is left is parted among the others. So the sum
// stays within the fleet's slots and one for each node, also while the nodes see different queues or have not yet seen a
// newcomer. A dead node's part falls to the others when its lease is over and it is no longer among the peers.
func Share(fleet int, self string, capacity int, peers []Peer) int {
	open := []Peer{{ID: self, Capacity: capacity}}
	for _, p := range peers {
		if p.ID != self {
			open = append(open, p)
		}
	}
	slices.SortFunc(open, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })

	left := max(0, fleet)
	for {
		settled := slices.IndexFunc(open, func(p Peer) bool {
			part := (left + len(open) - 1) / len(open)
			return p.ID != self && p.Size > part
		})
		if settled >= 0 {
			left = max(0, left-open[settled].Size)
			open = slices.Delete(open, settled, settled+1)
			continue
		}
		full := slices.IndexFunc(open, func(p Peer) bool { return p.Capacity < left/len(open) })
		if full < 0 {
			break
		}
		if open[full].ID == self {
			return max(0, capacity)
		}
		left -= max(0, open[full].Capacity)
		open = slices.Delete(open, full, full+1)
	}
	part := left / len(open)
	if rank := slices.IndexFunc(open, func(p Peer) bool { return p.ID == self }); rank < left%len(open) {
		part++
	}
	return min(part, max(0, capacity))
}

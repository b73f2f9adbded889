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
// takes its own part. Parts are equal, except that a peer gets no more than it can have, and that one which still has
// more than its part keeps it, since busy slots are not given away: what is left is parted among the others. This node's own
// bounds come later, and its peers know them as its capacity. A node tells of itself before
// it first decides, and its peers look at once when they hear of it: until then they would give its part to themselves. So the sum
// stays within the fleet's slots and one for each node, also while the nodes see different queues or have not yet seen a
// newcomer. A dead node's part falls to the others when its lease is over and it is no longer among the peers.
func Share(fleet int, self string, peers []Peer) int {
	open := []Peer{{ID: self}}
	for _, p := range peers {
		if p.ID != self {
			open = append(open, p)
		}
	}
	slices.SortFunc(open, func(a, b Peer) int { return strings.Compare(a.ID, b.ID) })

	left := max(0, fleet)
	for {
		settled := slices.IndexFunc(open, func(p Peer) bool {
			return p.ID != self && p.Size > part(left, 0, len(open))
		})
		if settled >= 0 {
			left = max(0, left-open[settled].Size)
			open = slices.Delete(open, settled, settled+1)
			continue
		}
		full := -1
		for i, p := range open {
			if p.ID != self && p.Capacity < part(left, i, len(open)) {
				full = i
				break
			}
		}
		if full < 0 {
			break
		}
		left -= max(0, open[full].Capacity)
		open = slices.Delete(open, full, full+1)
	}
	rank := slices.IndexFunc(open, func(p Peer) bool { return p.ID == self })
	return part(left, rank, len(open))
}

// part is the i-th of n whole parts; the first ones are larger if it does not come out even.
func part(whole, i, n int) int {
	if i < whole%n {
		return whole/n + 1
	}
	return whole / n
}

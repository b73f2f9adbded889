package autoscale

// Claim is what one queue asks for and is promised.
type Claim struct {
	Min    int // slots that no other queue may take
	Weight int // its part of the rest against other queues; 0 counts as 1
	Wants  int // slots it could use: running tasks and waiting messages
}

// Allocate says how many slots each queue may fill at the same time, so that one queue's flood leaves room for the others. Minima
// come first and stay free for their queue, also while it is empty, because a running task is never stopped for a newcomer.
// The rest is parted by weight among those that want more; what nobody wants now is open to all. The sum may therefore be
// more than there are slots, but whoever fills up to its number leaves every other queue its own part.
func Allocate(slots int, claims []Claim) []int {
	parts := make([]int, len(claims))
	left := max(0, slots)
	for i, c := range claims {
		parts[i] = min(max(0, c.Min), left)
		left -= parts[i]
	}
	for left > 0 {
		next := -1
		for i, c := range claims {
			if parts[i] < c.Wants && (next < 0 || hungrier(parts[i], c, parts[next], claims[next])) {
				next = i
			}
		}
		if next < 0 {
			break
		}
		parts[next]++
		left--
	}
	for i := range parts {
		parts[i] += left
	}
	return parts
}

// hungrier says whether one more slot is due to a rather than to b: the smaller part for its weight, beyond the minimum.
func hungrier(a int, ca Claim, b int, cb Claim) bool {
	return (a-min(a, max(0, ca.Min)))*max(1, cb.Weight) < (b-min(b, max(0, cb.Min)))*max(1, ca.Weight)
}

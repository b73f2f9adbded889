package autoscale

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestShare(t *testing.T) {
	peer := func(id string, capacity, size int) Peer { return Peer{ID: id, Capacity: capacity, Size: size} }
	tests := map[string]struct {
		fleet int
		peers []Peer
		want  int
	}{
		"alone":                          {10, nil, 10},
		"alone in the list":              {10, []Peer{peer("m", 4, 4)}, 10},
		"equal parts":                    {10, []Peer{peer("a", 99, 1), peer("z", 99, 1)}, 3},
		"the rest by name":               {11, []Peer{peer("a", 99, 1), peer("z", 99, 1)}, 4},
		"a small peer takes less":        {30, []Peer{peer("a", 2, 1)}, 28},
		"a peer that holds on":           {16, []Peer{peer("a", 99, 10), peer("z", 99, 1)}, 3},
		"a peer that holds all":          {16, []Peer{peer("a", 99, 20)}, 0},
		"nothing to share":               {0, []Peer{peer("a", 99, 1)}, 0},
		"small peers, and one holds on":  {40, []Peer{peer("a", 3, 1), peer("z", 99, 30)}, 7},
		"a peer without room for a slot": {5, []Peer{peer("a", 0, 0)}, 5},
	}
	for name, test := range tests {
		if got := Share(test.fleet, "m", test.peers); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// Nodes that see the same make it exact: nothing is left over, nothing is taken twice.
func TestSharesSumUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fleet := rapid.IntRange(0, 200).Draw(t, "fleet")
		var peers []Peer
		for i := range rapid.IntRange(1, 6).Draw(t, "nodes") {
			peers = append(peers, Peer{ID: fmt.Sprint(i), Capacity: rapid.IntRange(0, 60).Draw(t, "capacity")})
		}
		sum, room := 0, 0
		for _, p := range peers {
			sum += min(Share(fleet, p.ID, peers), p.Capacity)
			room += p.Capacity
		}
		if sum != min(fleet, room) {
			t.Fatalf("%d shared out of %d, with room for %d", sum, fleet, room)
		}
	})
}

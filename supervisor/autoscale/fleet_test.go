package autoscale

import (
	"fmt"
	"slices"
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

func TestAllocate(t *testing.T) {
	tests := map[string]struct {
		slots  int
		claims []Claim
		want   []int
	}{
		"one queue":               {8, []Claim{{Wants: 100}}, []int{8}},
		"a flood and a trickle":   {8, []Claim{{Wants: 100}, {Wants: 2}}, []int{6, 2}},
		"two floods":              {8, []Claim{{Wants: 100}, {Wants: 100}}, []int{4, 4}},
		"weights":                 {8, []Claim{{Weight: 3, Wants: 100}, {Weight: 1, Wants: 100}}, []int{6, 2}},
		"a minimum stays free":    {8, []Claim{{Wants: 100}, {Min: 2}}, []int{6, 2}},
		"nobody wants the rest":   {8, []Claim{{Wants: 1}, {Min: 2}}, []int{6, 7}},
		"more minima than slots":  {2, []Claim{{Min: 2}, {Min: 2, Wants: 9}}, []int{2, 0}},
		"minimum, then the parts": {9, []Claim{{Min: 3, Wants: 100}, {Wants: 100}}, []int{6, 3}},
		"no slots":                {0, []Claim{{Wants: 3}}, []int{0}},
	}
	for name, test := range tests {
		if got := Allocate(test.slots, test.claims); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}

// Whoever fills up to its number leaves the others their minima; and all slots can be used.
func TestAllocateStarvesNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(0, 60).Draw(t, "slots")
		var claims []Claim
		minima, wants := 0, 0
		for range rapid.IntRange(1, 5).Draw(t, "queues") {
			c := Claim{Min: rapid.IntRange(0, 5).Draw(t, "min"), Weight: rapid.IntRange(0, 5).Draw(t, "weight"),
				Wants: rapid.IntRange(0, 80).Draw(t, "wants")}
			claims = append(claims, c)
			minima += c.Min
			wants += max(c.Min, c.Wants)
		}
		parts := Allocate(slots, claims)
		usable := 0
		for i, c := range claims {
			if minima <= slots && parts[i] > slots-(minima-c.Min) {
				t.Fatalf("queue %d may fill %d of %d and leaves no minimum: %v", i, parts[i], slots, parts)
			}
			if minima <= slots && parts[i] < c.Min {
				t.Fatalf("queue %d has less than its minimum: %v", i, parts)
			}
			usable += min(parts[i], max(c.Min, c.Wants))
		}
		if usable < min(slots, wants) {
			t.Fatalf("%d of %d slots can be used, %d are wanted: %v", usable, slots, wants, parts)
		}
	})
}

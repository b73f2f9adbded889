package autoscale

import (
	"fmt"
	"math"
	"time"
)

// Bound names what held the target below the wish.
type Bound string

// The bounds, in the order in which they are asked; the lowest holds.
const (
	BoundNone        Bound = ""
	BoundMax         Bound = "max"         // Policy.Max
	BoundControl     Bound = "control"     // Policy.Temporary
	BoundMemory      Bound = "memory"      // what fits, or pressure
	BoundConnections Bound = "connections" // the budget of connections
	BoundCPU         Bound = "cpu"         // the quota
	BoundThroughput  Bound = "throughput"  // more slots finished no more tasks
	BoundStarts      Bound = "starts"      // enough executors are starting
)

// limit is one bound with its number and the words for it. A hard one also holds the minimum down.
type limit struct {
	bound Bound
	slots int
	hard  bool
	words func() string
}

// limits lists the bounds that exist now.
func (s State) limits(policy Policy, sample Sample, temporary Temporary) []limit {
	all := make([]limit, 0, 8)
	add := func(bound Bound, slots int, hard bool, words func() string) {
		all = append(all, limit{bound, max(0, slots), hard, words})
	}
	if n := temporary.Floor; n > policy.Max {
		add(BoundControl, n, true, func() string { return fmt.Sprintf("%d until told otherwise", n) })
	} else {
		add(BoundMax, policy.Max, true, func() string { return fmt.Sprintf("%d allowed", policy.Max) })
	}
	if n := temporary.Ceiling; n > 0 {
		add(BoundControl, n, true, func() string { return fmt.Sprintf("%d until told otherwise", n) })
	}
	m := sample.Memory
	if room, ok := m.Room(); ok {
		add(BoundMemory, max(1, room), true, func() string {
			return fmt.Sprintf("%s left ÷ %s", size(max(0, m.free())), size(m.Child))
		})
	}
	alive := sample.Slots.size()
	if s.pressure >= NoStarts {
		keep := alive
		if s.pressure >= ShedIdle && sample.Slots.Idle > 0 {
			keep--
		}
		add(BoundMemory, max(1, keep), true, func() string { return "pressure, " + s.pressure.String() })
	}
	if n := sample.Connections; n > 0 {
		add(BoundConnections, n, true, func() string { return fmt.Sprintf("%d in the budget", n) })
	}
	if c := sample.CPU; c.Cores > 0 && c.PerTask > 0 {
		fit := int(min(math.Floor(c.Cores/c.PerTask+0.05), math.MaxInt32))
		add(BoundCPU, max(1, fit), false, func() string {
			return fmt.Sprintf("%.3g processors ÷ %.2g for a task", c.Cores, c.PerTask)
		})
	}
	if n := sample.Useful; n > 0 {
		add(BoundThroughput, n, false, func() string { return fmt.Sprintf("more than %d slots finish no more tasks", n) })
	}
	starts := startLimit(policy, sample)
	add(BoundStarts, alive+max(0, starts-sample.Slots.Starting), true, func() string {
		return fmt.Sprintf("%d at a time, %d starting", starts, sample.Slots.Starting)
	})
	return all
}

// startLimit is how many executors may be starting at the same time: as many as the processors can start in one second, at
// least one for each processor. A fork from a warm zygote takes milliseconds, so that all may start at once; an import of some
// seconds keeps a processor to itself.
func startLimit(policy Policy, sample Sample) int {
	if policy.Starts > 0 {
		return policy.Starts
	}
	cores := max(1, sample.CPU.Cores)
	if start := sample.StartTime; start > 0 {
		return int(min(cores*max(1, float64(time.Second)/float64(start)), math.MaxInt32))
	}
	return math.MaxInt32
}

// capacity is the number of slots that this node could have if all were wished for.
func capacity(all []limit) int {
	n := math.MaxInt
	for _, l := range all {
		if l.hard && l.bound != BoundStarts {
			n = min(n, l.slots)
		}
	}
	return n
}

// hold lowers the wanted number to the lowest bound. A soft bound never holds below the floor.
func hold(want, floor int, all []limit) (int, *limit) {
	var held *limit
	for i, l := range all {
		slots := l.slots
		if !l.hard {
			slots = max(slots, floor)
		}
		if slots < want {
			want, held = slots, &all[i]
		}
	}
	return want, held
}

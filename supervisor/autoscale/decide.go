package autoscale

import "time"

// Decision is the answer of Decide.
type Decision struct {
	// Target is the number of slots this node should have. The pool starts what is missing at once and retires idle slots
	// only: a busy one that is too many leaves after its task.
	Target int
	Bound  Bound  // what held the target below the wish
	Reason string // in words

	// NextCheck is when to ask again if nothing happens. What should not wait for it: the last idle slot was taken, a slot is
	// ready, a child died, a message was claimed without a slot, a peer came or went, the policy changed.
	NextCheck time.Duration

	Pressure Pressure // what memory forbids besides
	Wish     int      // what the load asks for of this node, before window and bounds
	Fleet    int      // what the load asks for of all nodes
	Hosts    int      // how many nodes like this one that would take
	Capacity int      // slots this node could have, to tell the peers
}

// How long until the next look, at most: while slots start or a message waits for one, while something moves, and when
// nothing does.
const (
	shortCheck = 100 * time.Millisecond
	busyCheck  = time.Second
	idleCheck  = 5 * time.Minute
)

// Decide says how many slots there should be. It is pure: the same arguments give the same answer, and the time only counts by
// what has passed since the last decision. Any clock will do, also one that jumps.
func Decide(policy Policy, state State, sample Sample, now time.Time) (State, Decision) {
	step := state.advance(now)
	state.press(sample.Memory, step, policy.window(sample.StartTime))
	temporary := policy.Temporary.at(now)
	bounds := state.limits(policy, sample, temporary)

	d := Decision{Pressure: state.pressure, Capacity: capacity(bounds)}
	if !sample.Unknown {
		state.terms = wishFor(policy, sample)
		state.fleet = state.terms.whole(busyIn(sample))
		state.wish = Share(state.fleet, sample.Self, sample.Peers)
		if active(sample) {
			state.quiet = 0
		} else {
			state.quiet += step
		}
	}
	d.Fleet, d.Hosts = state.fleet, hosts(state.fleet, d.Capacity)
	d.Wish = state.wish
	if owed := sample.Slots.Owed; owed > 0 {
		d.Wish = max(d.Wish, sample.Slots.Busy+owed)
	}
	kept := kept(sample.Queues)
	d.Wish += kept
	highest := state.peaks.add(state.elapsed, policy.window(sample.StartTime), d.Wish)

	floor := max(policy.Min, reserved(sample.Queues), temporary.Floor)
	steady := min(state.target, Share(state.terms.steady(), sample.Self, sample.Peers)+kept)
	want := max(highest, floor, steady)
	asleep := policy.ZeroAfter > 0 && state.quiet >= policy.ZeroAfter
	switch {
	case floor > 0:
	case asleep:
		want = 0
		state.peaks.forget()
	case policy.ZeroAfter <= 0 || state.target > 0:
		want = max(want, 1)
	}

	target, held := hold(want, floor, bounds)
	if held != nil {
		d.Bound = held.bound
	}
	d.Target = target
	d.Reason = words{policy: policy, sample: sample, terms: state.terms, highest: highest, steady: steady, floor: floor,
		kept: kept, asleep: asleep && floor == 0, quiet: state.quiet, wish: d.Wish, fleet: d.Fleet, decision: d, held: held}.String()
	d.NextCheck = state.nextCheck(policy, sample, d, floor)
	state.target, state.next = d.Target, d.NextCheck
	return state, d
}

// nextCheck looks soon while something is on its way, each second while something moves, and otherwise when the next thing
// would happen by itself.
func (s State) nextCheck(policy Policy, sample Sample, d Decision, floor int) time.Duration {
	slots := sample.Slots
	switch {
	case slots.size() < d.Target || slots.Starting > 0:
		return shortCheck
	case slots.Idle == 0 && d.Target > 0 && d.Bound == BoundNone && !sample.Heard:
		// A message that comes now finds no slot, and nobody would tell.
		return min(max(policy.SLO/10, shortCheck), busyCheck)
	case slots.Busy > 0 || active(sample) || sample.Unknown || slots.size() > d.Target || s.pressure > Calm:
		return busyCheck
	case floor == 0 && d.Target > 0 && policy.ZeroAfter > 0:
		return min(max(policy.ZeroAfter-s.quiet, shortCheck), idleCheck)
	case d.Target > max(floor, 1):
		return busyCheck
	}
	return idleCheck
}

// active says whether anything arrived, waits or runs.
func active(sample Sample) bool {
	if sample.Slots.Busy > 0 || sample.Slots.Owed > 0 {
		return true
	}
	for _, q := range sample.Queues {
		if q.Due > 0 {
			return true
		}
	}
	return false
}

// busyIn is the number of slots of all nodes that run something.
func busyIn(sample Sample) int {
	n := 0
	for _, q := range sample.Queues {
		n += q.Busy
	}
	return max(n, sample.Slots.Busy)
}

// reserved is the sum of the queues' minima.
func reserved(queues []Queue) int {
	n := 0
	for _, q := range queues {
		n += max(0, q.Min)
	}
	return n
}

// kept is the number of slots that are kept for a queue and have nothing to do: no other queue may use them.
func kept(queues []Queue) int {
	n := 0
	for _, q := range queues {
		n += max(0, q.Kept)
	}
	return n
}

func hosts(fleet, capacity int) int {
	if capacity <= 0 {
		return 0
	}
	return (fleet + capacity - 1) / capacity
}

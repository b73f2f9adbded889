package autoscale

import (
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// one is a sample of one queue.
func one(q Queue, slots Slots) Sample {
	return Sample{Queues: []Queue{q}, Slots: slots}
}

func TestDecide(t *testing.T) {
	slo := Policy{Min: 1, Max: 100, SLO: 30 * time.Second}
	memory := Memory{Limit: 4 << 30, Used: 1 << 30, Children: 1<<30 - 500<<20, Child: 410 << 20}
	tests := map[string]struct {
		policy Policy
		sample Sample
		target int
		bound  Bound
		reason string
	}{
		"fixed": {
			policy: Fixed(4), sample: one(Queue{Due: 10000}, Slots{Busy: 4}),
			target: 4, bound: BoundMax, reason: "target 4: fixed at 4",
		},
		"fixed, but memory allows fewer": {
			policy: Fixed(16), sample: Sample{Memory: memory},
			target: 7, bound: BoundMemory, reason: "target 7: fixed at 16; held by memory: 3.1 GiB left ÷ 410 MiB",
		},
		"autoscale=16,1 and a crowd at the door": {
			policy: Range(16, 1), sample: one(Queue{Due: 199, Service: 200 * time.Millisecond, Busy: 1}, Slots{Busy: 1}),
			target: 16, bound: BoundMax, reason: "target 16: 199 waiting + 1 busy for longer; held by max: 16 allowed",
		},
		"autoscale=16,1 and three": {
			policy: Range(16, 1), sample: one(Queue{Due: 2, Service: time.Minute, Busy: 1}, Slots{Busy: 1}),
			target: 3, reason: "target 3: 2 waiting + 1 busy for longer",
		},
		"autoscale=16,1 and nothing": {
			policy: Range(16, 1), sample: one(Queue{}, Slots{Idle: 1}),
			target: 1, reason: "target 1: the minimum, nothing waits",
		},
		"a slot for each message while nothing is known of its run time": {
			policy: slo, sample: one(Queue{Due: 5, Busy: 1}, Slots{Busy: 1}),
			target: 6, reason: "target 6: 5 waiting + 1 busy for longer",
		},
		"short tasks share slots": {
			policy: slo, sample: one(Queue{Due: 212, Service: 800 * time.Millisecond, Arrivals: 5, Busy: 1}, Slots{Busy: 1}),
			target: 8, reason: "target 8: 212 waiting × 0.8 s ÷ 27 s + 2 to keep up",
		},
		"held by memory": {
			policy: slo, sample: func() Sample {
				s := one(Queue{Due: 212, Service: 800 * time.Millisecond, Arrivals: 5, Busy: 1}, Slots{Busy: 1})
				s.Memory = memory
				return s
			}(),
			target: 7, bound: BoundMemory,
			reason: "target 7: 212 waiting × 0.8 s ÷ 27 s + 2 to keep up; held by memory: 3.1 GiB left ÷ 410 MiB",
		},
		"late messages get slots of their own": {
			policy: slo, sample: one(Queue{Due: 3, Oldest: time.Minute, Service: 5 * time.Second}, Slots{Idle: 1}),
			target: 3, reason: "target 3: 3 waiting",
		},
		"two queues": {
			policy: slo, sample: Sample{Slots: Slots{Idle: 1}, Queues: []Queue{
				{Name: "a", Due: 60, Service: 2 * time.Second}, {Name: "b", Due: 4, Service: time.Hour}}},
			target: 8, reason: "target 8: 8.4 for 64 waiting in 2 queues",
		},
		"held by the quota": {
			policy: Range(16, 1), sample: func() Sample {
				s := one(Queue{Due: 50, Service: time.Second}, Slots{Idle: 1})
				s.CPU = CPU{Cores: 2, PerTask: 0.5}
				return s
			}(),
			target: 4, bound: BoundCPU, reason: "target 4: 50 waiting; held by cpu: 2 processors ÷ 0.5 for a task",
		},
		"the quota does not hold the minimum down": {
			policy: Fixed(8), sample: Sample{CPU: CPU{Cores: 1, PerTask: 1}},
			target: 8, reason: "target 8: fixed at 8",
		},
		"held by connections": {
			policy: Range(16, 1), sample: func() Sample {
				s := one(Queue{Due: 50, Service: time.Second}, Slots{Idle: 1})
				s.Connections = 5
				return s
			}(),
			target: 5, bound: BoundConnections, reason: "target 5: 50 waiting; held by connections: 5 in the budget",
		},
		"held by throughput": {
			policy: Range(64, 1), sample: func() Sample {
				s := one(Queue{Due: 50, Service: time.Second}, Slots{Idle: 1})
				s.Useful = 8
				return s
			}(),
			target: 8, bound: BoundThroughput,
			reason: "target 8: 50 waiting; held by throughput: more than 8 slots finish no more tasks",
		},
		"held by slow starts": {
			policy: Range(64, 1), sample: func() Sample {
				s := one(Queue{Due: 50, Service: time.Minute}, Slots{Idle: 1, Starting: 1})
				s.StartTime, s.CPU.Cores = 3*time.Second, 2
				return s
			}(),
			target: 3, bound: BoundStarts, reason: "target 3: 50 waiting; held by starts: 2 at a time, 1 starting",
		},
		"pool_grow beyond a fixed number": {
			policy: Policy{Min: 4, Max: 4, Temporary: Grow(4, 2)},
			target: 6, reason: "target 6: asked for by remote control",
		},
		"pool_shrink below a fixed number": {
			policy: Policy{Min: 4, Max: 4, Temporary: Shrink(4, 3)},
			target: 1, bound: BoundControl, reason: "target 1: fixed at 4; held by control: 1 until told otherwise",
		},
		"a temporary bound that is over": {
			policy: Policy{Min: 4, Max: 4, Temporary: Temporary{Ceiling: 1, Until: start}},
			target: 4, reason: "target 4: fixed at 4",
		},
		"minima of the queues": {
			policy: Range(16, 1), sample: Sample{Queues: []Queue{{Name: "a", Min: 2}, {Name: "b", Min: 1}}},
			target: 3, reason: "target 3: the minimum, nothing waits",
		},
		"what is kept for a queue is not counted on for another": {
			policy: Range(16, 1), sample: Sample{Slots: Slots{Idle: 2, Busy: 1}, Queues: []Queue{{Name: "a", Due: 4, Service: time.Minute, Busy: 1}, {Name: "b", Min: 2, Kept: 2}}},
			target: 7, reason: "target 7: 4 waiting + 1 busy for longer + 2 kept for their queues",
		},
		"no minimum, but never told to sleep": {
			policy: Range(16, 0), sample: one(Queue{}, Slots{}),
			target: 1, reason: "target 1: one slot to wait with",
		},
		"asleep until a message was claimed": {
			policy: Policy{Max: 4, ZeroAfter: time.Minute}, sample: one(Queue{}, Slots{}),
			target: 0, reason: "target 0: nothing waits",
		},
		"woken by a claimed message": {
			policy: Policy{Max: 4, ZeroAfter: time.Minute}, sample: one(Queue{}, Slots{Owed: 1}),
			target: 1, reason: "target 1: 1 claimed without a slot",
		},
		"a part of the fleet": {
			policy: Range(16, 1), sample: func() Sample {
				s := one(Queue{Due: 12, Service: time.Minute}, Slots{Idle: 1})
				s.Self, s.Peers = "b", []Peer{{ID: "a", Capacity: 16, Size: 1}, {ID: "c", Capacity: 2, Size: 1}}
				return s
			}(),
			target: 5, reason: "target 5: this node's part of 12: 12 waiting",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, d := Decide(test.policy, State{}, test.sample, start)
			if d.Target != test.target || d.Bound != test.bound {
				t.Errorf("target %d held by %q, want %d by %q", d.Target, d.Bound, test.target, test.bound)
			}
			if d.Reason != test.reason {
				t.Errorf("says %q\nwant %q", d.Reason, test.reason)
			}
			if d.NextCheck <= 0 {
				t.Errorf("next check in %v", d.NextCheck)
			}
		})
	}
}

// drive makes decisions in steps of a second with the same sample, whose slots follow the target.
func drive(policy Policy, state State, sample Sample, now time.Time, seconds int) (State, Decision, time.Time) {
	var d Decision
	for range seconds {
		now = now.Add(time.Second)
		state, d = Decide(policy, state, sample, now)
		sample.Slots.Idle = max(0, d.Target-sample.Slots.Busy)
	}
	return state, d, now
}

func TestDownOnlyAfterTheWindow(t *testing.T) {
	policy := Policy{Min: 1, Max: 16, Window: 30 * time.Second}
	state, d := Decide(policy, State{}, one(Queue{Due: 12, Service: time.Second}, Slots{Idle: 1}), start)
	if d.Target != 12 {
		t.Fatalf("up at once: %s", d.Reason)
	}
	quiet := one(Queue{}, Slots{Idle: 12})
	state, d, now := drive(policy, state, quiet, start, 30)
	if d.Target != 12 || !strings.Contains(d.Reason, "the highest wish of the last 30 s, now 0: nothing waits") {
		t.Fatalf("within the window: %s", d.Reason)
	}
	if _, d, _ = drive(policy, state, quiet, now, 4); d.Target != 1 {
		t.Fatalf("after the window: %s", d.Reason)
	}
}

func TestToZeroAndBack(t *testing.T) {
	policy := Policy{Max: 4, ZeroAfter: 5 * time.Minute, SLO: 30 * time.Second}
	state, d := Decide(policy, State{}, one(Queue{Due: 1, Service: time.Second}, Slots{}), start)
	if d.Target != 1 {
		t.Fatal(d.Reason)
	}
	quiet := one(Queue{}, Slots{Idle: 1})
	state, d, now := drive(policy, state, quiet, start, 299)
	if d.Target != 1 || d.NextCheck != time.Second {
		t.Fatalf("next %v: %s", d.NextCheck, d.Reason)
	}
	state, d, now = drive(policy, state, quiet, now, 1)
	if d.Target != 0 || d.Reason != "target 0: nothing waited or ran for 5 min" {
		t.Fatal(d.Reason)
	}
	state, d, now = drive(policy, state, one(Queue{Arrivals: 0.3, Service: time.Second}, Slots{}), now, 3)
	if d.Target != 0 || d.NextCheck != idleCheck {
		t.Fatalf("a rate out of the past wakes nobody; next %v: %s", d.NextCheck, d.Reason)
	}
	if _, d = Decide(policy, state, one(Queue{Due: 1, Service: time.Second}, Slots{}), now); d.Target != 1 {
		t.Fatal(d.Reason)
	}
}

func TestUnknownQueuesKeepTheTarget(t *testing.T) {
	policy := Policy{Min: 1, Max: 16, Window: 10 * time.Second}
	state, _ := Decide(policy, State{}, one(Queue{Due: 12, Service: time.Second}, Slots{Idle: 1}), start)
	blind := Sample{Unknown: true, Slots: Slots{Idle: 12}}
	state, d, now := drive(policy, state, blind, start, 300)
	if d.Target != 12 || d.Reason != "target 12: the queues were not counted, so the last wish stays" {
		t.Fatal(d.Reason)
	}
	blind.Memory = Memory{Limit: 1 << 30, Used: 500 << 20, Children: 500 << 20, Child: 300 << 20}
	if _, d = Decide(policy, state, blind, now); d.Target != 3 || d.Bound != BoundMemory {
		t.Fatalf("bounds hold all the same: %s", d.Reason)
	}
}

func TestPressureLadder(t *testing.T) {
	policy := Policy{Min: 1, Max: 16, Window: 30 * time.Second}
	sample := one(Queue{Due: 50, Service: time.Second}, Slots{Idle: 2, Busy: 6})
	now, state := start, State{}
	step := func(m Memory) Decision {
		var d Decision
		sample.Memory = m
		now = now.Add(time.Second)
		state, d = Decide(policy, state, sample, now)
		return d
	}
	of := func(used int64) Memory { return Memory{Limit: 1000, Used: used} }
	if d := step(of(900)); d.Pressure != Calm || d.Target != 16 {
		t.Error(d.Pressure, d.Reason)
	}
	if d := step(of(930)); d.Pressure != NoStarts || d.Target != 8 || d.Bound != BoundMemory {
		t.Error(d.Pressure, d.Reason)
	}
	if d := step(of(960)); d.Pressure != ShedIdle || d.Target != 7 {
		t.Error(d.Pressure, d.Reason)
	}
	if d := step(of(990)); d.Pressure != NoClaims || d.Target != 7 {
		t.Error(d.Pressure, d.Reason)
	}
	sample.Slots = Slots{Busy: 6}
	if d := step(of(990)); d.Target != 6 {
		t.Errorf("no busy slot is asked to go: %s", d.Reason)
	}
	for range 4 {
		if d := step(of(100)); d.Pressure != NoClaims {
			t.Errorf("eased too soon: %s", d.Pressure)
		}
	}
	if d := step(of(100)); d.Pressure != ShedIdle {
		t.Error(d.Pressure)
	}
	if d := step(Memory{Full: 50}); d.Pressure != NoClaims {
		t.Errorf("stalled tasks count as well: %s", d.Pressure)
	}
}

func TestNextCheck(t *testing.T) {
	slo := Policy{Min: 1, Max: 16, SLO: 30 * time.Second}
	tests := map[string]struct {
		policy Policy
		sample Sample
		want   time.Duration
	}{
		"nothing to do":          {slo, one(Queue{}, Slots{Idle: 1}), idleCheck},
		"fixed and quiet":        {Fixed(4), one(Queue{}, Slots{Idle: 4}), idleCheck},
		"slots start":            {slo, one(Queue{}, Slots{Idle: 1, Starting: 1}), shortCheck},
		"slots are missing":      {slo, one(Queue{Due: 9}, Slots{Idle: 1}), shortCheck},
		"no slot would hear":     {Range(16, 1), one(Queue{Service: time.Hour, Busy: 1}, Slots{Busy: 1}), shortCheck},
		"no slot would hear SLO": {slo, one(Queue{Service: time.Second, Busy: 1}, Slots{Busy: 1}), time.Second},
		"all busy at the bound":  {Fixed(4), one(Queue{Due: 9, Busy: 4}, Slots{Busy: 4}), time.Second},
	}
	for name, test := range tests {
		if _, d := Decide(test.policy, State{}, test.sample, start); d.NextCheck != test.want {
			t.Errorf("%s: next check in %v, want %v (%s)", name, d.NextCheck, test.want, d.Reason)
		}
	}
}

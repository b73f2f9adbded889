package autoscale

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawDuration(most time.Duration) *rapid.Generator[time.Duration] {
	return rapid.Custom(func(t *rapid.T) time.Duration {
		if rapid.IntRange(0, 4).Draw(t, "zero") == 0 {
			return 0
		}
		exponent := rapid.Float64Range(math.Log(1e6), math.Log(float64(most))).Draw(t, "log")
		return time.Duration(math.Exp(exponent))
	})
}

var drawPolicy = rapid.Custom(func(t *rapid.T) Policy {
	p := Policy{
		Max:       rapid.IntRange(1, 200).Draw(t, "max"),
		SLO:       drawDuration(time.Hour).Draw(t, "slo"),
		Window:    drawDuration(10*time.Minute).Draw(t, "window"),
		ZeroAfter: drawDuration(time.Hour).Draw(t, "zero_after"),
		Starts:    rapid.IntRange(0, 8).Draw(t, "starts"),
	}
	p.Min = rapid.IntRange(0, p.Max).Draw(t, "min")
	if rapid.IntRange(0, 5).Draw(t, "temporary") == 0 {
		p.Temporary = Temporary{Floor: rapid.IntRange(0, 300).Draw(t, "floor"), Ceiling: rapid.IntRange(0, 300).Draw(t, "ceiling")}
	}
	return p
})

var drawQueue = rapid.Custom(func(t *rapid.T) Queue {
	return Queue{
		Due:      rapid.IntRange(0, 100000).Draw(t, "due"),
		Oldest:   drawDuration(24*time.Hour).Draw(t, "oldest"),
		Arrivals: rapid.Float64Range(0, 1000).Draw(t, "arrivals"),
		Service:  drawDuration(10*time.Hour).Draw(t, "service"),
		Busy:     rapid.IntRange(0, 500).Draw(t, "busy"),
		Min:      max(0, rapid.IntRange(-5, 3).Draw(t, "min")),
		Kept:     max(0, rapid.IntRange(-5, 3).Draw(t, "kept")),
	}
})

var drawSample = rapid.Custom(func(t *rapid.T) Sample {
	s := Sample{
		Unknown:   rapid.IntRange(0, 9).Draw(t, "unknown") == 0,
		Queues:    rapid.SliceOfN(drawQueue, 0, 4).Draw(t, "queues"),
		StartTime: drawDuration(time.Minute).Draw(t, "start"),
		Slots: Slots{
			Idle:     rapid.IntRange(0, 50).Draw(t, "idle"),
			Busy:     rapid.IntRange(0, 50).Draw(t, "busy"),
			Starting: rapid.IntRange(0, 50).Draw(t, "starting"),
		},
		Connections: rapid.IntRange(0, 100).Draw(t, "connections"),
		Useful:      max(0, rapid.IntRange(-50, 50).Draw(t, "useful")),
		Self:        "self",
	}
	if rapid.Bool().Draw(t, "memory") {
		s.Memory.Limit = rapid.Int64Range(0, 1<<36).Draw(t, "limit")
		s.Memory.Used = rapid.Int64Range(0, 1<<36).Draw(t, "used")
		s.Memory.Children = rapid.Int64Range(0, s.Memory.Used).Draw(t, "children")
		s.Memory.Child = rapid.Int64Range(0, 1<<33).Draw(t, "child")
		s.Memory.Full = rapid.Float64Range(0, 100).Draw(t, "full")
	}
	if rapid.Bool().Draw(t, "cpu") {
		s.CPU = CPU{Cores: rapid.Float64Range(0, 64).Draw(t, "cores"), PerTask: rapid.Float64Range(0, 2).Draw(t, "per task")}
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "peers") {
		s.Peers = append(s.Peers, Peer{ID: fmt.Sprint("peer", i), Capacity: rapid.IntRange(0, 100).Draw(t, "capacity"),
			Size: rapid.IntRange(0, 100).Draw(t, "size")})
	}
	return s
})

// drawJump is what passes between two decisions, on a clock that may also be set.
var drawJump = rapid.Custom(func(t *rapid.T) time.Duration {
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return -drawDuration(1000*time.Hour).Draw(t, "back")
	case 1:
		return drawDuration(1000*time.Hour).Draw(t, "forth")
	}
	return drawDuration(3*time.Second).Draw(t, "step")
})

// Bounds hold in whatever comes, also when the policy changes in the middle; a target is never negative and always has a reason.
func TestBoundsAreNeverBroken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state, now := State{}, start
		for range rapid.IntRange(1, 20).Draw(t, "decisions") {
			now = now.Add(drawJump.Draw(t, "passes"))
			policy, sample := drawPolicy.Draw(t, "policy"), drawSample.Draw(t, "sample")
			var d Decision
			state, d = Decide(policy, state, sample, now)
			alive := sample.Slots.size()
			most := max(policy.Max, policy.Temporary.Floor)
			if c := policy.Temporary.Ceiling; c > 0 {
				most = min(most, c)
			}
			if room, ok := sample.Memory.Room(); ok {
				most = min(most, max(1, room))
			}
			if sample.Connections > 0 {
				most = min(most, sample.Connections)
			}
			if d.Pressure >= ShedIdle && sample.Slots.Idle > 0 {
				most = min(most, max(1, alive-1))
			} else if d.Pressure >= NoStarts {
				most = min(most, max(1, alive))
			}
			if starts := startLimit(policy, sample); starts < 1000 {
				most = min(most, alive+max(0, starts-sample.Slots.Starting))
			}
			if d.Target < 0 || d.Target > most {
				t.Fatalf("target %d beyond %d: %s", d.Target, most, d.Reason)
			}
			floor := min(max(policy.Min, policy.Temporary.Floor), most)
			if d.Target < floor {
				t.Fatalf("target %d below %d: %s", d.Target, floor, d.Reason)
			}
			if d.Reason == "" || d.NextCheck <= 0 || d.Bound == BoundNone && d.Target < floor {
				t.Fatalf("bound %q, wish %d: %s", d.Bound, d.Wish, d.Reason)
			}
		}
	})
}

func TestDecideIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state, now := State{}, start
		for range rapid.IntRange(1, 10).Draw(t, "decisions") {
			now = now.Add(drawJump.Draw(t, "passes"))
			policy, sample := drawPolicy.Draw(t, "policy"), drawSample.Draw(t, "sample")
			before := state
			next, d := Decide(policy, state, sample, now)
			again, same := Decide(policy, state, sample, now)
			if next != again || d != same || state != before {
				t.Fatal("the same arguments gave another answer")
			}
			state = next
		}
	})
}

// More messages, older ones, more arrivals or longer tasks never lower the target.
func TestMoreLoadNeverLowersTheTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state, now := State{}, start
		for range rapid.IntRange(0, 5).Draw(t, "before") {
			now = now.Add(drawJump.Draw(t, "passes"))
			state, _ = Decide(drawPolicy.Draw(t, "policy"), state, drawSample.Draw(t, "sample"), now)
		}
		policy, sample := drawPolicy.Draw(t, "policy"), drawSample.Draw(t, "sample")
		sample.Queues = append(sample.Queues, drawQueue.Draw(t, "queue"))
		more := sample
		more.Queues = append([]Queue(nil), sample.Queues...)
		q := &more.Queues[rapid.IntRange(0, len(more.Queues)-1).Draw(t, "which")]
		switch rapid.IntRange(0, 3).Draw(t, "what") {
		case 0:
			q.Due += rapid.IntRange(1, 10000).Draw(t, "more")
		case 1:
			q.Oldest += drawDuration(time.Hour).Draw(t, "older")
		case 2:
			q.Arrivals += rapid.Float64Range(0, 100).Draw(t, "faster")
		case 3:
			if q.Service > 0 { // not known is taken for long
				q.Service += drawDuration(time.Hour).Draw(t, "longer")
			}
		}
		_, less := Decide(policy, state, sample, now)
		if _, d := Decide(policy, state, more, now); d.Target < less.Target {
			t.Fatalf("%s\nafter more load: %s", less.Reason, d.Reason)
		}
	})
}

func TestQuietGoesToZeroAndStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state, now := State{}, start
		for range rapid.IntRange(0, 5).Draw(t, "before") {
			now = now.Add(drawJump.Draw(t, "passes"))
			state, _ = Decide(drawPolicy.Draw(t, "policy"), state, drawSample.Draw(t, "sample"), now)
		}
		policy := Policy{Max: 50, SLO: 30 * time.Second, ZeroAfter: 20 * time.Second}
		sample := Sample{Slots: Slots{Idle: rapid.IntRange(0, 50).Draw(t, "idle")},
			Queues: []Queue{{Service: time.Second, Arrivals: rapid.Float64Range(0, 10).Draw(t, "rate")}}}
		for i := range 200 {
			now = now.Add(time.Second)
			var d Decision
			state, d = Decide(policy, state, sample, now)
			sample.Slots = Slots{Idle: d.Target}
			if i > 25 && d.Target != 0 {
				t.Fatalf("after %d s: %s", i, d.Reason)
			}
		}
	})
}

// The unit of time does not matter: everything that is twice as slow has the same targets.
func TestScaleOfTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slower := rapid.SampledFrom([]time.Duration{2, 4, 8}).Draw(t, "slower")
		policy := Policy{Max: 1000, Starts: 1000, SLO: drawDuration(time.Minute).Draw(t, "slo"),
			Window: time.Second + drawDuration(time.Minute).Draw(t, "window")}
		slow := policy
		slow.SLO, slow.Window = policy.SLO*slower, policy.Window*slower
		var a, b State
		nowA, nowB := start, start
		for range rapid.IntRange(1, 20).Draw(t, "decisions") {
			step := drawDuration(200*time.Millisecond).Draw(t, "step")
			nowA, nowB = nowA.Add(step), nowB.Add(step*slower)
			sample := Sample{StartTime: drawDuration(time.Second).Draw(t, "start"), Queues: []Queue{drawQueue.Draw(t, "queue")}}
			slowed := sample
			slowed.StartTime *= slower
			q := sample.Queues[0]
			q.Oldest, q.Service, q.Arrivals = q.Oldest*slower, q.Service*slower, q.Arrivals/float64(slower)
			slowed.Queues = []Queue{q}
			var da, db Decision
			a, da = Decide(policy, a, sample, nowA)
			b, db = Decide(slow, b, slowed, nowB)
			if d := da.Wish - db.Wish; d < -1 || d > 1 { // the SLO's parts are rounded to nanoseconds
				t.Fatalf("%s\nslower: %s", da.Reason, db.Reason)
			}
		}
	})
}

// A load k times as large needs at most k times the slots, and at least what the smaller one does.
func TestScaleOfLoad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy := Policy{Max: math.MaxInt32, Starts: math.MaxInt32, SLO: drawDuration(time.Hour).Draw(t, "slo")}
		sample := Sample{Queues: []Queue{drawQueue.Draw(t, "queue")}, StartTime: drawDuration(time.Minute).Draw(t, "start")}
		k := rapid.IntRange(1, 20).Draw(t, "k")
		q := sample.Queues[0]
		q.Due, q.Busy, q.Arrivals = q.Due*k, q.Busy*k, q.Arrivals*float64(k)
		large := sample
		large.Queues = []Queue{q}
		_, d := Decide(policy, State{}, sample, start)
		if _, l := Decide(policy, State{}, large, start); l.Wish > k*(d.Wish+1) || l.Wish < d.Wish {
			t.Fatalf("%s\n%d times: %s", d.Reason, k, l.Reason)
		}
	})
}

// Nodes that see the queues differently and hold on to busy slots have together at most the largest target that one of
// them has wished for, and one more for each node.
func TestNodesStayWithinTheTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type node struct {
			state      State
			size, busy int
			target     int
		}
		nodes := make([]node, rapid.IntRange(1, 4).Draw(t, "nodes"))
		policy := Policy{Max: 1000, Starts: 1000, Window: time.Second, ZeroAfter: time.Hour}
		most, now := 0, start
		for range rapid.IntRange(1, 40).Draw(t, "decisions") {
			now = now.Add(100 * time.Millisecond)
			if rapid.IntRange(0, 9).Draw(t, "later") == 0 {
				now = now.Add(2 * time.Second)
			}
			at := rapid.IntRange(0, len(nodes)-1).Draw(t, "node")
			n := &nodes[at]
			n.busy = rapid.IntRange(0, n.size).Draw(t, "busy")
			sample := Sample{Self: fmt.Sprint(at), Slots: Slots{Busy: n.busy, Idle: n.size - n.busy}}
			for i, p := range nodes {
				sample.Peers = append(sample.Peers, Peer{ID: fmt.Sprint(i), Capacity: 1000, Size: max(p.size, p.target)})
			}
			sample.Queues = []Queue{{Due: rapid.IntRange(0, 60).Draw(t, "due"), Service: time.Hour}}
			var d Decision
			n.state, d = Decide(policy, n.state, sample, now)
			n.target = d.Target
			n.size = max(n.target, n.busy)
			most = max(most, d.Fleet)
			sum := 0
			for _, p := range nodes {
				sum += p.target
			}
			if sum > most+len(nodes) {
				t.Fatalf("%d slots together, %d wished", sum, most)
			}
		}
	})
}

package simulate

import (
	"fmt"
	"time"

	"github.com/agensium/agensium/supervisor/autoscale"
)

// ours is this program's rule, fed as the supervisor feeds it.
type ours struct {
	policy   autoscale.Policy
	state    autoscale.State
	services *autoscale.Services
	mix      *autoscale.Mix
	arrivals *autoscale.Arrivals
	memory   *autoscale.Histogram
	gain     *autoscale.Gain
	claimed  int64
	opt      Options

	clock      func(time.Duration) time.Time // what its clock shows
	blind      func(time.Duration) bool      // whether it cannot read the queues
	ignoreGain bool
	tell       func(View, autoscale.Sample, autoscale.Decision)
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newOurs(policy autoscale.Policy, opt Options) *ours {
	return &ours{policy: policy, opt: opt, services: autoscale.NewServices(), mix: autoscale.NewMix(),
		arrivals: autoscale.NewArrivals(0), gain: autoscale.NewGain(), memory: autoscale.NewHistogram(10 * time.Minute)}
}

func (*ours) OnLastIdleTaken() {}

func (o *ours) Decide(v View) (int, time.Duration) {
	now := epoch.Add(v.Now)
	if o.clock != nil {
		now = o.clock(v.Now)
	}
	for _, e := range v.Ended {
		if !e.Failed {
			o.gain.Observe(now, "task", e.Busy, e.Took)
		}
		o.services.Observe(now, "task", e.Took)
		o.memory.Observe(now, float64(e.Memory))
	}
	for ; o.claimed < v.Claimed; o.claimed++ {
		o.mix.Claimed("task")
	}
	sample := o.sample(v, now)
	var d autoscale.Decision
	o.state, d = autoscale.Decide(o.policy, o.state, sample, now)
	if o.tell != nil {
		o.tell(v, sample, d)
	}
	return d.Target, d.NextCheck
}

func (o *ours) sample(v View, now time.Time) autoscale.Sample {
	s := autoscale.Sample{
		Slots:     autoscale.Slots{Idle: v.Idle, Busy: v.Busy, Starting: v.Starting},
		StartTime: o.opt.Start,
		CPU:       autoscale.CPU{Cores: 8},
		Self:      fmt.Sprint("node", v.Node),
	}
	if !o.ignoreGain {
		s.Useful = o.gain.Useful()
	}
	if o.opt.Limit > 0 {
		s.Memory = autoscale.Memory{Limit: o.opt.Limit, Used: o.opt.Base + v.Private, Children: v.Private,
			Child: autoscale.ChildMemory(o.memory, v.Largest, autoscale.GuessChild(0, 0))}
	}
	busy := 0
	for i, p := range v.Peers {
		busy += p.Busy
		s.Peers = append(s.Peers, autoscale.Peer{ID: fmt.Sprint("node", i), Capacity: o.policy.Max, Size: p.Size})
	}
	if o.blind != nil && o.blind(v.Now) {
		s.Unknown = true
		return s
	}
	o.arrivals.Observe(now, v.Due, v.Claimed)
	s.Queues = []autoscale.Queue{{Name: "celery", Due: v.Due, Oldest: o.arrivals.Oldest(now), Arrivals: o.arrivals.Rate(),
		Service: o.mix.Service(o.services), Busy: busy}}
	return s
}

package autoscale_test

import (
	"fmt"
	"time"

	"github.com/agensium/agensium/supervisor/autoscale"
)

// A sampler keeps the estimators, fills a sample from what they and the broker say, and hands the target on.
func ExampleDecide() {
	var (
		policy   = autoscale.Policy{Min: 1, Max: 16, SLO: 30 * time.Second}
		state    autoscale.State
		services = autoscale.NewServices()
		mix      = autoscale.NewMix()       // one for each queue
		arrivals = autoscale.NewArrivals(0) // one for each queue
		children = autoscale.NewHistogram(10 * time.Minute)
		gain     = autoscale.NewGain()
		now      = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
		claimed  int64 // of all nodes, as their presence tells
	)

	// When a message was claimed, and when its task ended:
	for range 60 {
		claimed++
		mix.Claimed("shop.report")
		services.Observe(now, "shop.report", 800*time.Millisecond)
		gain.Observe(now, "shop.report", 2, 800*time.Millisecond) // only if it succeeded
		children.Observe(now, 300<<20)                            // its child's private memory
	}

	// Once a second, when the last idle slot was taken, and whenever Decision.NextCheck says:
	const due = 400
	arrivals.Observe(now, due, claimed)
	sample := autoscale.Sample{
		Queues: []autoscale.Queue{{
			Name: "celery", Due: due, Oldest: arrivals.Oldest(now), Arrivals: arrivals.Rate(),
			Service: mix.Service(services), Busy: 2,
		}},
		Slots:     autoscale.Slots{Busy: 2},
		StartTime: 20 * time.Millisecond,
		Memory: autoscale.Memory{
			Limit: 4 << 30, Used: 1200 << 20, Children: 600 << 20,
			Child: autoscale.ChildMemory(children, 310<<20, autoscale.GuessChild(90<<20, 0)),
		},
		CPU:    autoscale.CPU{Cores: 2, PerTask: 0.1},
		Useful: gain.Useful(),
		Self:   "web-1",
	}
	state, decision := autoscale.Decide(policy, state, sample, now)
	fmt.Println(decision.Reason)
	fmt.Println(decision.Target, decision.Bound, decision.NextCheck)
	_ = state // for the next time

	// Output:
	// target 9: 400 waiting × 0.8 s ÷ 27 s; held by memory: 3.0 GiB left ÷ 310 MiB
	// 9 memory 100ms
}

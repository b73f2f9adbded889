package autoscale

import (
	"testing"
	"time"
)

func BenchmarkDecide(b *testing.B) {
	policy := Policy{Min: 1, Max: 16, SLO: 30 * time.Second}
	sample := one(Queue{Due: 212, Service: 800 * time.Millisecond, Arrivals: 5, Busy: 3}, Slots{Busy: 3})
	sample.Memory = Memory{Limit: 4 << 30, Used: 1 << 30, Child: 400 << 20}
	state, now := State{}, start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		state, _ = Decide(policy, state, sample, now)
	}
}

func BenchmarkObserve(b *testing.B) {
	services, gain, now := NewServices(), NewGain(), start
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Millisecond)
		services.Observe(now, "shop.report", time.Second)
		gain.Observe(now, "shop.report", 4, time.Second)
	}
}

func BenchmarkUseful(b *testing.B) {
	gain := NewGain()
	for i := range 10000 {
		gain.Observe(start, string(rune('a'+i%20)), float64(1+i%30), time.Second)
	}
	b.ReportAllocs()
	for b.Loop() {
		gain.Useful()
	}
}

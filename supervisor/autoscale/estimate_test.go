package autoscale

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func within(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	if math.Abs(got-want) > part*want {
		t.Errorf("%s: %v, want about %v", what, got, want)
	}
}

func TestHistogram(t *testing.T) {
	h := NewHistogram(10 * time.Minute)
	if h.Mean() != 0 || h.Quantile(0.95) != 0 || h.Weight() != 0 {
		t.Error("an empty one knows something")
	}
	for i := range 1000 {
		h.Observe(start, float64(i+1))
	}
	within(t, "mean", h.Mean(), 500.5, 0.001)
	within(t, "median", h.Quantile(0.5), 500, 0.19)
	within(t, "95th", h.Quantile(0.95), 950, 0.19)
	for range 100 {
		h.Observe(start.Add(time.Hour), 5) // the thousand now weigh a little over fifteen
	}
	within(t, "median after an hour", h.Quantile(0.5), 5, 0.19)
	h.Observe(start, 1e12) // the clock was set back
	within(t, "largest", h.Quantile(1), 1e12, 0.19)
	for _, v := range []float64{0, -1, math.NaN(), math.Inf(1), math.MaxFloat64} {
		NewHistogram(0).Observe(start, v)
	}
}

func TestHistogramRemembersLastNight(t *testing.T) {
	h := NewHistogram(10 * time.Minute)
	for range 10 {
		h.Observe(start, 3)
	}
	h.Observe(start.Add(24*time.Hour), 3)
	within(t, "mean", h.Mean(), 3, 0.001)
	within(t, "quantile", h.Quantile(0.5), 3, 0.19)
}

func TestServices(t *testing.T) {
	s := NewServices()
	if s.Mean("a") != 0 {
		t.Error("knows what it has not seen")
	}
	for range 10 {
		s.Observe(start, "a", time.Second)
		s.Observe(start, "b", 3*time.Second)
	}
	if got := s.Mean("a"); got != time.Second {
		t.Errorf("a takes %v", got)
	}
	if got := s.Mean("never seen"); got != 2*time.Second {
		t.Errorf("a new name takes %v, want the mean of all", got)
	}
	within(t, "95th", s.Quantile("b", 0.95).Seconds(), 3, 0.19)
	for i := range 10 * serviceNames {
		s.Observe(start, fmt.Sprint("made up ", i), time.Minute)
		s.Observe(start, "a", time.Second)
	}
	if n := len(s.names.entries); n > serviceNames {
		t.Errorf("%d names kept", n)
	}
	if got := s.Mean("a"); got != time.Second {
		t.Errorf("the name in use was forgotten: %v", got)
	}
}

func TestMix(t *testing.T) {
	s, m := NewServices(), NewMix()
	if m.Service(s) != 0 {
		t.Error("knows what it has not seen")
	}
	s.Observe(start, "short", time.Second)
	s.Observe(start, "long", time.Minute)
	for range 300 {
		m.Claimed("short")
	}
	within(t, "all short", m.Service(s).Seconds(), 1, 0.01)
	for range 300 {
		m.Claimed("long")
		m.Claimed("short")
	}
	within(t, "half of each", m.Service(s).Seconds(), 30.5, 0.05)
}

func TestArrivals(t *testing.T) {
	a := NewArrivals(time.Minute)
	now, claimed := start, int64(0)
	sample := func(arrived, taken int) {
		now = now.Add(time.Second)
		claimed += int64(taken)
		a.Observe(now, a.depth+arrived-taken, claimed)
	}
	a.Observe(now, 0, 0)
	for range 60 {
		sample(5, 5)
	}
	within(t, "steady", a.Rate(), 5, 0.01)
	if got := a.Oldest(now); got != 0 {
		t.Errorf("nothing waits, but for %v", got)
	}
	sample(1000, 5)
	for range 59 {
		sample(5, 5)
	}
	within(t, "a burst is no rate", a.Rate(), 5, 0.05)
	within(t, "oldest", a.Oldest(now).Seconds(), 60, 0.3)
	for range 20 {
		sample(5, 100)
	}
	if got := a.Oldest(now); got != 0 {
		t.Errorf("after the burst: %v", got)
	}
	for range 60 {
		sample(0, 0)
	}
	if got := a.Rate(); got != 0 {
		t.Errorf("silence at %v a second", got)
	}
}

func TestArrivalsSurviveGaps(t *testing.T) {
	a := NewArrivals(time.Minute)
	a.Observe(start, 10, 1000)
	a.Observe(start.Add(30*time.Second), 10, 1060)
	a.Observe(start.Add(60*time.Second), 10, 60) // a node left and took its counter with it
	a.Observe(start.Add(90*time.Second), 10, 120)
	if r := a.Rate(); r < 0 || r > 3 {
		t.Errorf("%v a second", r)
	}
	a.Observe(start.Add(-time.Hour), 7, 130) // the clock was set back
	a.Observe(start.Add(-time.Hour+time.Second), 7, 131)
	if r, o := a.Rate(), a.Oldest(start.Add(-time.Hour+time.Second)); r < 0 || r > 1 || o < 0 || o > time.Second {
		t.Errorf("%v a second, oldest %v", r, o)
	}
}

func TestGain(t *testing.T) {
	// play runs tasks at 4 and then at 16 busy slots, where they take so many times as long.
	play := func(slower func(busy float64) float64, spread float64) (*Gain, time.Time) {
		g, now, r := NewGain(), start, rand.New(rand.NewPCG(1, 2))
		for _, busy := range []float64{4, 16} {
			for range 600 {
				now = now.Add(50 * time.Millisecond)
				took := slower(busy) * math.Exp(spread*r.NormFloat64())
				g.Observe(now, "a", busy, seconds(took))
				g.Observe(now, "b", busy, seconds(20*took))
			}
		}
		return g, now
	}
	same := func(float64) float64 { return 1 }
	queueing := func(busy float64) float64 { return busy }
	for _, spread := range []float64{0, 0.5, 1} {
		if g, _ := play(same, spread); g.Useful() != 0 {
			t.Errorf("spread %v: blamed %d slots that each did their part", spread, g.Useful())
		}
		if g, _ := play(queueing, spread); g.Useful() != 4 {
			t.Errorf("spread %v: useful %d, want 4", spread, g.Useful())
		}
	}
	half := func(busy float64) float64 { return math.Sqrt(busy) }
	if g, _ := play(half, 0.3); g.Useful() != 0 {
		t.Errorf("blamed %d slots that still did something", g.Useful())
	}
	g, now := play(queueing, 0)
	g.Observe(now.Add(time.Hour), "a", 4, time.Second)
	if g.Useful() != 0 {
		t.Error("what was an hour ago still holds")
	}
}

func TestChildMemory(t *testing.T) {
	h := NewHistogram(time.Hour)
	guess := GuessChild(100<<20, 0)
	if guess != 200<<20 || GuessChild(10<<20, 0) != leastGuess || GuessChild(100<<20, 300<<20) != 300<<20 {
		t.Error(guess)
	}
	if got := ChildMemory(h, 0, guess); got != guess {
		t.Errorf("unknown: %d", got)
	}
	if got := ChildMemory(h, 1<<30, guess); got != 1<<30 {
		t.Errorf("the first large task: %d", got)
	}
	for range 100 {
		h.Observe(start, 50<<20)
	}
	within(t, "measured", float64(ChildMemory(h, 40<<20, guess)), 50<<20, 0.19)
}

func TestRoom(t *testing.T) {
	tests := map[string]struct {
		memory Memory
		want   int
		known  bool
	}{
		"no limit":                {Memory{Used: 1, Child: 1}, 0, false},
		"child unknown":           {Memory{Limit: 1}, 0, false},
		"600 MB, children of 100": {Memory{Limit: 600 << 20, Used: 350 << 20, Children: 200 << 20, Child: 100 << 20}, 3, true},
		"others took everything":  {Memory{Limit: 600 << 20, Used: 700 << 20, Child: 100 << 20}, 0, true},
		"children more than used": {Memory{Limit: 1000, Used: 10, Children: 20, Child: 100}, 9, true},
	}
	for name, test := range tests {
		if got, known := test.memory.Room(); got != test.want || known != test.known {
			t.Errorf("%s: %d %v, want %d %v", name, got, known, test.want, test.known)
		}
	}
}

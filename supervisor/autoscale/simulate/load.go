package simulate

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// Task is one message and what it will take.
type Task struct {
	Arrive  time.Duration
	Service time.Duration // when nothing slows it
	Memory  int64         // bytes that it takes besides what its child has
	tries   int
}

// Load is a way in which messages come.
type Load struct {
	Name  string
	Tasks []Task
	Until time.Duration // what is measured

	// Outage is when the service that the tasks call is down: they fail at once and come back later, each time twice as late.
	Outage [2]time.Duration

	// Slowdown is how much longer a task takes that starts as the n-th busy one; nil means no longer.
	Slowdown func(busy int) float64
}

// Loads are the loads of the table.
func Loads(seed uint64) []Load {
	return []Load{
		constant(), step(), burst(), herd(), day(seed), heavy(seed), retryStorm(seed), cliff(seed), long(seed), narrow(seed),
	}
}

func constant() Load {
	l := Load{Name: "constant", Until: 30 * time.Minute}
	l.every(0, l.Until, 500*time.Millisecond, time.Second)
	return l
}

func step() Load {
	l := Load{Name: "step", Until: 30 * time.Minute}
	l.every(0, 10*time.Minute, time.Second, time.Second)
	l.every(10*time.Minute, 20*time.Minute, 125*time.Millisecond, time.Second)
	l.every(20*time.Minute, l.Until, time.Second, time.Second)
	return l
}

func burst() Load {
	l := Load{Name: "burst", Until: 15 * time.Minute}
	l.at(time.Minute, 500, constantly(time.Second))
	return l
}

func herd() Load {
	l := Load{Name: "cron herd", Until: 30 * time.Minute}
	for t := time.Minute; t < l.Until; t += 5 * time.Minute {
		l.at(t, 120, constantly(2*time.Second))
	}
	return l
}

func day(seed uint64) Load {
	l := Load{Name: "daily curve", Until: 4 * time.Hour}
	l.poisson(seed, func(t time.Duration) float64 {
		return 1.5 * (1 - math.Cos(2*math.Pi*t.Hours()/4)) / 2 * 2
	}, exponential(2*time.Second))
	return l
}

func heavy(seed uint64) Load {
	l := Load{Name: "heavy tail", Until: time.Hour}
	l.poisson(seed+1, func(time.Duration) float64 { return 1 }, pareto(time.Second, 1.5, 5*time.Minute))
	return l
}

func retryStorm(seed uint64) Load {
	l := Load{Name: "retry storm", Until: 30 * time.Minute, Outage: [2]time.Duration{10 * time.Minute, 14 * time.Minute}}
	l.poisson(seed+2, func(time.Duration) float64 { return 3 }, exponential(time.Second))
	return l
}

func cliff(seed uint64) Load {
	l := Load{Name: "ETA cliff", Until: 20 * time.Minute}
	l.poisson(seed+3, func(time.Duration) float64 { return 0.5 }, exponential(time.Second))
	l.at(10*time.Minute, 400, constantly(1500*time.Millisecond))
	return l
}

func long(seed uint64) Load {
	l := Load{Name: "long tasks", Until: 2 * time.Hour}
	l.poisson(seed+4, func(time.Duration) float64 { return 1.0 / 40 }, exponential(4*time.Minute))
	return l
}

// narrow is a load behind which a service answers eight at a time, and for ten minutes more comes than it can do.
func narrow(seed uint64) Load {
	l := Load{Name: "narrow service", Until: time.Hour}
	l.poisson(seed+5, func(t time.Duration) float64 {
		if t > 10*time.Minute && t < 20*time.Minute {
			return 10
		}
		return 3
	}, constantly(time.Second))
	l.Slowdown = func(busy int) float64 { return max(1, float64(busy)/8) }
	return l
}

func (l *Load) every(from, to, gap, service time.Duration) {
	for t := from; t < to; t += gap {
		l.add(Task{Arrive: t, Service: service})
	}
}

func (l *Load) at(t time.Duration, n int, service func(*rand.Rand) time.Duration) {
	r := rand.New(rand.NewPCG(uint64(n), uint64(t)))
	for range n {
		l.add(Task{Arrive: t, Service: service(r)})
	}
}

// poisson adds arrivals of the rate (a second) that holds at each time, by thinning.
func (l *Load) poisson(seed uint64, rate func(time.Duration) float64, service func(*rand.Rand) time.Duration) {
	r := rand.New(rand.NewPCG(seed, 0))
	highest := 0.0
	for t := time.Duration(0); t < l.Until; t += time.Second {
		highest = max(highest, rate(t))
	}
	for t := time.Duration(0); ; {
		t += time.Duration(r.ExpFloat64() / highest * float64(time.Second))
		if t >= l.Until {
			return
		}
		if r.Float64()*highest <= rate(t) {
			l.add(Task{Arrive: t, Service: service(r)})
		}
	}
}

func (l *Load) add(t Task) {
	if t.Memory == 0 {
		t.Memory = 50 << 20
	}
	i, _ := slices.BinarySearchFunc(l.Tasks, t, func(a, b Task) int {
		if a.Arrive <= b.Arrive {
			return -1
		}
		return 1
	})
	l.Tasks = slices.Insert(l.Tasks, i, t)
}

func constantly(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

func exponential(mean time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		return max(time.Millisecond, time.Duration(r.ExpFloat64()*float64(mean)))
	}
}

func pareto(least time.Duration, shape float64, most time.Duration) func(*rand.Rand) time.Duration {
	return func(r *rand.Rand) time.Duration {
		return min(most, time.Duration(float64(least)*math.Pow(1-r.Float64(), -1/shape)))
	}
}

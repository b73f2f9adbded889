package autoscale

import (
	"math"
	"time"
)

// Gain finds the number of slots above which more of them finish no more tasks, because they all wait for the same thing: one
// processor, a rate-limited service, a lock in a database. It compares how long tasks take at different numbers of busy slots:
// where twice the slots make each task of a name take twice as long, nothing
// is won.
//
// It needs to have seen both numbers, and it is slow to accuse: the difference must stand out of the spread of the run times.
// What it has seen fades in minutes, so that the higher number is tried again now and then.
type Gain struct {
	names *lately[*[gainLevels]level]
	last  time.Time
}

// level is what was seen of one task name at 2^(i/2) busy slots: the logarithms of its run times, so that a rare giant counts as
// one task.
type level struct {
	weight, sum, squares float64
	busy                 float64 // sum of busy slots
}

const (
	gainLevels  = 24 // up to 4096 slots
	gainHalf    = 3 * time.Minute
	gainNames   = 32
	gainLeast   = 20   // observations without which a level says nothing
	gainMost    = 1000 // beyond these the old make room
	gainWorth   = 1.15 // times the tasks that more slots must finish to be worth it
	gainCertain = 2    // standard errors
)

// NewGain makes an empty record.
func NewGain() *Gain { return &Gain{names: newLately[*[gainLevels]level](gainNames)} }

// Observe adds a task that has succeeded: its name, how many slots were busy while it ran (the mean of its start and its end will
// do), and how long it took. What failed says nothing of how much more can be done.
func (g *Gain) Observe(now time.Time, name string, busy float64, took time.Duration) {
	g.fade(now)
	if busy < 1 || took <= 0 {
		return
	}
	levels := g.names.get(name, func() *[gainLevels]level { return new([gainLevels]level) })
	l := &levels[min(int(2*math.Log2(busy)+0.5), gainLevels-1)]
	if l.weight >= gainMost {
		l.scale(1 - 1.0/gainMost)
	}
	slow := math.Log(took.Seconds())
	l.weight++
	l.sum += slow
	l.squares += slow * slow
	l.busy += busy
}

// Useful is the number of slots above which more bring nothing; 0 if none is known. All names that were seen at two levels must
// have gained too little, each weighed by how often it was seen.
func (g *Gain) Useful() int {
	var seen [gainLevels]bool // of the others nothing can be said
	for _, e := range g.names.entries {
		for i := range e.value {
			seen[i] = seen[i] || e.value[i].weight >= gainLeast
		}
	}
	for i := range gainLevels {
		for j := gainLevels - 1; seen[i] && j > i; j-- {
			if !seen[j] {
				continue
			}
			if busy, ok := g.vain(i, j); ok {
				return max(1, int(math.Round(busy)))
			}
		}
	}
	return 0
}

// vain says whether the higher level surely finished hardly more than the lower one, and how many slots were busy at the
// lower one.
func (g *Gain) vain(i, j int) (busy float64, vain bool) {
	var weight, gained, doubt, low float64
	for _, e := range g.names.entries {
		a, b := &e.value[i], &e.value[j]
		if a.weight < gainLeast || b.weight < gainLeast {
			continue
		}
		w := min(a.weight, b.weight)
		more := math.Log((b.busy / b.weight) / (a.busy / a.weight))
		weight += w
		gained += w * (more - (b.mean() - a.mean()))
		doubt += w * w * (b.variance()/b.weight + a.variance()/a.weight)
		low += w * a.busy / a.weight
	}
	if weight == 0 || j-i < 2 {
		return 0, false
	}
	return low / weight, gained/weight+gainCertain*math.Sqrt(doubt)/weight < math.Log(gainWorth)
}

func (l *level) mean() float64     { return l.sum / l.weight }
func (l *level) variance() float64 { return max(0, l.squares/l.weight-l.mean()*l.mean()) }

func (l *level) scale(f float64) {
	l.weight *= f
	l.sum *= f
	l.squares *= f
	l.busy *= f
}

// fade lets time pass, some seconds at a time.
func (g *Gain) fade(now time.Time) {
	passed := now.Sub(g.last)
	if g.last.IsZero() || passed < 0 {
		g.last = now
		return
	}
	if passed < gainHalf/32 {
		return
	}
	g.last = now
	factor := math.Exp2(-float64(passed) / float64(gainHalf))
	for _, e := range g.names.entries {
		for i := range e.value {
			e.value[i].scale(factor)
		}
	}
}

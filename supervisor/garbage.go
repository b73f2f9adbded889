package supervisor

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// leastHeap is how large the heap may grow, in bytes, before garbage is collected. A node uses some 2 MB and lets as much go in a few hundred
// tasks: collected whenever what is in use has doubled, as is Go's default, garbage took a quarter of the CPU time of a small task.
const leastHeap = 8 << 20

// Of Go's collector: GOGC, and the heap below which nothing is collected with it, which is in proportion to the percentage.
const (
	defaultPercent = 100
	leastByDefault = 4 << 20
)

var collectingSeldom sync.Once

// collectSeldom has the garbage collector of this process leave garbage alone until the heap is leastHeap. A larger one grows as Go's default
// has it. GOGC, or what the program that called Run has set, counts instead.
func collectSeldom() {
	if os.Getenv("GOGC") != "" {
		return
	}
	collectingSeldom.Do(func() {
		if was := debug.SetGCPercent(defaultPercent); was != defaultPercent {
			debug.SetGCPercent(was)
			return
		}
		afterEachCollection(setPercent())
	})
}

// afterEachCollection calls f for the first time after the next collection. What it waits for holds a pointer: small things without one share
// their memory with others.
func afterEachCollection(f func()) {
	runtime.AddCleanup(new(*int), func(f func()) {
		f()
		afterEachCollection(f)
	}, f)
}

// setPercent returns a function that adapts the percentage to what is in use.
func setPercent() func() {
	now := defaultPercent
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	return func() {
		metrics.Read(live)
		if next := percentOf(live[0].Value.Uint64()); math.Abs(float64(next-now)) > float64(now)/10 { // to set it stops the world
			debug.SetGCPercent(next)
			now = next
		}
	}
}

// percentOf is by how much a heap of which so many bytes are in use may grow before it is collected, in percent.
func percentOf(live uint64) int {
	const most = defaultPercent * leastHeap / leastByDefault
	if live == 0 {
		return most
	}
	grown := 100 * (leastHeap - float64(live)) / float64(live)
	return int(min(most, max(defaultPercent, grown)))
}

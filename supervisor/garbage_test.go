package supervisor

import (
	"runtime"
	"sync/atomic"
	"testing"
)

func TestASmallHeapMayGrowToTheLeast(t *testing.T) {
	cases := map[string]struct {
		live uint64
		want int
	}{
		"nothing":      {0, 200},
		"one MB":       {1 << 20, 200},
		"three MB":     {3 << 20, 166},
		"half of it":   {4 << 20, 100},
		"more than it": {50 << 20, 100},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if got := percentOf(c.live); got != c.want {
				t.Errorf("%d bytes in use: %d %%, want %d", c.live, got, c.want)
			}
		})
	}
}

func TestEachCollectionIsHeardOf(t *testing.T) {
	var heard atomic.Int64
	afterEachCollection(func() { heard.Add(1) })
	for n := range int64(3) {
		for heard.Load() <= n {
			runtime.GC()
		}
	}
}

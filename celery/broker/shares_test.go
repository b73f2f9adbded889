package broker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// crew are slots that work until they are told to end their task.
type crew struct {
	t       *testing.T
	b       *Broker
	all     sync.WaitGroup
	mu      sync.Mutex
	running map[string][]chan struct{} // by queue
	order   []string                   // queues, as their tasks began
}

func newCrew(t *testing.T, b *Broker, slots int) *crew {
	ctx, stop := context.WithCancel(bounded(t))
	c := &crew{t: t, b: b, running: map[string][]chan struct{}{}}
	for range slots {
		c.all.Go(func() {
			var done *Finished
			for {
				d, err := b.Next(ctx, done)
				if err != nil {
					return
				}
				select {
				case <-c.begin(d):
					done = acked(d)
				case <-ctx.Done(): // it may have come a moment ago
					return
				}
			}
		})
	}
	t.Cleanup(func() {
		stop()
		c.all.Wait()
	})
	return c
}

func (c *crew) begin(d *celery.Delivery) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	end := make(chan struct{})
	c.running[d.Queue] = append(c.running[d.Queue], end)
	c.order = append(c.order, d.Queue)
	return end
}

func (c *crew) end(queue string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, task := range c.running[queue][:n] {
		close(task)
	}
	c.running[queue] = c.running[queue][n:]
}

// now is how many slots each queue has.
func (c *crew) now() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := map[string]int{}
	for q, tasks := range c.running {
		if len(tasks) > 0 {
			n[q] = len(tasks)
		}
	}
	return n
}

// runs waits until the queues have these slots, and nothing is under way that could change it.
func (c *crew) runs(want map[string]int) {
	c.t.Helper()
	var got map[string]int
	celerytest.Eventually(c.t, fmt.Sprint("slots ", want), func() bool {
		got = c.now()
		return maps.Equal(got, want)
	})
}

func flood(t *testing.T, r *celerytest.Redis, queue string, n int) {
	t.Helper()
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprint(queue, i)
	}
	push(t, r.Client(0), queue, ids...)
}

func TestAMinimumStaysFreeInAFlood(t *testing.T) {
	r := celerytest.StartRedis(t)
	b := start(t, r.URL(0), func(o *Options) { o.Queues = []string{"a", "b"} })
	b.SetShares(4, map[string]Share{"b": {Min: 1}})
	c := newCrew(t, b, 4)
	flood(t, r, "a", 20)
	c.runs(map[string]int{"a": 3})
	flood(t, r, "b", 3)
	c.runs(map[string]int{"a": 3, "b": 1}) // at once, no slot of a's had to end
	c.end("b", 1)
	c.runs(map[string]int{"a": 3, "b": 1})
	c.end("b", 1)
	c.runs(map[string]int{"a": 3, "b": 1})
	c.end("b", 1)
	c.runs(map[string]int{"a": 3})
	celerytest.Eventually(t, "b's slot to wait", func() bool { return b.Status().Waiting == 1 && b.Status().Claims == 3 })
	flood(t, r, "b", 1)
	c.runs(map[string]int{"a": 3, "b": 1})
	c.end("b", 1)
	c.runs(map[string]int{"a": 3})
	b.SetShares(4, nil)
	c.runs(map[string]int{"a": 4})
}

func TestWeightsDivideTheSlots(t *testing.T) {
	r := celerytest.StartRedis(t)
	b := start(t, r.URL(0), func(o *Options) { o.Queues = []string{"a", "b"} })
	b.SetShares(8, map[string]Share{"b": {Weight: 3}})
	c := newCrew(t, b, 8)
	flood(t, r, "a", 40)
	c.runs(map[string]int{"a": 8}) // nobody else wants them
	flood(t, r, "b", 40)
	for range 12 { // whatever ends, the parts come to be as asked for, and stay
		for q, n := range c.now() {
			c.end(q, (n+1)/2)
		}
		celerytest.Eventually(t, "eight that run", func() bool { n := c.now(); return n["a"]+n["b"] == 8 })
	}
	c.runs(map[string]int{"a": 2, "b": 6})
	b.SetShares(8, map[string]Share{"a": {Weight: 3}})
	c.end("b", 6)
	c.runs(map[string]int{"a": 6, "b": 2})
}

// What comes while all slots wait for everything is not more than a queue may have, either.
func TestAQueueTakesNoMoreThanItMayWhileAllIsQuiet(t *testing.T) {
	r := celerytest.StartRedis(t)
	b := start(t, r.URL(0), func(o *Options) { o.Queues = []string{"a", "b"} })
	b.SetShares(2, map[string]Share{"b": {Min: 1}})
	c := newCrew(t, b, 2)
	celerytest.Eventually(t, "eight waits", func() bool { return b.Status().Blocked == 8 })
	push(t, r.Client(0), "a", "a0")
	push(t, r.Client(0), "a"+step+"3", "a3")
	push(t, r.Client(0), "a"+step+"9", "a9")
	c.runs(map[string]int{"a": 1})
	celerytest.Eventually(t, "the others in their queues", func() bool {
		return b.Status().Claims == 1 && len(list(t, r.Client(0), "a"))+len(list(t, r.Client(0), "a"+step+"3"))+len(list(t, r.Client(0), "a"+step+"9")) == 2
	})
	flood(t, r, "b", 1)
	c.runs(map[string]int{"a": 1, "b": 1})
}

// A message of another queue is held for a slot that is to come, not given to the one that is kept.
func TestTheSpareLeavesKeptSlotsAlone(t *testing.T) {
	r := celerytest.StartRedis(t)
	b := start(t, r.URL(0), func(o *Options) { o.Queues = []string{"a", "b"} })
	b.SetShares(4, map[string]Share{"b": {Min: 1}})
	told := spare(b)
	c := newCrew(t, b, 1)
	flood(t, r, "a", 2)
	<-told
	if now := c.now(); len(now) > 0 || !b.Held() {
		t.Errorf("%v run, held %v", now, b.Held())
	}
	flood(t, r, "b", 1)
	c.runs(map[string]int{"b": 1})
	more := newCrew(t, b, 1) // the slot that was to come
	more.runs(map[string]int{"a": 1})
	<-told // and the second one is held
	b.SetShares(4, nil)
	c.end("b", 1)
	c.runs(map[string]int{"a": 1})
}

// Shares cost no command: the same tasks take the same commands with them, give or take the miss at the end of a queue.
func TestSharesCostNoCommands(t *testing.T) {
	cost := func(shares map[string]Share) map[string]uint64 {
		r := celerytest.StartRedis(t)
		flood(t, r, "a", 100)
		flood(t, r, "b", 100)
		b := start(t, r.URL(0), func(o *Options) { o.Queues = []string{"a", "b"} })
		b.SetShares(1, shares)
		var done *Finished
		for range 200 {
			done = acked(next(t, b, done))
		}
		if err := b.Settle(bounded(t), *done); err != nil {
			t.Fatal(err)
		}
		return b.Status().Commands
	}
	without, with := cost(nil), cost(map[string]Share{"a": {Weight: 2}, "b": {Weight: 1}})
	for _, purpose := range []string{"claim", "result", "settle", "sample"} {
		if with[purpose] > without[purpose]+8 {
			t.Errorf("%s: %d commands with shares, %d without", purpose, with[purpose], without[purpose])
		}
	}
}

// Whatever runs and waits: a slot that is free finds a message if any queue with messages may have it; nobody takes what is kept for
// another; and no queue is shut out.
func TestShares(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		slots := rapid.IntRange(1, 12).Draw(t, "slots")
		queues := []string{"a", "b", "c", "d"}[:rapid.IntRange(1, 4).Draw(t, "queues")]
		s := &shares{most: slots, of: map[string]Share{}, taken: map[string]int{}}
		for _, q := range queues {
			if rapid.Bool().Draw(t, "has a share") {
				s.of[q] = Share{Min: rapid.IntRange(0, 4).Draw(t, "min"), Weight: rapid.IntRange(0, 5).Draw(t, "weight")}
			}
		}
		s.count(queues, nil)
		var ring []*queueKey
		for _, q := range queues {
			if rapid.Bool().Draw(t, "has messages") {
				ring = append(ring, &queueKey{queue: q, state: tryMove, run: 1 << 20})
			}
		}
		begun := map[string]int{}
		free := slots
		for range 200 { // a slot falls idle, or takes the next message
			if busy := slots - free; busy > 0 && (free == 0 || rapid.Bool().Draw(t, "ends")) {
				var has []string
				for _, q := range queues {
					if s.taken[q] > 0 {
						has = append(has, q)
					}
				}
				s.taken[rapid.SampledFrom(has).Draw(t, "which")]--
				free++
			}
			s.begin(ring, time.Now())
			k := s.next(free)
			if k == nil {
				for _, r := range ring {
					if !s.barred(r.queue, free) {
						t.Fatalf("%s may have one of %d free slots and does not get it: %v of %v", r.queue, free, s.taken, s.kept)
					}
				}
				continue
			}
			s.taken[k.queue]++
			begun[k.queue]++
			free--
			i := slices.Index(ring, k) // kombu's turn
			ring = append(slices.Delete(ring, i, i+1), k)
			missing := 0
			for q, n := range s.kept {
				missing += max(0, n-s.taken[q])
			}
			if missing > free {
				t.Fatalf("%d free slots, %d are kept: %v of %v", free, missing, s.taken, s.kept)
			}
		}
		for _, k := range ring {
			if begun[k.queue] == 0 && s.taken[k.queue] == 0 {
				t.Fatalf("%s never had a slot: %v of %v", k.queue, begun, s.kept)
			}
		}
	})
}

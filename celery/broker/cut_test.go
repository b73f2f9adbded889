package broker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// The scenario does everything that the broker can do with a message. It is run once to count the requests, then once for each place
// where a connection can be cut: before a request reaches Redis, before its reply comes back, and after that; and once for each request and
// each reply that gets lost on a connection that seems to live.
//
// None of these makes a second delivery unavoidable: a claim is found in its key, and all else is done by whoever finds the message there.
func TestEveryCut(t *testing.T) {
	r := celerytest.StartRedis(t, "--databases", "1024")
	requests := runScenario(t, r, 0, nil)
	t.Logf("the scenario takes %d requests", requests)
	stride := 1
	if testing.Short() {
		stride = 7
	}
	db := 0
	for _, when := range []celerytest.When{celerytest.BeforeRequest, celerytest.BeforeReply, celerytest.AfterReply, celerytest.LostRequest, celerytest.LostReply} {
		for n := 1; n <= requests+5; n += stride { // the loops run side by side: their number varies a little
			db++
			db := db
			t.Run(fmt.Sprintf("%s %d", when, n), func(t *testing.T) {
				t.Parallel()
				var struck <-chan struct{}
				asked := runScenario(t, r, db, func(p *celerytest.Proxy) { struck = p.CutAt(n, when) })
				if n > asked || when != celerytest.BeforeRequest && when != celerytest.LostRequest { // a reply may never come
					return
				}
				select {
				case <-struck:
				case <-time.After(celerytest.Backstop):
					t.Errorf("nothing was cut, of %d requests", asked)
				}
			})
		}
	}
}

// The same over a network that is slow, or is a black hole every now and then.
func TestASlowAndABrokenNetwork(t *testing.T) {
	r := celerytest.StartRedis(t)
	t.Run("slow", func(t *testing.T) {
		runScenario(t, r, 1, func(p *celerytest.Proxy) { p.Delay(2 * time.Millisecond) })
	})
	t.Run("black holes", func(t *testing.T) {
		over := make(chan struct{})
		var all sync.WaitGroup
		defer all.Wait()
		defer close(over)
		runScenario(t, r, 2, func(p *celerytest.Proxy) {
			all.Go(func() {
				for open := 10 * time.Millisecond; ; open += 10 * time.Millisecond { // at last long enough on any machine
					for _, hole := range []bool{true, false} {
						p.BlackHole(hole)
						select {
						case <-time.After(map[bool]time.Duration{true: 120 * time.Millisecond, false: open}[hole]):
						case <-over:
							p.BlackHole(false)
							return
						}
					}
				}
			})
		})
	})
}

func runScenario(t *testing.T, r *celerytest.Redis, db int, trouble func(*celerytest.Proxy)) int {
	c := r.Client(db)
	p := celerytest.StartProxy(t, r.Addr())
	push(t, c, "celery", "ack", "requeue", "park", "put back", "bury", "keep")
	bury(t, c, "gone", 7, "celery", message("recovered", 0))
	killer, err := celery.Redelivered([]byte(message("killer", 0)), 5)
	if err != nil {
		t.Fatal(err)
	}
	bury(t, c, "gone too", 3, "celery", string(killer))
	leaveUnacked(t, c, "left", time.Now().Add(-2*time.Hour))
	if trouble != nil {
		trouble(p)
	}
	b := start(t, p.URL(db), func(o *Options) {
		o.IOTimeout, o.BlockTimeout = 100*time.Millisecond, 200*time.Millisecond
	})

	settle := func(d *celery.Delivery, times int) *Finished {
		f := acked(d)
		if times > 1 {
			return f
		}
		switch idOf(d.Raw) {
		case "requeue":
			f.Settlement = Settlement{Action: Requeue}
		case "park":
			f.Settlement = Settlement{Action: Park, Until: time.Now().Add(20 * time.Millisecond)}
		case "put back":
			f.Settlement = Settlement{Action: PutBack}
		case "bury":
			f.Settlement.Action, f.Settlement.Dead = Bury, &DeadLetter{Cause: "signal"}
		case "keep":
			if err := b.Store(bounded(t), []celery.Result{{Key: "started", Document: []byte("x")}}); err != nil {
				t.Fatal(err)
			}
		case "recovered":
			f.Settlement.CheckSuccess = true
		}
		return f
	}
	want := map[string]int{"ack": 1, "requeue": 2, "park": 2, "put back": 2, "bury": 1, "keep": 1, "recovered": 1, "left": 1}
	total := 0
	for _, n := range want {
		total += n
	}
	seen := map[string]int{}
	var done *Finished
	for range total {
		d := next(t, b, done)
		id := idOf(d.Raw)
		seen[id]++
		done = settle(d, seen[id])
	}
	if err := b.Settle(bounded(t), *done); err != nil {
		t.Fatal(err)
	}
	celerytest.Eventually(t, "the message that killed too often to be buried", func() bool { return c.HLen(bounded(t), "agensium:dead").Val() == 2 })
	closeBroker(t, b)

	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("deliveries (-want +got):\n%s", diff)
	}
	for _, id := range slices.Sorted(maps.Keys(want)) {
		if c.Exists(bounded(t), "celery-task-meta-"+id).Val() != 1 {
			t.Errorf("no result of %q", id)
		}
	}
	if keys := claimKeys(t, c); len(keys) != 0 {
		t.Errorf("claim keys left: %q", keys)
	}
	for _, key := range []string{"celery", "unacked", "unacked_index", "agensium:parked"} {
		if c.Exists(bounded(t), key).Val() != 0 {
			t.Errorf("something is left in %s", key)
		}
	}
	if n := c.HLen(bounded(t), "agensium:dead").Val(); n != 2 {
		t.Errorf("%d dead letters", n)
	}
	return len(p.Requests())
}

// bury makes a node that died with a message in its hands.
func bury(t testing.TB, c *redis.Client, incarnation string, ticket int, list, raw string) {
	t.Helper()
	entry, _ := json.Marshal(node{Node: "w@dead", Host: "elsewhere", Tickets: 8, Keys: []string{list}})
	if err := c.HSet(bounded(t), "agensium:nodes", incarnation, entry).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.LPush(bounded(t), fmt.Sprintf("agensium:claim:%s:%d:%s", incarnation, ticket, list), raw).Err(); err != nil {
		t.Fatal(err)
	}
}

// leaveUnacked puts a message where a stock worker keeps what it was given at that time.
func leaveUnacked(t testing.TB, c *redis.Client, id string, at time.Time) {
	t.Helper()
	if err := c.HSet(bounded(t), "unacked", "tag-"+id, "["+message(id, 0)+`, "", "celery"]`).Err(); err != nil {
		t.Fatal(err)
	}
	if err := c.ZAdd(bounded(t), "unacked_index", redis.Z{Score: float64(at.Unix()), Member: "tag-" + id}).Err(); err != nil {
		t.Fatal(err)
	}
}

// Several slots: claims of several messages are under way in the pipeline that is cut.
func TestEveryCutWithManySlots(t *testing.T) {
	r := celerytest.StartRedis(t, "--databases", "1024")
	db := 0
	for _, when := range []celerytest.When{celerytest.BeforeRequest, celerytest.BeforeReply, celerytest.AfterReply} {
		for n := 1; n <= 70; n += 3 {
			db++
			db := db
			t.Run(fmt.Sprintf("%s %d", when, n), func(t *testing.T) {
				t.Parallel()
				c := r.Client(db)
				for i := range 12 {
					push(t, c, []string{"celery", "celery" + step + "6"}[i%2], fmt.Sprint(i))
				}
				p := celerytest.StartProxy(t, r.Addr())
				p.CutAt(n, when)
				a := start(t, p.URL(db), func(o *Options) { o.Node = "a" })
				b := start(t, p.URL(db), func(o *Options) { o.Node = "b" })
				seen := consume(t, 12, a, b)
				for id, ds := range seen {
					if len(ds) != 1 {
						t.Errorf("%s came %d times", id, len(ds))
					}
				}
				closeBroker(t, a)
				closeBroker(t, b)
				if keys := claimKeys(t, c); len(keys) != 0 || len(seen) != 12 {
					t.Errorf("%d of 12 came; claim keys left: %q", len(seen), keys)
				}
			})
		}
	}
}

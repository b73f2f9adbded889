package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"pgregory.net/rapid"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// places is one look at all of Redis: for each message the keys in which it lies.
const places = `
local found = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', key).ok
  local values = {}
  if kind == 'list' then values = redis.call('LRANGE', key, 0, -1) end
  if kind == 'hash' and key ~= 'agensium:nodes' then values = redis.call('HVALS', key) end
  for _, v in ipairs(values) do found[#found + 1] = key; found[#found + 1] = v end
end
return found`

// world is the model: what a client sent, and what became of it as far as the slots know.
type world struct {
	t     *testing.T
	c     *redis.Client
	proxy *celerytest.Proxy
	dir   string
	b     *Broker
	sent  int
	place map[string]string // id → queue, held, parked, dead, done
	held  map[string]*celery.Delivery
}

func (w *world) start() {
	w.b = start(w.t, w.proxy.URL(0), func(o *Options) {
		o.StateDir, o.MaxDeliveries, o.Queues = w.dir, 1000, []string{"celery", "b"}
	})
}

func (w *world) in(place string) []string {
	var ids []string
	for id, p := range w.place {
		if p == place {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// TestEachTaskIsInExactlyOnePlace drives a broker with everything that can happen to it and looks, after each step, where
// each message is.
func TestEachTaskIsInExactlyOnePlace(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	rapid.Check(t, func(rt *rapid.T) {
		c.FlushAll(bounded(t))
		w := &world{t: t, c: c, proxy: celerytest.StartProxy(t, r.Addr()), dir: t.TempDir(), place: map[string]string{}, held: map[string]*celery.Delivery{}}
		w.start()
		defer func() { w.b.crash() }()
		rt.Repeat(map[string]func(*rapid.T){
			"":      func(rt *rapid.T) { w.check(rt) },
			"send":  w.send,
			"claim": w.claim,
			"settle": func(rt *rapid.T) {
				w.settle(rt, rapid.SampledFrom([]Action{Ack, Ack, Requeue, PutBack, Park, Bury}).Draw(rt, "action"))
			},
			"wake":    w.wake,
			"cut":     func(*rapid.T) { w.proxy.CutAll() },
			"crash":   func(*rapid.T) { w.b.crash(); w.start(); w.back() },
			"restart": func(*rapid.T) { closeBroker(t, w.b); w.start(); w.back() },
		})
		last := w.b.Status().Incarnation
		closeBroker(t, w.b)
		w.back()
		w.check(rt)
		if keys := claimKeys(t, c); last != "" && slices.ContainsFunc(keys, func(k string) bool { return strings.Contains(k, last) }) {
			rt.Fatalf("claim keys of %s left: %q", last, keys)
		}
	})
}

func (w *world) send(rt *rapid.T) {
	id := fmt.Sprint("t", w.sent)
	w.sent++
	key := rapid.SampledFrom([]string{"celery", "celery" + step + "3", "b", "b" + step + "9"}).Draw(rt, "key")
	push(w.t, w.c, key, id)
	w.place[id] = "queue"
}

func (w *world) claim(rt *rapid.T) {
	if len(w.in("queue")) == 0 {
		rt.Skip("the queues are empty")
	}
	w.take(rt, next(w.t, w.b, nil))
}

func (w *world) take(rt *rapid.T, d *celery.Delivery) {
	id := idOf(d.Raw)
	if w.place[id] != "queue" {
		rt.Fatalf("%s was delivered, but it is %s", id, w.place[id])
	}
	w.place[id], w.held[id] = "held", d
}

func (w *world) settle(rt *rapid.T, a Action) {
	ids := w.in("held")
	if len(ids) == 0 {
		rt.Skip("nothing is held")
	}
	id := rapid.SampledFrom(ids).Draw(rt, "id")
	d := w.held[id]
	delete(w.held, id)
	f := Finished{d, Settlement{Action: a, Until: time.Now().Add(time.Hour)}}
	w.place[id] = map[Action]string{Ack: "done", Requeue: "queue", PutBack: "queue", Park: "parked", Bury: "dead"}[a]
	if len(w.in("queue")) > 0 && rapid.Bool().Draw(rt, "and claim") {
		w.take(rt, next(w.t, w.b, &f))
		return
	}
	if err := w.b.Settle(bounded(w.t), f); err != nil {
		rt.Fatalf("settle %s with %s: %v", id, a, err)
	}
}

// wake moves a parked task to its queue, as its time would.
func (w *world) wake(rt *rapid.T) {
	ids := w.in("parked")
	if len(ids) == 0 {
		rt.Skip("nothing is parked")
	}
	id := rapid.SampledFrom(ids).Draw(rt, "id")
	celerytest.Eventually(w.t, "the task to be woken", func() bool { // a connection that was cut is an error
		_, err := w.b.Hasten(bounded(w.t), func(t *celery.Task) bool { return t.ID == id })
		return err == nil
	})
	w.place[id] = "queue"
}

// back notes that what the last broker held is in the queues again, or soon will be.
func (w *world) back() {
	for id := range w.held {
		w.place[id] = "queue"
	}
	clear(w.held)
}

func (w *world) check(rt *rapid.T) {
	values, err := w.c.Eval(bounded(w.t), places, nil).StringSlice()
	if err != nil {
		rt.Fatal(err)
	}
	found := map[string][]string{}
	for i := 0; i < len(values); i += 2 {
		raw := []byte(values[i+1])
		if env, _, _, err := splitUnacked(raw); err == nil {
			raw = env
		}
		id := idOf(raw)
		if id == "" {
			id = deadID(raw)
		}
		found[id] = append(found[id], values[i])
	}
	for id, place := range w.place {
		want := 1
		if place == "done" {
			want = 0
		}
		if len(found[id]) != want {
			rt.Fatalf("%s is %s, and lies in %q", id, place, found[id])
		}
	}
}

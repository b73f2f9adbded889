package broker

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/celerytest"
)

func TestAParkedTaskWakesOnceWithTwoBrokers(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	a := start(t, r.URL(0), func(o *Options) { o.Node = "a" })
	const n = 250
	until := time.Now().Add(400 * time.Millisecond)
	for i := range n {
		if err := c.LPush(bounded(t), "celery", message(fmt.Sprint(i), i%10)).Err(); err != nil {
			t.Fatal(err)
		}
		d := next(t, a, nil)
		if err := a.Settle(bounded(t), Finished{d, Settlement{Action: Park, Until: until.Add(time.Duration(i) * time.Microsecond)}}); err != nil {
			t.Fatal(err)
		}
	}
	b := start(t, r.URL(0), func(o *Options) { o.Node = "b" })
	seen := consume(t, n, a, b)
	for id, ds := range seen {
		if len(ds) != 1 || string(ds[0].Raw) != message(id, int(id[len(id)-1]-'0')) {
			t.Errorf("%s came %d times: %s", id, len(ds), ds[0].Raw)
		}
	}
	if got := a.Status().Woken + b.Status().Woken; got != n || len(seen) != n {
		t.Errorf("%d woken, %d seen", got, len(seen))
	}
	closeBroker(t, a)
	closeBroker(t, b)
	left := slices.DeleteFunc(c.Keys(bounded(t), "*").Val(), func(key string) bool { return strings.HasPrefix(key, "celery-task-meta-") })
	if len(left) != 0 {
		t.Errorf("left besides the results: %q; registry: %v", left, c.HGetAll(bounded(t), "agensium:nodes").Val())
	}
}

func TestATaskParkedDuringALookWakes(t *testing.T) {
	r := celerytest.StartRedis(t)
	far := celerytest.StartProxy(t, r.Addr())
	far.Delay(time.Millisecond) // the look after a wake and the next parking meet
	b := start(t, far.URL(0))
	push(t, r.Client(0), "celery", "again")
	d := next(t, b, nil)
	for i := range 200 {
		d = next(t, b, &Finished{d, Settlement{Action: Park, Until: time.Now().Add(time.Duration(i%20) * 500 * time.Microsecond)}})
	}
	if err := b.Settle(bounded(t), *acked(d)); err != nil {
		t.Fatal(err)
	}
}

func TestWhatStockWorkersLeftIsRestored(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	ctx := bounded(t)
	old := time.Now().Add(-2 * time.Hour)
	leaveUnacked(t, c, "second", old.Add(time.Second))
	leaveUnacked(t, c, "first", old)
	leaveUnacked(t, c, "running", time.Now().Add(-time.Minute))
	leaveUnacked(t, c, "parked", old)
	c.ZAdd(ctx, "agensium:parked", redis.Z{Score: float64(time.Now().Add(time.Hour).Unix()), Member: "tag-parked"})
	leaveUnacked(t, c, "routed", old.Add(-time.Second))
	c.HSet(ctx, "unacked", "tag-routed", "["+message("routed", 4)+`, "media", "media.video.x"]`)
	c.SAdd(ctx, "_kombu.binding.media", "other"+step+""+step+"nowhere", "media.video.#"+step+`^media\.video\..*?$`+step+"videos")
	b := start(t, r.URL(0))
	celerytest.Eventually(t, "three to be restored", func() bool { return b.Status().Restored == 3 })
	if got := list(t, c, "celery"); !cmp.Equal(got, []string{"first", "second"}) {
		t.Errorf("queue is %v", got)
	}
	if got := list(t, c, "videos"+step+"3"); !cmp.Equal(got, []string{"routed"}) {
		t.Errorf("routed queue is %v", got)
	}
	if n := c.HLen(ctx, "unacked").Val(); n != 2 {
		t.Errorf("%d left in unacked, want the running and the parked one", n)
	}
	celerytest.Eventually(t, "the mutex to be free", func() bool { return c.Exists(ctx, "unacked_mutex").Val() == 0 })
}

func TestKombusMutexIsHonoured(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	leaveUnacked(t, c, "a", time.Now().Add(-2*time.Hour))
	c.Set(bounded(t), "unacked_mutex", "somebody", time.Minute)
	b := start(t, r.URL(0))
	celerytest.Eventually(t, "a look", func() bool { return b.Status().Commands["unacked"] >= 3 })
	b.Drain()
	closeBroker(t, b)
	if c.HLen(bounded(t), "unacked").Val() != 1 || c.Get(bounded(t), "unacked_mutex").Val() != "somebody" {
		t.Error("restored under somebody else's lock")
	}
}

func TestSplitUnacked(t *testing.T) {
	for in, want := range map[string][3]string{
		`[{"a": "}]\"", "b": [NaN, {}]}, "", "celery"]`: {`{"a": "}]\"", "b": [NaN, {}]}`, "", "celery"},
		` [{},"x","y\"z"] `:                             {"{}", "x", `y"z`},
	} {
		env, ex, rk, err := splitUnacked([]byte(in))
		if got := [3]string{string(env), ex, rk}; got != want || err != nil {
			t.Errorf("%s: %v %v", in, got, err)
		}
	}
	for _, in := range []string{``, `[]`, `{}`, `["a", "b", "c"]`, `[{}]`, `[{}, "a"]`, `[{}, "a", 1]`, `[{"a": 1`, `[{} "a", "b"]`} {
		if _, _, _, err := splitUnacked([]byte(in)); err == nil {
			t.Errorf("%s: no error", in)
		}
	}
}

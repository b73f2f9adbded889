package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

func TestSettlements(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	for name, tc := range map[string]struct {
		s     Settlement
		queue []string // afterwards, besides "other"
		look  func(t *testing.T)
	}{
		"ack":      {s: Settlement{Action: Ack}, queue: []string{"other"}},
		"put back": {s: Settlement{Action: PutBack}, queue: []string{"task", "other"}},
		"requeue": {s: Settlement{Action: Requeue}, queue: []string{"other", "task"}, look: func(t *testing.T) {
			task, _ := celery.Decode([]byte(c.LIndex(bounded(t), "celery", 0).Val()), nil)
			if !task.Redelivered || task.Deliveries != 0 {
				t.Errorf("redelivered %v, deliveries %d", task.Redelivered, task.Deliveries)
			}
		}},
		"park": {s: Settlement{Action: Park, Until: time.Now().Add(time.Hour)}, queue: []string{"other"}, look: func(t *testing.T) {
			tags := c.ZRange(bounded(t), "agensium:parked", 0, -1).Val()
			if len(tags) != 1 {
				t.Fatalf("parked: %v", tags)
			}
			var entry []any
			if err := json.Unmarshal([]byte(c.HGet(bounded(t), "unacked", tags[0]).Val()), &entry); err != nil || entry[1] != "" || entry[2] != "celery" {
				t.Errorf("unacked entry: %v %v", entry, err)
			}
			if c.ZScore(bounded(t), "unacked_index", tags[0]).Val() < float64(time.Now().Unix()+3500) {
				t.Error("unacked_index says that it is due")
			}
		}},
		"bury": {s: Settlement{Action: Bury, Dead: &DeadLetter{Cause: "oom", Memory: 1 << 30, Tail: []string{"last words"}}}, queue: []string{"other"}, look: func(t *testing.T) {
			dead := OpenDeadLetters(target(t, r.URL(0)), "")
			defer dead.Close()
			all, err := dead.List(bounded(t), DeadFilter{Task: "t.noop", Cause: "oom"})
			if err != nil || len(all) != 1 || all[0].TaskID != "task" || string(all[0].Message) != message("task", 0) || all[0].Node != "w@test" {
				t.Fatalf("dead letters: %+v %v", all, err)
			}
		}},
		"keep, then ack": {s: Settlement{Action: Keep}, queue: []string{"other"}},
	} {
		t.Run(name, func(t *testing.T) {
			push(t, c, "celery", "task", "other")
			d := next(t, b, nil)
			tc.s.Results = result(d)
			if err := b.Settle(bounded(t), Finished{d, tc.s}); err != nil {
				t.Fatal(err)
			}
			if c.GetDel(bounded(t), "celery-task-meta-task").Val() == "" {
				t.Error("no result")
			}
			if tc.s.Action == Keep {
				if err := b.Settle(bounded(t), *acked(d)); err != nil {
					t.Fatal(err)
				}
			}
			if got := list(t, c, "celery"); !cmp.Equal(got, tc.queue) {
				t.Errorf("queue is %v, want %v", got, tc.queue)
			}
			if keys := claimKeys(t, c); len(keys) != 0 {
				t.Errorf("claim keys left: %q", keys)
			}
			if tc.look != nil {
				tc.look(t)
			}
			c.Del(bounded(t), "celery", "unacked", "unacked_index", "agensium:parked", "agensium:dead", "agensium:dead:index")
		})
	}
}

func TestASuccessIsNeverOverwritten(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	const success = `{"status": "SUCCESS", "result": NaN}`
	for stored, want := range map[string]string{success: success, `{"status": "STARTED"}`: "new", "": "new"} {
		push(t, c, "celery", "a")
		d := next(t, b, nil)
		c.Del(bounded(t), "k")
		if stored != "" {
			c.Set(bounded(t), "k", stored, 0)
		}
		err := b.Settle(bounded(t), Finished{d, Settlement{Results: []celery.Result{{Key: "k", Document: []byte("new")}}, Action: Ack, CheckSuccess: true}})
		if got := c.Get(bounded(t), "k").Val(); got != want || err != nil {
			t.Errorf("over %q: stored %q, %v", stored, got, err)
		}
	}
}

// The message of a retry is out before its document is stored.
func TestARetryDoesNotOverwriteHowItsNextAttemptEnded(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	const layout = "2006-01-02T15:04:05.999999-07:00"
	failed := func(at time.Time) string {
		return `{"status": "FAILURE", "result": {"exc_type": "E"}, "date_done": "` + at.Format(layout) + `"}`
	}
	const retry = `{"status": "RETRY"}`
	future, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	naive := `{"status": "REVOKED", "date_done": "` + future.UTC().Format("2006-01-02T15:04:05.999999") + `"}`
	const success = `{"status": "SUCCESS", "result": 1}`
	for _, test := range []struct{ stored, want string }{
		{"", retry}, {`{"status": "STARTED", "date_done": null}`, retry}, {success, success},
		{failed(future), failed(future)}, {failed(past), retry}, {naive, naive},
	} {
		for _, meanwhile := range []bool{false, true} { // while we look
			push(t, c, "celery", "a")
			d := next(t, b, nil)
			c.Del(bounded(t), "k")
			store := func() {
				if test.stored != "" {
					c.Set(bounded(t), "k", test.stored, 0)
				}
			}
			if meanwhile {
				b.aux.AddHook(&afterGet{do: sync.OnceFunc(store)})
			} else {
				store()
			}
			told := subscribe(t, c, "k")
			err := b.Settle(bounded(t), Finished{d, Settlement{Results: []celery.Result{{Key: "k", Document: []byte(retry)}}, Action: Ack, CheckEnd: true}})
			if got := c.Get(bounded(t), "k").Val(); got != test.want || err != nil {
				t.Errorf("over %q, meanwhile %t: stored %q, %v", test.stored, meanwhile, got, err)
			}
			if ttl := c.TTL(bounded(t), "k").Val(); (test.want == retry || meanwhile) && ttl <= 0 {
				t.Errorf("over %q, meanwhile %t: expires in %s", test.stored, meanwhile, ttl)
			}
			if meanwhile && test.want != retry {
				<-told // that of the retry
			}
			if test.want == retry || meanwhile {
				if m := <-told; m.Payload != test.want {
					t.Errorf("over %q: published %q", test.stored, m.Payload)
				}
			}
		}
	}
}

// afterGet calls do once a pipeline with a GET was answered.
type afterGet struct{ do func() }

func (*afterGet) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*afterGet) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h *afterGet) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if cmds[0].Name() == "get" {
			h.do()
		}
		return err
	}
}

// subscribe returns what is published from now on.
func subscribe(t *testing.T, c *redis.Client, channel string) <-chan *redis.Message {
	t.Helper()
	ps := c.Subscribe(t.Context(), channel)
	t.Cleanup(func() { _ = ps.Close() })
	if _, err := ps.Receive(bounded(t)); err != nil {
		t.Fatal(err)
	}
	return ps.Channel()
}

func TestResultsOnAnotherDatabaseAreStoredBeforeTheAcknowledgement(t *testing.T) {
	r := celerytest.StartRedis(t)
	store := celerytest.StartRedis(t)
	c, rc := r.Client(0), store.Client(3)
	b := start(t, r.URL(0), func(o *Options) { o.Results = target(t, store.URL(3)) })
	push(t, c, "celery", "a", "b")
	d := next(t, b, acked(next(t, b, nil)))
	if rc.Exists(bounded(t), "celery-task-meta-a").Val() != 1 || c.Exists(bounded(t), "celery-task-meta-a").Val() != 0 {
		t.Error("result is not where it belongs")
	}
	store.Kill()
	settled := make(chan error, 1)
	go func() { settled <- b.Settle(bounded(t), *acked(d)) }()
	celerytest.Eventually(t, "a condition of the result store", func() bool { return b.Status().Results != nil })
	if n := len(claimKeys(t, c)); n != 1 || len(settled) != 0 {
		t.Errorf("acknowledged without a stored result: %d claim keys", n)
	}
	store.Start()
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	if rc.Exists(bounded(t), "celery-task-meta-b").Val() != 1 || len(claimKeys(t, c)) != 0 {
		t.Error("not settled after the store came back")
	}
}

// OOM refuses SET and not DEL: from the first refusal on, results go first.
func TestOutOfMemoryLosesNoResult(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	push(t, c, "celery", "a", "b")
	da, db := next(t, b, nil), next(t, b, nil)
	c.ConfigSet(bounded(t), "maxmemory", "1")
	settled := make(chan error, 2)
	go func() { settled <- b.Settle(bounded(t), *acked(da)) }()
	celerytest.Eventually(t, "the condition", func() bool { n := b.Status().Condition; return n != nil && n.Name == "oom" })
	go func() { settled <- b.Settle(bounded(t), *acked(db)) }()
	celerytest.Eventually(t, "both to be owed", func() bool { return b.storer.pending() == 1 })
	if got := list(t, c, db.Claim); !cmp.Equal(got, []string{"b"}) {
		t.Errorf("the second was acknowledged without a result: %v", got)
	}
	c.ConfigSet(bounded(t), "maxmemory", "0")
	for range 2 {
		if err := <-settled; err != nil {
			t.Fatal(err)
		}
	}
	if n := c.Exists(bounded(t), "celery-task-meta-a", "celery-task-meta-b").Val(); n != 2 {
		t.Errorf("%d of 2 results stored", n)
	}
	celerytest.Eventually(t, "the condition to end", func() bool { return b.Status().Condition == nil })
}

func TestWhatWasHandedInIsWrittenThoughTheCallerLeft(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	push(t, c, "celery", "a")
	d := next(t, b, nil)
	ctx, cancel := context.WithCancel(bounded(t))
	cancel()
	_, _ = b.Next(ctx, acked(d))
	closeBroker(t, b)
	if c.Exists(bounded(t), "celery-task-meta-a").Val() != 1 || len(claimKeys(t, c)) != 0 || len(list(t, c, "celery")) != 0 {
		t.Error("not settled")
	}
}

func TestDeadLettersAreBoundedListedRetriedAndDropped(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0), func(o *Options) { o.MaxDeadLetters = 3 })
	for i := range 5 {
		raw, err := celery.Redelivered([]byte(message(fmt.Sprint(i), 0)), 5)
		if err != nil {
			t.Fatal(err)
		}
		c.LPush(bounded(t), "celery", raw)
		d := next(t, b, nil)
		if err := b.Settle(bounded(t), Finished{d, Settlement{Action: Bury, Dead: &DeadLetter{Cause: "signal"}}}); err != nil {
			t.Fatal(err)
		}
	}
	dead := OpenDeadLetters(target(t, r.URL(0)), "")
	defer dead.Close()
	all, err := dead.List(bounded(t), DeadFilter{})
	if err != nil || len(all) != 3 || all[0].TaskID != "4" || all[2].TaskID != "2" || all[0].Deliveries != 5 {
		t.Fatalf("%+v %v", all, err)
	}
	if err := dead.Retry(bounded(t), all[0].ID); err != nil {
		t.Fatal(err)
	}
	if d := next(t, b, nil); idOf(d.Raw) != "4" || celery.Deliveries(d.Raw) != 0 {
		t.Errorf("retried %s with %d deliveries", idOf(d.Raw), celery.Deliveries(d.Raw))
	}
	if n, err := dead.Drop(bounded(t), all[1].ID, "nonsense"); n != 1 || err != nil {
		t.Errorf("dropped %d, %v", n, err)
	}
	if all, _ := dead.List(bounded(t), DeadFilter{}); len(all) != 1 {
		t.Errorf("%d left", len(all))
	}
}

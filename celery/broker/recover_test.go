package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// consume takes n messages with slots of several brokers and counts how often each came.
func consume(t *testing.T, n int, brokers ...*Broker) map[string][]*celery.Delivery {
	t.Helper()
	ctx, stop := context.WithCancel(bounded(t))
	defer stop()
	var mu sync.Mutex
	seen := map[string][]*celery.Delivery{}
	came := make(chan struct{}, 10*n)
	var all sync.WaitGroup
	for _, b := range brokers {
		for range 2 {
			all.Go(func() {
				var done *Finished
				for {
					d, err := b.Next(ctx, done)
					if err != nil {
						return
					}
					mu.Lock()
					seen[idOf(d.Raw)] = append(seen[idOf(d.Raw)], d)
					mu.Unlock()
					done = acked(d)
					came <- struct{}{}
				}
			})
		}
	}
	for i := range n {
		select {
		case <-came:
		case <-ctx.Done():
			t.Fatalf("%d of %d came", i, n)
		}
	}
	stop()
	all.Wait()
	return seen
}

func TestTwoNodesRecoverADeadOneOnce(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	const n = 40
	for i := range n {
		list := []string{"celery", "celery" + step + "3", "unknown here"}[i%3]
		bury(t, c, fmt.Sprint("gone", i%7), i%8, list, message(fmt.Sprint(i), 0))
		c.HSet(bounded(t), "agensium:nodes", fmt.Sprint("gone", i%7), `{"node":"w@dead","tickets":8,"keys":["celery","celery\u0006\u00163","unknown here"]}`)
	}
	if len(claimKeys(t, c)) != n {
		t.Fatal("the dead do not hold what they should")
	}
	a := start(t, r.URL(0), func(o *Options) { o.Node = "a" })
	b := start(t, r.URL(0), func(o *Options) { o.Node, o.Queues = "b", []string{"celery", "unknown here"} })
	seen := consume(t, n, a, b)
	for id, ds := range seen {
		task, err := celery.Decode(ds[0].Raw, nil)
		if len(ds) != 1 || err != nil || !task.Redelivered || task.Deliveries != 1 {
			t.Errorf("%s came %d times, %+v", id, len(ds), task)
		}
	}
	if len(seen) != n {
		t.Errorf("%d of %d came", len(seen), n)
	}
	// A message is counted after it was pushed, so that whoever runs it may be faster.
	celerytest.Eventually(t, "all to be counted as recovered", func() bool { return a.Status().Recovered+b.Status().Recovered == n })
}

func TestADeliveryTooManyIsBuried(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	raw, err := celery.Redelivered([]byte(message("killer", 0)), 5)
	if err != nil {
		t.Fatal(err)
	}
	bury(t, c, "gone", 0, "celery", string(raw))
	b := start(t, r.URL(0))
	celerytest.Eventually(t, "a dead letter", func() bool { return b.Status().Recovered == 1 })
	dead := OpenDeadLetters(target(t, r.URL(0)), "")
	defer dead.Close()
	all, err := dead.List(bounded(t), DeadFilter{Cause: "max_deliveries"})
	if err != nil || len(all) != 1 || all[0].TaskID != "killer" || all[0].Deliveries != 5 || len(list(t, c, "celery")) != 0 {
		t.Errorf("%+v %v", all, err)
	}
}

func TestTheJudgeDecidesAboutWhatTheDeadHeld(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	bury(t, c, "gone", 0, "celery", message("early", 0))
	b := start(t, r.URL(0), func(o *Options) {
		o.Judge = func(queue string, raw []byte) Settlement {
			return Settlement{Action: Ack, Results: []celery.Result{{Key: "verdict-" + queue + "-" + idOf(raw), Document: []byte("lost")}}}
		}
	})
	celerytest.Eventually(t, "the verdict", func() bool { return b.Status().Recovered == 1 })
	if c.Get(bounded(t), "verdict-celery-early").Val() != "lost" || len(claimKeys(t, c)) != 0 || len(list(t, c, "celery")) != 0 {
		t.Error("not settled as judged")
	}
}

func TestARestartedNodeRecoversItsLastIncarnationAtOnce(t *testing.T) {
	r := celerytest.StartRedis(t)
	dir := t.TempDir()
	state := func(o *Options) { o.StateDir = dir }
	c := r.Client(0)
	push(t, c, "celery", "a")
	first := start(t, r.URL(0), state)
	next(t, first, nil)
	first.crash()
	second := start(t, r.URL(0), state)
	d := next(t, second, nil)
	if task, _ := celery.Decode(d.Raw, nil); task.ID != "a" || task.Deliveries != 1 {
		t.Errorf("%+v", task)
	}
	if c.Exists(bounded(t), "agensium:lease:"+first.Status().Incarnation).Val() != 1 {
		t.Error("it waited for the lease")
	}
}

func TestLivingNodesOfOneNameLeaveEachOtherAlone(t *testing.T) {
	r := celerytest.StartRedis(t)
	dir := t.TempDir()
	state := func(o *Options) { o.StateDir = dir }
	c := r.Client(0)
	push(t, c, "celery", "a")
	old := start(t, r.URL(0), state)
	d := next(t, old, nil)
	young := start(t, r.URL(0), state)
	celerytest.Eventually(t, "a look at the other's lease", func() bool { return young.Status().Commands["recover"] > 0 })
	young.Notice()
	celerytest.Eventually(t, "another look", func() bool { return young.Status().Commands["recover"] > 1 })
	if err := old.Settle(bounded(t), *acked(d)); err != nil {
		t.Error(err)
	}
	if n := young.Status().Recovered; n != 0 {
		t.Errorf("%d taken from the living", n)
	}
}

// shortLease is one whose end a test can wait for, and that a machine which stands still for two seconds does not end.
const shortLease = 4 * time.Second

// hung is a broker that holds a claim and hears nothing of Redis until its lease has ended.
func hung(t *testing.T, r *celerytest.Redis) (*Broker, *celery.Delivery, *celerytest.Proxy) {
	t.Helper()
	c := r.Client(0)
	push(t, c, "celery", "a")
	p := celerytest.StartProxy(t, r.Addr())
	b := start(t, p.URL(0), func(o *Options) {
		o.Node, o.BusyLease, o.IOTimeout = "hung", shortLease, 100*time.Millisecond
	})
	d := next(t, b, nil)
	id := b.Status().Incarnation
	p.BlackHole(true)
	celerytest.Eventually(t, "the lease to end", func() bool { return c.Exists(bounded(t), "agensium:lease:"+id).Val() == 0 })
	return b, d, p
}

func TestANodeThatWasAwayTooLongDropsWhatOthersTook(t *testing.T) {
	t.Parallel() // most of the time it waits
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b, d, p := hung(t, r)
	other := start(t, r.URL(0), func(o *Options) { o.Node = "other" })
	taken := next(t, other, nil)
	if idOf(taken.Raw) != "a" {
		t.Fatalf("took %s", idOf(taken.Raw))
	}
	p.BlackHole(false)
	err := b.Settle(bounded(t), Finished{d, Settlement{Results: []celery.Result{{Key: "celery-task-meta-a", Document: []byte("of the one that was away")}}, Action: Ack}})
	if !errors.Is(err, ErrTaken) {
		t.Errorf("Settle: %v", err)
	}
	if c.Exists(bounded(t), "celery-task-meta-a").Val() != 0 {
		t.Error("its result was stored")
	}
	if err := other.Settle(bounded(t), *acked(taken)); err != nil {
		t.Error(err)
	}
	if s := b.Status(); s.Lapses == 0 || s.Taken != 1 {
		t.Errorf("%d lapses, %d taken", s.Lapses, s.Taken)
	}
	closeBroker(t, b)
	closeBroker(t, other)
	if keys := claimKeys(t, c); len(keys) != 0 || len(list(t, c, "celery")) != 0 {
		t.Errorf("claim keys left: %q", keys)
	}
}

func TestANodeThatWasAwayTooLongKeepsWhatNobodyTook(t *testing.T) {
	t.Parallel() // most of the time it waits
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b, d, p := hung(t, r)
	p.BlackHole(false)
	if err := b.Settle(bounded(t), *acked(d)); err != nil {
		t.Fatal(err)
	}
	if s := b.Status(); s.Lapses == 0 || s.Taken != 0 {
		t.Errorf("%d lapses, %d taken", s.Lapses, s.Taken)
	}
	push(t, c, "celery", "b")
	if seen := consume(t, 1, b); len(seen["b"]) != 1 {
		t.Error("it does not go on")
	}
	closeBroker(t, b)
	if keys := claimKeys(t, c); len(keys) != 0 {
		t.Errorf("claim keys left: %q", keys)
	}
}

func TestAReplyThatIsOlderThanTheLeaseIsNotDelivered(t *testing.T) {
	t.Parallel() // most of the time it waits
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	p := celerytest.StartProxy(t, r.Addr())
	paused := start(t, p.URL(0), func(o *Options) {
		o.Node, o.BusyLease, o.IdleLease = "paused", shortLease, shortLease
	})
	came := make(chan *celery.Delivery, 1)
	go func() { d, _ := paused.Next(bounded(t), nil); came <- d }()
	celerytest.Eventually(t, "waits", func() bool { return strings.Contains(c.Info(bounded(t), "clients").Val(), "blocked_clients:4\r") })
	id := paused.Status().Incarnation
	p.BlackHole(true)
	push(t, c, "celery", "a")
	celerytest.Eventually(t, "a claim that it does not hear of", func() bool { return len(claimKeys(t, c)) == 1 })
	celerytest.Eventually(t, "the lease to end", func() bool { return c.Exists(bounded(t), "agensium:lease:"+id).Val() == 0 })
	other := start(t, r.URL(0), func(o *Options) { o.Node = "other" })
	d := next(t, other, nil)
	p.BlackHole(false)
	celerytest.Eventually(t, "the lapse", func() bool { return paused.Status().Lapses > 0 })
	if err := other.Settle(bounded(t), *acked(d)); err != nil {
		t.Fatal(err)
	}
	push(t, c, "celery", "b")
	if d := <-came; d == nil || idOf(d.Raw) != "b" {
		t.Errorf("it was given what another node had taken")
	}
}

// The same, but nobody was there to take it.
func TestAReplyThatIsOlderThanTheLeaseIsDeliveredIfNobodyTookTheClaim(t *testing.T) {
	t.Parallel() // most of the time it waits
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	p := celerytest.StartProxy(t, r.Addr())
	b := start(t, p.URL(0), func(o *Options) { o.BusyLease, o.IdleLease = shortLease, shortLease })
	came := make(chan *celery.Delivery, 1)
	go func() { d, _ := b.Next(bounded(t), nil); came <- d }()
	celerytest.Eventually(t, "waits", func() bool { return strings.Contains(c.Info(bounded(t), "clients").Val(), "blocked_clients:4\r") })
	id := b.Status().Incarnation
	p.BlackHole(true)
	push(t, c, "celery", "a")
	celerytest.Eventually(t, "a claim that it does not hear of", func() bool { return len(claimKeys(t, c)) == 1 })
	celerytest.Eventually(t, "the lease to end", func() bool { return c.Exists(bounded(t), "agensium:lease:"+id).Val() == 0 })
	p.BlackHole(false)
	d := <-came
	if d == nil || idOf(d.Raw) != "a" || celery.Deliveries(d.Raw) != 0 {
		t.Fatalf("got %+v", d)
	}
	if err := b.Settle(bounded(t), *acked(d)); err != nil {
		t.Fatal(err)
	}
	closeBroker(t, b)
	if keys := claimKeys(t, c); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}

func TestRedisRestarted(t *testing.T) {
	r := celerytest.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	c := r.Client(0)
	b := start(t, r.URL(0))
	push(t, c, "celery", "a")
	d := next(t, b, nil)
	waiting := make(chan *celery.Delivery)
	go func() { d, _ := b.Next(bounded(t), acked(d)); waiting <- d }()
	celerytest.Eventually(t, "waits", func() bool { return b.Status().Blocked == 4 })
	r.Kill()
	celerytest.Eventually(t, "the condition", func() bool { return b.Status().Condition != nil })
	r.Start()
	push(t, c, "celery", "b")
	if d := <-waiting; d == nil || idOf(d.Raw) != "b" {
		t.Errorf("got %v", d)
	}
}

// While Redis is away nobody can renew a lease. Whoever is back first takes nothing from those who are not yet.
func TestALeaseThatEndedWhileRedisWasAwayProvesNothing(t *testing.T) {
	t.Parallel() // most of the time it waits
	r := celerytest.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	c := r.Client(0)
	p := celerytest.StartProxy(t, r.Addr())
	slow := start(t, p.URL(0), func(o *Options) {
		o.Node, o.BusyLease, o.IdleLease = "slow", shortLease, shortLease
	})
	push(t, c, "celery", "a")
	d := next(t, slow, nil)
	first := start(t, r.URL(0), func(o *Options) { o.Node = "first" })
	first.Notice()
	celerytest.Eventually(t, "both to know of each other", func() bool { return first.Status().Commands["recover"] > 0 })
	id := slow.Status().Incarnation
	lease := "agensium:lease:" + id
	var entry node
	if err := json.Unmarshal([]byte(c.HGet(bounded(t), "agensium:nodes", id).Val()), &entry); err != nil {
		t.Fatal(err)
	}
	entry.Started = entry.Started.Add(-time.Minute) // Redis tells its own age in whole seconds
	old, _ := json.Marshal(entry)
	if err := c.HSet(bounded(t), "agensium:nodes", id, old).Err(); err != nil {
		t.Fatal(err)
	}
	p.Refuse(true)
	p.CutAll()
	r.Kill()
	r.Start()
	celerytest.Eventually(t, "the lease to end", func() bool { return c.Exists(bounded(t), lease).Val() == 0 })
	celerytest.Eventually(t, "the first to be back", func() bool { return first.Status().Connected && first.Status().Lapses > 0 })
	looks := first.Status().Commands["recover"]
	celerytest.Eventually(t, "it to look at the lease", func() bool { first.Notice(); return first.Status().Commands["recover"] > looks+1 })
	p.Refuse(false)
	if err := slow.Settle(bounded(t), *acked(d)); err != nil {
		t.Error(err)
	}
	if s := slow.Status(); s.Lapses == 0 || s.Taken != 0 || first.Status().Recovered != 0 {
		t.Errorf("%d lapses, %d taken, %d recovered", s.Lapses, s.Taken, first.Status().Recovered)
	}
}

// Nor while Redis refuses all writes.
func TestALeaseThatEndedWhileRedisRefusedWritesProvesNothing(t *testing.T) {
	t.Parallel() // most of the time it waits
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	p := celerytest.StartProxy(t, r.Addr())
	slow := start(t, p.URL(0), func(o *Options) {
		o.Node, o.BusyLease, o.IdleLease = "slow", shortLease, shortLease
	})
	push(t, c, "celery", "a")
	d := next(t, slow, nil)
	first := start(t, r.URL(0), func(o *Options) { o.Node = "first" })
	celerytest.Eventually(t, "both to know of each other", func() bool { first.Notice(); return first.Status().Commands["recover"] > 0 })
	lease := "agensium:lease:" + slow.Status().Incarnation
	if err := c.ConfigSet(bounded(t), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	celerytest.Eventually(t, "the lease to end", func() bool { return c.Exists(bounded(t), lease).Val() == 0 })
	looks := func(n uint64) {
		before := first.Status().Commands["recover"]
		celerytest.Eventually(t, "it to look at the lease", func() bool { first.Notice(); return first.Status().Commands["recover"] > before+n })
	}
	looks(1)
	p.Refuse(true)
	p.CutAll()
	if err := c.ConfigSet(bounded(t), "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	looks(5)
	p.Refuse(false)
	if err := slow.Settle(bounded(t), *acked(d)); err != nil {
		t.Error(err)
	}
	if s := slow.Status(); s.Lapses == 0 || s.Taken != 0 || first.Status().Recovered != 0 {
		t.Errorf("%d lapses, %d taken, %d recovered", s.Lapses, s.Taken, first.Status().Recovered)
	}
}

func TestABlackHoleIsFoundWithinTheReadDeadline(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	p := celerytest.StartProxy(t, r.Addr())
	b := start(t, p.URL(0), func(o *Options) { o.IOTimeout = 100 * time.Millisecond })
	push(t, c, "celery", "a")
	d := next(t, b, nil)
	p.BlackHole(true)
	settled := make(chan error, 1)
	go func() { settled <- b.Settle(bounded(t), *acked(d)) }()
	celerytest.Eventually(t, "the condition", func() bool { n := b.Status().Condition; return n != nil && n.Name == "unreachable" })
	p.BlackHole(false)
	if err := <-settled; err != nil {
		t.Fatal(err)
	}
	push(t, c, "celery", "b")
	if seen := consume(t, 1, b); len(seen["b"]) != 1 {
		t.Error("it does not go on")
	}
}

// forgets is a Redis that loses the last writes when it is killed, as one with appendfsync everysec or a replica after a failover may.
func forgets(t *testing.T) (r *celerytest.Redis, saved func(), back func()) {
	r = celerytest.StartRedis(t)
	saved = func() {
		if err := r.Client(0).Save(bounded(t)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return r, saved, func() { r.Kill(); r.Start() }
}

func TestARedisThatForgotAcknowledgementsLosesNoMessage(t *testing.T) {
	r, saved, back := forgets(t)
	c := r.Client(0)
	b := start(t, r.URL(0), func(o *Options) { o.StateDir = t.TempDir() })
	push(t, c, "celery", "a")
	d := next(t, b, nil)
	saved()
	if err := b.Settle(bounded(t), *acked(d)); err != nil {
		t.Fatal(err)
	}
	back() // the claim of a is there again
	for i := range 2 * firstTickets {
		push(t, c, "celery", fmt.Sprint(i))
	}
	seen := consume(t, 2*firstTickets+1, b)
	if len(seen["a"]) != 1 {
		t.Errorf("a came %d times again", len(seen["a"]))
	}
	closeBroker(t, b)
	if keys := claimKeys(t, c); len(keys) != 0 || len(list(t, c, "celery")) != 0 {
		t.Errorf("left: %q", keys)
	}
}

func TestARedisThatForgotAClaimHasItsMessageRunAgain(t *testing.T) {
	r, saved, back := forgets(t)
	c := r.Client(0)
	b := start(t, r.URL(0), func(o *Options) { o.StateDir = t.TempDir() })
	push(t, c, "celery", "a", "b")
	first := next(t, b, nil)
	saved()
	if err := b.Settle(bounded(t), *acked(first)); err != nil {
		t.Fatal(err)
	}
	second := next(t, b, nil)
	back() // a lies in its claim key, b in the queue
	if err := b.Settle(bounded(t), *acked(second)); !errors.Is(err, ErrTaken) {
		t.Errorf("Settle: %v", err)
	}
	for id, ds := range consume(t, 2, b) {
		if len(ds) != 1 {
			t.Errorf("%s came %d times", id, len(ds))
		}
	}
	closeBroker(t, b)
	if keys := claimKeys(t, c); len(keys) != 0 || len(list(t, c, "celery")) != 0 {
		t.Errorf("left: %q", keys)
	}
}

// The reply that the lease was renewed in time may come when the next incarnation has been begun, and some claims have its names.
func TestAnIncarnationThatWasBegunIsEnded(t *testing.T) {
	r := celerytest.StartRedis(t)
	b := start(t, r.URL(0), func(o *Options) { o.StateDir = t.TempDir() })
	came := make(chan *celery.Delivery, 1)
	go func() {
		d, _ := b.Next(bounded(t), nil)
		came <- d
	}()
	celerytest.Eventually(t, "waits", func() bool { return b.Status().Blocked == 4 })
	first := b.Status().Incarnation
	begun := make(chan error, 1)
	b.inbox.call(func() {
		cut, cancel := context.WithCancel(context.Background())
		cancel()
		begun <- b.eng.incarnate(cut, lapseTime)
	})
	if err := <-begun; err == nil {
		t.Fatal("it went through")
	}
	push(t, r.Client(0), "celery", "a")
	if d := <-came; d == nil || idOf(d.Raw) != "a" {
		t.Fatal("what came meanwhile is not delivered")
	}
	if s := b.Status(); s.Incarnation == first || s.Lapses != 1 {
		t.Errorf("%d lapses, %s after %s", s.Lapses, s.Incarnation, first)
	}
}

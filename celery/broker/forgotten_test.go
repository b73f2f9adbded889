package broker

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// ended checks that a task whose message Redis has forgotten ended as any other, and that the node has a place in Redis again.
func ended(t *testing.T, r *celerytest.Redis, b *Broker) {
	t.Helper()
	c := r.Client(0)
	celerytest.Eventually(t, "the node to be registered again", func() bool { return slices.Equal(nodeIDs(t, r), []string{b.Status().Incarnation}) })
	if s := b.Status(); s.Forgotten != 1 || s.Taken != 0 {
		t.Errorf("%d forgotten, %d taken", s.Forgotten, s.Taken)
	}
	if c.Exists(bounded(t), "celery-task-meta-a").Val() != 1 {
		t.Error("its result is not stored")
	}
	push(t, c, "celery", "b")
	if seen := consume(t, 1, b); len(seen["b"]) != 1 {
		t.Error("it does not go on")
	}
}

func TestRedisWasEmptiedWhileATaskRan(t *testing.T) {
	r := celerytest.StartRedis(t)
	b := start(t, r.URL(0))
	push(t, r.Client(0), "celery", "a")
	d := next(t, b, nil)
	r.Client(0).FlushAll(bounded(t))
	if err := b.Settle(bounded(t), *acked(d)); err != nil {
		t.Error(err)
	}
	ended(t, r, b)
}

func TestRedisWasEmptiedAndTheLeaseToldFirst(t *testing.T) {
	r := celerytest.StartRedis(t)
	b := start(t, r.URL(0))
	push(t, r.Client(0), "celery", "a")
	d := next(t, b, nil)
	r.Client(0).FlushAll(bounded(t))
	b.lease.suspect()
	celerytest.Eventually(t, "the lapse", func() bool { return b.Status().Forgotten == 1 })
	if err := b.Settle(bounded(t), *acked(d)); err != nil {
		t.Error(err)
	}
	ended(t, r, b)
}

func TestRedisWasRestartedWithoutItsDataWhileATaskRan(t *testing.T) {
	r := celerytest.StartRedis(t)
	b := start(t, r.URL(0))
	push(t, r.Client(0), "celery", "a")
	d := next(t, b, nil)
	r.Restart()
	if err := b.Settle(bounded(t), *acked(d)); err != nil {
		t.Error(err)
	}
	ended(t, r, b)
}

// A server that was filled from elsewhere began empty, too: others may have found our claims in it.
func TestANewServerThatKnowsUsHasNotForgotten(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	push(t, c, "celery", "a")
	d := next(t, b, nil)
	const nodes = "agensium:nodes"
	id := b.Status().Incarnation
	entry := c.HGet(bounded(t), nodes, id).Val()
	b.commands.AddHook(&beforePipeline{with: "info", do: func() { c.HSet(bounded(t), nodes, id, entry) }})
	r.Restart()
	if err := b.Settle(bounded(t), *acked(d)); err != ErrTaken {
		t.Errorf("Settle: %v", err)
	}
	if s := b.Status(); s.Forgotten != 0 || s.Taken != 1 {
		t.Errorf("%d forgotten, %d taken", s.Forgotten, s.Taken)
	}
}

// beforePipeline calls do before a pipeline with that command is sent.
type beforePipeline struct {
	with string
	do   func()
}

func (*beforePipeline) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (*beforePipeline) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h *beforePipeline) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Name() == h.with }) {
			h.do()
		}
		return next(ctx, cmds)
	}
}

// Before the new server came, another node could take what the lease kept from it no longer.
func TestANewServerAfterTheLeaseHasEndedProvesNothing(t *testing.T) {
	for _, age := range []time.Duration{0, time.Hour} {
		l := &lease{b: &Broker{}, incarnation: "id", since: time.Now().Add(-age), ttl: time.Minute}
		l.lose(lapseServer)
		if why := l.lapse(time.Now()); (why == lapseServer) != (age == 0) {
			t.Errorf("after %s: %s", age, why)
		}
	}
}

// A replica that was promoted loaded nothing, either.
func TestAReplicaDidNotBeginEmpty(t *testing.T) {
	r, master := celerytest.StartRedis(t), celerytest.StartRedis(t)
	c := r.Client(0)
	began := func() bool { return beganEmpty(c.Do(bounded(t), "INFO")) }
	if !began() {
		t.Error("a new server did not")
	}
	replicaOf := func(args ...any) {
		if err := c.Do(bounded(t), append([]any{"REPLICAOF"}, args...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	replicaOf("127.0.0.1", strconv.Itoa(master.Port))
	celerytest.Eventually(t, "the copy", func() bool { return strings.Contains(c.Info(bounded(t), "replication").Val(), "master_link_status:up") })
	replicaOf("NO", "ONE")
	if began() {
		t.Error("one that was a replica did")
	}
}

// While others may still have the registry, a claim that is not there may be theirs.
func TestOnlyTheLeaseWasDeleted(t *testing.T) {
	r := celerytest.StartRedis(t)
	c := r.Client(0)
	b := start(t, r.URL(0))
	push(t, c, "celery", "a")
	d := next(t, b, nil)
	c.Del(bounded(t), "agensium:lease:"+b.Status().Incarnation)
	other := start(t, r.URL(0), func(o *Options) { o.Node = "other" })
	taken := next(t, other, nil)
	b.lease.suspect()
	celerytest.Eventually(t, "the lapse", func() bool { return b.Status().Taken == 1 })
	if err := b.Settle(bounded(t), *acked(d)); err != ErrTaken {
		t.Errorf("Settle: %v", err)
	}
	if celery.Deliveries(taken.Raw) != 1 || b.Status().Forgotten != 0 {
		t.Errorf("%d deliveries, %d forgotten", celery.Deliveries(taken.Raw), b.Status().Forgotten)
	}
}

// A server that became a replica refuses writes and may go on to answer on old connections: a new one leads to the master.
func TestAReplicaIsNotAskedAgainOnTheSameConnection(t *testing.T) {
	r, master := celerytest.StartRedis(t), celerytest.StartRedis(t)
	b := start(t, r.URL(0), func(o *Options) { o.StateDir = t.TempDir() })
	celerytest.Eventually(t, "connects", func() bool { return b.Status().Connected })
	first := b.ties.of(b.commands)
	if err := r.Client(0).Do(bounded(t), "REPLICAOF", "127.0.0.1", strconv.Itoa(master.Port)).Err(); err != nil {
		t.Fatal(err)
	}
	b.lease.lose(lapseGone)
	celerytest.Eventually(t, "another connection", func() bool { return b.ties.of(b.commands) != first })
}

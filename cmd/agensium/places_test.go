package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/celery/celerytest"
)

// TestASupervisorThatDiesAtANamedPlaceLosesNothing has one node after the other kill itself, each at another place in the code, while it
// does everything that can be done with a message. What ran on a node that died may run again; nothing else may, and nothing is lost.
func TestASupervisorThatDiesAtANamedPlaceLosesNothing(t *testing.T) {
	t.Parallel()
	f := newField(t)
	limits := "[tasks]\nmax_deliveries = 100\n[tasks.\"flow.poison\"]\nmax_deliveries = 2\n"
	var run, poison, early []string
	for i, place := range broker.Places {
		run = append(run, f.send(6, "flow.step")...)
		poison = append(poison, f.send(1, "flow.poison")...)
		gone := fmt.Sprint("gone", i)
		run = append(run, f.heldByADeadNode(gone, 0, "flow.step"))
		early = append(early, f.heldByADeadNode(gone, 1, "flow.early"))
		run = append(run, f.leftByADeadStockWorker("flow.step"), f.parked("flow.step"))

		gate := "gate " + string(place)
		n := f.start(plan{dies: place, extra: limits})
		held := func() {
			ids := f.send(1, "flow.hold", gate)
			run = append(run, ids...)
			celerytest.Eventually(t, "a task that runs", func() bool { return len(f.runs()[ids[0]]) > 0 || n.gone() })
		}
		switch place {
		case broker.AtParking:
			n.says("ready.")
			run = append(run, f.apply(2, func() *celery.Signature {
				return celery.S("flow.step").With(celery.Options{Countdown: 20 * time.Second})
			})...)
		case broker.AtMoved:
			held()
			for _, lease := range leases(f) {
				f.c.Del(f.bounded(), lease)
			}
		case broker.AtPutBack:
			held()
			n.Signal(syscall.SIGQUIT)
		case broker.AtLeaving:
			n.says("ready.")
			n.Signal(syscall.SIGTERM)
		}
		celerytest.Eventually(t, "the node to die at "+string(place), n.gone)
		if status := n.Wait(); status != -1 {
			t.Fatalf("it was not killed at %q, it ended with status %d", place, status)
		}
		f.dead[n.name] = true
		f.open(gate)
		f.c.Del(f.bounded(), "unacked_mutex") // kombu's lock, which would end in five minutes
	}
	last := f.start(plan{extra: limits})
	f.results(run, "SUCCESS")
	f.results(poison, "FAILURE")
	f.results(early, "FAILURE")
	f.settled(int64(len(poison) + len(early)))
	t.Logf("%d of %d ran again", f.balance(run), len(run))
	for _, id := range early {
		if n := len(f.runs()[id]); n != 0 {
			t.Errorf("%s, which may have run and is acknowledged early, ran %d times", id, n)
		}
	}
	last.end()
}

func (n *node) gone() bool { return gone(n.Process) }

// fresh is a message that a client made and did not send.
func (f *field) fresh(task string) (id, raw string) {
	f.t.Helper()
	raw = f.message(task)
	decoded, err := celery.Decode([]byte(raw), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return decoded.ID, raw
}

// heldByADeadNode leaves a task in a claim key of a node that has no lease.
func (f *field) heldByADeadNode(incarnation string, ticket int, task string) string {
	f.t.Helper()
	id, raw := f.fresh(task)
	f.c.HSet(f.bounded(), "agensium:nodes", incarnation, `{"node":"gone@elsewhere","host":"elsewhere","tickets":8,"keys":["celery"]}`)
	if err := f.c.LPush(f.bounded(), fmt.Sprintf("agensium:claim:%s:%d:celery", incarnation, ticket), raw).Err(); err != nil {
		f.t.Fatal(err)
	}
	return id
}

// leftByADeadStockWorker leaves a task in kombu's unacked, for longer than the visibility timeout.
func (f *field) leftByADeadStockWorker(task string) string {
	f.t.Helper()
	return f.leave(task, time.Now().Add(-2*time.Hour), "unacked_index")
}

// parked leaves a task that waited for its time, which has just come.
func (f *field) parked(task string) string {
	f.t.Helper()
	return f.leave(task, time.Now(), "unacked_index", "agensium:parked")
}

func (f *field) leave(task string, at time.Time, indexes ...string) string {
	f.t.Helper()
	id, raw := f.fresh(task)
	f.c.HSet(f.bounded(), "unacked", "tag-"+id, "["+raw+`, "", "celery"]`)
	for _, index := range indexes {
		if err := f.c.ZAdd(f.bounded(), index, redis.Z{Score: float64(at.Unix()), Member: "tag-" + id}).Err(); err != nil {
			f.t.Fatal(err)
		}
	}
	return id
}

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// host is the state directory of a host of its own: its locks are not seen by others, so that only leases count.
func (f *field) host(string) string { return f.t.TempDir() }

func TestAChildThatIsKilledLosesNothing(t *testing.T) {
	t.Parallel()
	f := newField(t)
	n := f.start(plan{})
	ids := append(f.send(60, "flow.step", 0.01), f.send(2, "flow.hold")...)
	f.begun(62)
	for id, all := range f.runs() {
		if id == ids[60] || id == ids[61] {
			f.dead[strconv.Itoa(all[0].pid)] = true
			_ = syscall.Kill(all[0].pid, syscall.SIGKILL)
		}
	}
	f.begun(64)
	f.open("gate")
	f.results(ids, "SUCCESS")
	f.settled(0)
	if again := f.balance(ids); again != 2 {
		t.Errorf("%d ran again", again)
	}
	n.end()
}

func TestTheZygoteIsKilledAndRunningTasksEnd(t *testing.T) {
	t.Parallel()
	f := newField(t)
	n := f.start(plan{})
	held := f.send(2, "flow.hold")
	f.begun(2)
	zygote := parentOf(t, f.runs()[held[0]][0].pid)
	if zygote == n.PID() {
		t.Fatal("the child is the supervisor's own")
	}
	_ = syscall.Kill(zygote, syscall.SIGKILL)
	more := f.send(20, "flow.step")
	f.open("gate")
	f.results(append(held, more...), "SUCCESS")
	f.settled(0)
	if again := f.balance(append(held, more...)); again != 0 {
		t.Errorf("%d ran again", again)
	}
	n.end()
}

func TestARestartOfTheSameNodeRecoversAtOnce(t *testing.T) {
	t.Parallel()
	f := newField(t)
	first := f.start(plan{name: "same@test"})
	ids := append(f.send(2, "flow.hold"), f.send(20, "flow.step")...)
	f.begun(2)
	first.slay()
	lease := leases(f)
	f.start(plan{name: "same@test"})
	f.begun(4)
	if left := leases(f); len(lease) != 1 || !strings.Contains(strings.Join(left, " "), lease[0]) {
		t.Errorf("it waited for the lease: %q, then %q", lease, left)
	}
	f.open("gate")
	f.results(ids, "SUCCESS")
	f.settled(0)
	if again := f.balance(ids); again != 2 {
		t.Errorf("%d ran again", again)
	}
}

func TestAnotherNodeRecoversAfterTheLease(t *testing.T) {
	t.Parallel()
	f := newField(t)
	first := f.start(plan{state: f.host("a"), lease: short})
	ids := f.send(2, "flow.hold")
	f.begun(2)
	second := f.start(plan{state: f.host("b"), slots: 4}) // two for the held ones, which may come before the others
	ids = append(ids, f.send(100, "flow.step", 0.01)...)
	first.slay()
	f.begun(104)
	f.open("gate")
	f.results(ids, "SUCCESS")
	f.settled(0)
	if again := f.balance(ids); again < 2 {
		t.Errorf("%d ran again", again)
	}
	second.end()
}

func TestTwoNodesOfOneNameLeaveEachOtherAlone(t *testing.T) {
	t.Parallel()
	f := newField(t)
	old := f.start(plan{name: "same@test"})
	ids := f.send(2, "flow.hold")
	f.begun(2)
	young := f.start(plan{name: "same@test"})
	ids = append(ids, f.send(2, "flow.hold")...)
	f.begun(4)
	f.open("gate")
	f.results(ids, "SUCCESS")
	f.settled(0)
	if again := f.balance(ids); again != 0 {
		t.Errorf("%d ran again", again)
	}
	old.end()
	young.end()
}

func TestRedisIsKilled(t *testing.T) {
	t.Parallel()
	for _, fsync := range []string{"always", "everysec"} {
		t.Run(fsync, func(t *testing.T) {
			f := newField(t, "--appendonly", "yes", "--appendfsync", fsync)
			n := f.start(plan{})
			ids := f.send(400, "flow.step", 0.005)
			f.onDisk()
			for _, after := range []int{50, 150, 250} {
				f.begun(after)
				f.redis.Kill()
				f.redis.Start()
			}
			f.results(ids, "SUCCESS")
			f.settled(0)
			f.forgot = fsync == "everysec" // what it had answered, and then tasks run again
			t.Logf("%d ran again", f.balance(ids))
			n.end()
		})
	}
}

func TestResultsOfANodeThatWasPausedForTooLongAreDropped(t *testing.T) {
	t.Parallel()
	f := newField(t)
	paused := f.start(plan{state: f.host("a"), lease: short})
	ids := f.send(2, "flow.hold", "first")
	f.begun(2)
	paused.Pause()
	f.paused[paused.name] = []lapse{{2, 2}}
	other := f.start(plan{state: f.host("b")})
	f.begun(4)
	f.open("first")
	f.results(ids, "SUCCESS")
	celerytest.Eventually(t, "the other to be done", func() bool { return f.places()["claims"] == 0 })
	// What the other one stored is marked, so that a result of the paused one would show.
	for _, id := range ids {
		if err := f.c.Set(f.bounded(), "celery-task-meta-"+id, `{"status": "MARKED"}`, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	paused.Resume()
	celerytest.Eventually(t, "the paused one to drop its results", func() bool {
		return strings.Count(paused.Output(), "results dropped") == 2
	})
	more := f.send(20, "flow.step", 0.01)
	f.results(more, "SUCCESS")
	f.results(ids, "MARKED")
	f.settled(0)
	if again := f.balance(append(ids, more...)); again != 2 {
		t.Errorf("%d ran again", again)
	}
	paused.end()
	other.end()
}

func TestTermWithRunningAndQueuedTasks(t *testing.T) {
	t.Parallel()
	f := newField(t)
	first := f.start(plan{})
	ids := append(f.send(2, "flow.hold"), f.send(100, "flow.step")...)
	f.begun(2)
	first.Signal(syscall.SIGTERM)
	first.says("draining")
	f.open("gate")
	if status := first.Wait(); status != 0 {
		t.Errorf("ended with status %d", status)
	}
	if p := f.places(); p["queue"] != 100 || len(p) != 1 {
		t.Errorf("left behind: %v", p)
	}
	second := f.start(plan{})
	f.results(ids, "SUCCESS")
	f.settled(0)
	if again := f.balance(ids); again != 0 {
		t.Errorf("%d ran again", again)
	}
	second.end()
}

// A drain whose time is over and a cold stop put back first and kill then. Neither counts as a delivery.
func TestWhatADrainCannotWaitForIsPutBack(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]struct {
		hurry  bool
		signal syscall.Signal
	}{
		"deadline": {true, syscall.SIGTERM},
		"QUIT":     {false, syscall.SIGQUIT},
	} {
		t.Run(name, func(t *testing.T) {
			f := newField(t)
			first := f.start(plan{hurry: stop.hurry})
			ids := append(f.send(2, "flow.hold"), f.send(10, "flow.step")...)
			f.begun(2)
			f.dead[first.name] = true
			first.Signal(stop.signal)
			first.Wait()
			if p := f.places(); p["queue"] != 12 || len(p) != 1 {
				t.Errorf("left behind: %v", p)
			}
			for _, raw := range f.c.LRange(f.bounded(), "celery", 0, -1).Val() {
				if celery.Deliveries([]byte(raw)) != 0 {
					t.Errorf("counted: %s", raw)
				}
			}
			f.start(plan{})
			f.begun(4)
			f.open("gate")
			f.results(ids, "SUCCESS")
			f.settled(0)
			if again := f.balance(ids); again != 2 {
				t.Errorf("%d ran again", again)
			}
		})
	}
}

func TestAPoisonTaskIsBuriedAndItsChordEnds(t *testing.T) {
	t.Parallel()
	f := newField(t)
	n := f.start(plan{extra: "[tasks]\nmax_deliveries = 3\n"})
	out := celerytest.RunPython(t, f.python, `
from flow import app, step, poison, gather, failed, chord
from celery.result import AsyncResult
r = chord([step.s(), poison.s()])(gather.s().on_error(failed.s()))
e = r.get(timeout=25, propagate=False)
print(type(e).__name__, [c.state for c in r.parent.results], type(r.parent.results[1].result).__name__, r.parent.results[1].id)
`, f.env(f.redis.URL(0))...)
	if !strings.HasPrefix(out, "ChordError ['SUCCESS', 'FAILURE'] WorkerLostError") {
		t.Errorf("the chord: %s", out)
	}
	id := strings.Fields(out)[len(strings.Fields(out))-1]
	if runs := f.runs()[id]; len(runs) != 3 {
		t.Errorf("ran %d times", len(runs))
	}
	f.settled(1)
	letters := f.letters()
	if l := letters[0]; l.TaskID != id || l.Task != "flow.poison" || l.Cause != "signal" || l.Deliveries != 3 || l.Memory == 0 || !strings.Contains(l.Detail, "SIGKILL") {
		t.Errorf("dead letter: %+v", l)
	}
	n.end()
}

func TestWhatCannotBeRunIsKeptAsADeadLetter(t *testing.T) {
	t.Parallel()
	f := newField(t)
	n := f.start(plan{})
	pickled := strings.Replace(f.message("flow.step"), `application/json`, `application/x-python-serialize`, 1)
	for _, raw := range []string{"no JSON", `{"body": "W10="}`, pickled, f.message("flow.nobody")} {
		if err := f.c.LPush(f.bounded(), "celery", raw).Err(); err != nil {
			t.Fatal(err)
		}
	}
	f.settled(4)
	causes := map[string]int{}
	for _, l := range f.letters() {
		causes[l.Cause]++
	}
	if fmt.Sprint(causes) != "map[content_type_refused:1 undecodable:2 unknown_task:1]" {
		t.Errorf("causes: %v", causes)
	}
	f.results(f.send(1, "flow.step"), "SUCCESS")
	n.end()
}

// message is what the client sends for a task.
func (f *field) message(task string) string {
	f.t.Helper()
	f.apply(1, func() *celery.Signature { return celery.S(task).With(celery.Options{Queue: "aside"}) })
	raw, err := f.c.RPop(f.bounded(), "aside").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.ReplaceAll(raw, "aside", "celery")
}

// Their time is farther away than the visibility timeout, after which Celery delivers such tasks to each node that starts.
func TestParkedTasksSurviveTheDeathOfEverything(t *testing.T) {
	t.Parallel()
	f := newField(t, "--appendonly", "yes", "--appendfsync", "always")
	const impatient = "[python.environment]\nTEST_VISIBILITY = \"1\"\n"
	n := f.start(plan{extra: impatient})
	due := time.Now().Add(12 * time.Second)
	ids := f.apply(30, func() *celery.Signature { return celery.S("flow.step").With(celery.Options{ETA: due}) })
	celerytest.Eventually(t, "all to be parked", func() bool { return f.places()["parked"] == 30 })
	n.slay()
	f.redis.Kill()
	f.redis.Start()
	a, b := f.start(plan{state: f.host("a"), extra: impatient}), f.start(plan{state: f.host("b"), extra: impatient})
	f.results(ids, "SUCCESS")
	f.settled(0)
	if again := f.balance(ids); again != 0 {
		t.Errorf("%d ran again", again)
	}
	a.end()
	b.end()
}

func TestAStockWorkerRunsWhatADrainedNodeLeft(t *testing.T) {
	t.Parallel()
	f := newField(t)
	n := f.start(plan{})
	due := time.Now().Add(time.Hour)
	ids := f.apply(5, func() *celery.Signature { return celery.S("flow.step").With(celery.Options{ETA: due}) })
	celerytest.Eventually(t, "all to be parked", func() bool { return f.places()["parked"] == 5 })
	held := f.send(2, "flow.hold")
	queued := f.send(5, "flow.step")
	f.begun(2)
	f.dead[n.name] = true // the held ones are put back
	n.Signal(syscall.SIGQUIT)
	n.Wait()
	if p := f.places(); p["claims"] != 0 || p["parked"] != 5 || p["unacked"] != 5 || p["queue"] != 7 {
		t.Errorf("left behind: %v", p)
	}
	f.open("gate")
	f.overdue()
	// A stock worker looks every 100 s for what is overdue in unacked. This is its own code, before it has taken anything itself.
	celerytest.RunPython(t, f.python, `
from flow import app
with app.connection() as c:
    c.default_channel.qos.restore_visible(num=10, interval=1)
`, f.env(f.redis.URL(0))...)
	if p := f.places(); p["unacked"] != 0 || p["queue"] != 12 {
		t.Errorf("kombu has not restored what was parked: %v", p)
	}
	stock := f.celery("stock@test")
	all := append(append(ids, held...), queued...)
	f.results(all, "SUCCESS")
	if again := f.balance(all); again != 2 {
		t.Errorf("%d ran again", again)
	}
	stock.Kill()
}

// overdue has what is parked be so since long ago.
func (f *field) overdue() {
	f.t.Helper()
	for tag, entry := range f.c.HGetAll(f.bounded(), "unacked").Val() {
		f.c.HSet(f.bounded(), "unacked", tag, regexp.MustCompile(`"eta": ?"20\d\d`).ReplaceAllString(entry, `"eta": "2001`))
		for _, index := range []string{"unacked_index", "agensium:parked"} {
			if err := f.c.ZAdd(f.bounded(), index, redis.Z{Score: 1e9, Member: tag}).Err(); err != nil {
				f.t.Fatal(err)
			}
		}
	}
}

func TestWhatAKilledStockWorkerHeldIsRestored(t *testing.T) {
	t.Parallel()
	f := newField(t)
	stock := f.celery("stock@test")
	ids := f.send(4, "flow.hold")
	f.begun(2)
	celerytest.Eventually(t, "unacked", func() bool { return f.places()["unacked"] >= 2 })
	f.dead["stock@test"] = true
	stock.Kill()
	f.open("gate")
	n := f.start(plan{extra: "[python.environment]\nTEST_VISIBILITY = \"1\"\n"})
	f.results(ids, "SUCCESS")
	f.settled(0)
	f.balance(ids)
	n.end()
}

// A task that is acknowledged early is begun once. If its node dies, that is recorded, and a stock worker on the same queue never
// sees the message again.
func TestATaskAcknowledgedEarlyIsNeverRunTwice(t *testing.T) {
	t.Parallel()
	for name, die := range map[string]func(n *node){
		"killed": (*node).slay,
		"QUIT":   func(n *node) { n.Signal(syscall.SIGQUIT); n.Wait() },
		"drain":  func(n *node) { n.Signal(syscall.SIGTERM); n.Wait() },
	} {
		t.Run(name, func(t *testing.T) {
			f := newField(t)
			n := f.start(plan{hurry: true})
			ids := f.send(2, "flow.early")
			f.begun(2)
			stock := f.celery("stock@test")
			die(n)
			second := f.start(plan{})
			f.results(ids, "FAILURE")
			f.settled(2)
			for _, l := range f.letters() {
				if l.Cause != "lost_after_early_ack" {
					t.Errorf("dead letter: %+v", l)
				}
			}
			f.open("gate")
			more := f.send(20, "flow.step")
			f.results(more, "SUCCESS")
			for _, id := range ids {
				if n := len(f.runs()[id]); n != 1 {
					t.Errorf("%s was begun %d times", id, n)
				}
			}
			stock.Kill()
			second.end()
		})
	}
}

func leases(f *field) []string {
	keys, err := f.c.Keys(context.Background(), "agensium:lease:*").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	return keys
}

// parentOf reads the parent of a process.
func parentOf(t *testing.T, pid int) int {
	t.Helper()
	p, err := parent(pid)
	if err != nil {
		t.Skipf("SKIPPED, NOT TESTED: needs /proc: %v", err)
	}
	return p
}

func parent(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[1])
}

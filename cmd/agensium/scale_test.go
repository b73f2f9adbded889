package main

import (
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
)

func names(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = prefix + strconv.Itoa(i)
	}
	return all
}

// lines counts the lines of a process's output that hold a text.
func lines(p *celerytest.Process, text string) (n int) {
	for line := range strings.Lines(p.Output()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func TestEachMessageThatWaitsHasASlotStartedForIt(t *testing.T) {
	g := newGate(t, "# the defaults\n", "--autoscale=6,1")
	g.printed(g.worker, " ready.")
	g.send("celery", names("t", 9)...)
	g.noted("began", 6)
	if held := g.broker().LLen(t.Context(), "celery").Val(); held != 3 {
		t.Errorf("%d left in the queue, want 3: more was claimed than there may be slots", held)
	}
	g.finish(names("t", 9)...)
	g.noted("ended", 9)
	cleanEnd(t, g.worker)
	if left := g.left(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// The broker takes the next message without a slot and tells of it: nobody has to count queues for as long as a task runs.
func TestALongTaskCostsNoLooks(t *testing.T) {
	g := newGate(t, "[lease]\nttl = '3s'\n", "--autoscale=6,1")
	g.printed(g.worker, " ready.")
	g.send("celery", "a")
	g.noted("began", 1)
	calls := regexp.MustCompile(`cmdstat_llen:calls=\d+`)
	var left time.Duration
	counted := "nothing yet"
	celerytest.Eventually(t, "a renewal of the lease and no look since the one before", func() bool {
		leases := g.broker().Keys(t.Context(), "agensium:lease:*").Val()
		if len(leases) != 1 {
			return false // it was late with the renewal, and begins another
		}
		before := left
		left = g.broker().PTTL(t.Context(), leases[0]).Val()
		if left <= before {
			return false
		}
		last := counted
		counted = calls.FindString(g.broker().Info(t.Context(), "commandstats").Val())
		return counted == last
	})
	g.finish("a")
	g.noted("ended", 1)
	cleanEnd(t, g.worker)
}

func TestTheFirstMessageWakesTheApplication(t *testing.T) {
	g := newGate(t, "[scaling]\nmin = 0\nzero_after = '500ms'\n[python]\nsleep_after = '300ms'\n[pool]\nconcurrency = 4\n")
	g.printed(g.worker, "application unloaded")
	g.send("celery", "a")
	g.noted("began", 1)
	g.finish("a")
	celerytest.Eventually(t, "the task's end", func() bool { return g.state("a") == "SUCCESS" })
	celerytest.Eventually(t, "the second sleep", func() bool { return lines(g.worker, "application unloaded") == 2 })
	g.send("celery", "b")
	g.noted("began", 2)
	g.finish("b")
	celerytest.Eventually(t, "the second task's end", func() bool { return g.state("b") == "SUCCESS" })
	cleanEnd(t, g.worker)
	if strings.Contains(g.worker.Output(), "[ERROR]") || strings.Contains(g.worker.Output(), "[WARN]") {
		t.Error("sleeping and waking is nothing to complain of")
	}
	if left := g.left(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// A reload imports the application of a node that had unloaded it, and leaves it no larger than it was.
func TestAReloadedApplicationGoesToSleepAgain(t *testing.T) {
	g := newGate(t, "[scaling]\nmin = 0\nzero_after = '500ms'\n[python]\nsleep_after = '300ms'\n")
	g.printed(g.worker, "application unloaded")
	g.worker.Signal(syscall.SIGHUP)
	g.printed(g.worker, "old generation ended")
	celerytest.Eventually(t, "the second sleep", func() bool { return lines(g.worker, "application unloaded") == 2 })
	cleanEnd(t, g.worker)
}

func TestAMessageThatIsHeldWhileTheNodeEndsGoesBack(t *testing.T) {
	g := newGate(t, "[scaling]\nmin = 0\n[python]\nsleep_after = '100ms'\n", "-c", "2")
	g.printed(g.worker, "application unloaded")
	g.write("gated.py", "import time\ntime.sleep(60)\n") // the import takes longer than the test
	g.script("from celery import Celery\nimport os\nCelery(broker=os.environ['TEST_BROKER']).send_task('gated.hold', ('a',))")
	celerytest.Eventually(t, "the message to be claimed", func() bool { return g.broker().LLen(t.Context(), "celery").Val() == 0 })
	cleanEnd(t, g.worker)
	if n := g.broker().LLen(t.Context(), "celery").Val(); n != 1 {
		t.Errorf("%d messages in the queue after the end, want 1", n)
	}
}

func TestConcurrencyAloneIsFixedAndMemoryBoundsIt(t *testing.T) {
	g := newGate(t, "[scaling]\nmemory_limit = '300MiB'\n", "-c", "16")
	g.printed(g.worker, "held by memory")
	g.printed(g.worker, "memory allows ")
	g.printed(g.worker, "16, fixed  (--concurrency)")
	cleanEnd(t, g.worker)
}

func TestNodesShareTheLoad(t *testing.T) {
	g := newGate(t, "# the defaults\n", "-n", "first@h", "--autoscale=6,1")
	other := g.start("worker", "-A", "gated", "-n", "other@h", "--autoscale=6,1")
	g.printed(g.worker, " ready.")
	g.printed(other, " ready.")
	g.send("celery", names("t", 8)...)
	g.noted("began", 8)
	g.printed(g.worker, "nodes that share the load: nodes=2")
	g.printed(other, "nodes that share the load: nodes=2")
	if n := len(g.broker().Keys(t.Context(), "agensium:presence:*").Val()); n != 2 {
		t.Errorf("%d nodes tell of themselves", n)
	}
	g.send("celery", names("u", 4)...)
	other.Kill() // its part falls to the other when its presence ends
	g.noted("began on first@h", 6)
	g.printed(g.worker, "nodes that share the load: nodes=1")
	g.finish(append(names("t", 8), names("u", 4)...)...)
	celerytest.Eventually(t, "an outcome of each task", func() bool {
		for _, name := range append(names("t", 8), names("u", 4)...) {
			if g.state(name) == "" {
				return false // those of the dead node were acknowledged early: they failed
			}
		}
		return true
	})
	cleanEnd(t, g.worker)
}

// Without a fleet each node takes what there is, and tells nobody; so it is from the moment it is asked for.
func TestANodeThatDoesNotShare(t *testing.T) {
	g := newGate(t, "# the defaults\n", "--autoscale=6,1")
	g.printed(g.worker, " ready.")
	g.send("celery", names("t", 2)...)
	g.noted("began", 2)
	told := func() int { return len(g.broker().Keys(t.Context(), "agensium:presence:*").Val()) }
	celerytest.Eventually(t, "a node that tells of itself", func() bool { return told() == 1 })
	g.settings("[scaling]\nfleet = false\n")
	celerytest.Eventually(t, "a node that tells nothing", func() bool { return told() == 0 })
	other := g.start("worker", "-A", "gated", "-n", "other@%h", "--autoscale=6,1")
	g.printed(other, " ready.")
	g.send("celery", names("u", 10)...)
	g.noted("began", 12) // all that both may have
	if n := told(); n != 0 {
		t.Errorf("%d nodes tell of themselves", n)
	}
	g.finish(append(names("t", 2), names("u", 10)...)...)
	g.noted("ended", 12)
	cleanEnd(t, other)
	cleanEnd(t, g.worker)
}

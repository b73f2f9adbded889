package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

// victim is how much rather than others the kernel takes a process when memory runs out.
func victim(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	if err != nil {
		t.Skip("no oom_score_adj here:", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The kernel is to take children before the supervisor; what is asked for counts for the next child.
func TestChildrenAreTheKernelsFirstChoice(t *testing.T) {
	const settings = "[admin]\nlisten = '127.0.0.1:0'\n[pool]\nconcurrency = 1\n"
	g := newGate(t, settings+"oom_score_adj = 300\n")
	g.printed(g.worker, " ready.")
	first := 0
	celerytest.Eventually(t, "a child", func() bool {
		slots := g.status().Slots
		if slots != nil && len(slots.Slots) == 1 && slots.Slots[0].State == "idle" {
			first = slots.Slots[0].PID
		}
		return first > 0
	})
	own := victim(t, g.worker.PID())
	if got := victim(t, first); got != min(own+300, 1000) {
		t.Errorf("child %d, supervisor %d", got, own)
	}
	g.settings(settings + "oom_score_adj = 400\nmax_tasks_per_child = 1\n")
	g.printed(g.worker, "key=pool.oom_score_adj old=300 new=400 effect=live")
	g.send("celery", "a")
	g.noted("began", 1)
	g.finish("a")
	celerytest.Eventually(t, "the next child", func() bool {
		slots := g.status().Slots.Slots
		return len(slots) == 1 && slots[0].PID != first && slots[0].State == "idle" && victim(t, slots[0].PID) == min(own+400, 1000)
	})
	cleanEnd(t, g.worker)
}

// An import that takes longer than it may is given up; more time counts for the next attempt.
func TestTheStartTimeoutCountsAtOnce(t *testing.T) {
	const settings = "[scaling]\nmin = 0\nzero_after = '100ms'\n[python]\nsleep_after = '100ms'\n"
	g := newGate(t, settings)
	g.printed(g.worker, "application unloaded")
	g.write("gated.py", "import os, time\ntime.sleep(0 if os.path.exists('quick') else 60)\n"+gated)
	g.settings(settings + "start_timeout = '1s'\n")
	g.printed(g.worker, "key=python.start_timeout")
	g.script("from celery import Celery\nimport os\nCelery(broker=os.environ['TEST_BROKER']).send_task('gated.hold', ('a',), task_id='a')")
	g.printed(g.worker, "no answer within the start timeout of 1s")
	g.write("quick", "")
	g.settings(settings + "start_timeout = '1m'\n")
	g.noted("began", 1)
	g.finish("a")
	celerytest.Eventually(t, "the task's end", func() bool { return g.state("a") == "SUCCESS" })
	cleanEnd(t, g.worker)
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/pool/child"
)

// fat is an application whose task takes 100 MB until the test lets it end.
const fat = `
import os
import redis
from celery import Celery

app = Celery('fat', broker=os.environ['TEST_BROKER'], backend=os.environ['TEST_BACKEND'])
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)


@app.task
def hold(name):
    data = b'x' * 100_000_000
    r = redis.Redis.from_url(os.environ['TEST_BACKEND'], socket_timeout=None)
    r.rpush('note:began', name)
    r.blpop('go:' + name)
    r.rpush('note:ended', name)
    return len(data)
`

const ceiling = 600_000_000

// fill runs twenty such tasks, which want sixteen slots, and returns the most memory that the node was seen to take. Each task ends only
// when no more begin.
func (g *gate) fill() (most int64) {
	g.t.Helper()
	all := names("t", 20)
	g.script("from fat import hold\nfor name in '" + strings.Join(all, " ") + "'.split(): hold.apply_async((name,), task_id=name)")
	g.printed(g.worker, "held by memory")
	g.noted("began", 2) // several at a time
	celerytest.Eventually(g.t, "the end of all", func() bool {
		took := memoryOfTree(g.worker.PID())
		most = max(most, took)
		began, ended := g.notes("began"), g.notes("ended")
		if i := slices.IndexFunc(began, func(name string) bool { return !slices.Contains(ended, name) }); i >= 0 && (i < len(began)-1 || len(began) == len(all)) {
			g.finish(began[i])
		}
		return len(ended) == len(all)
	})
	for _, name := range all {
		celerytest.Eventually(g.t, "the result", func() bool { return g.state(name) == "SUCCESS" })
	}
	if began := g.notes("began"); len(began) != len(all) {
		g.t.Errorf("%d tasks began: some were run again", len(began))
	}
	return most
}

// memoryOfTree is what a process and all that came of it take, pages that they share counted once. Each is looked at twice, and the less
// counts: what one has given up while the others were looked at, and another has taken, is not counted twice.
func memoryOfTree(pid int) (sum int64) {
	all := append(child.Descendants(pid), pid)
	once := map[int]int64{}
	for _, p := range all {
		if u, err := child.UsageOf(p); err == nil {
			once[p] = u.PSS
		}
	}
	for _, p := range all {
		if u, err := child.UsageOf(p); err == nil {
			sum += min(once[p], u.PSS)
		}
	}
	return sum
}

func TestChildrenStayUnderAConfiguredMemoryLimit(t *testing.T) {
	g := &gate{site: newSite(t, "celery-latest")}
	g.write("fat.py", fat)
	g.settings("[scaling]\nmemory_limit = '600MB'\n")
	g.worker = g.start("worker", "-A", "fat", "--autoscale=16,1")
	most := g.fill()
	if most > ceiling {
		t.Errorf("took %d MB of %d MB", most/1e6, ceiling/1_000_000)
	}
	cleanEnd(t, g.worker)
	for _, bad := range []string{"child killed", "[ERROR]"} {
		if lines(g.worker, bad) > 0 {
			t.Errorf("the log has %q", bad)
		}
	}
	t.Logf("took %d MB at the most", most/1e6)
}

// When memory is short the largest idle child leaves, and then nothing is taken until there is more.
func TestShortMemoryIsRelievedStepByStep(t *testing.T) {
	const settings = "[pool]\nconcurrency = 3\n[scaling]\nmin = 3\nmemory_limit = '%s'\n"
	g := newGate(t, fmt.Sprintf(settings, "2GB"))
	g.printed(g.worker, "target 3: fixed at 3")
	celerytest.Eventually(t, "three children", func() bool { return len(child.Descendants(g.worker.PID())) == 4 })
	g.settings(fmt.Sprintf(settings, "32MiB"))
	g.printed(g.worker, "its child leaves")
	g.printed(g.worker, "take no message until there is more")
	g.printed(g.worker, "held by memory")
	celerytest.Eventually(t, "one child", func() bool { return len(child.Descendants(g.worker.PID())) == 2 })
	g.send("celery", "a")
	g.settings(fmt.Sprintf(settings, "2GB"))
	g.printed(g.worker, "key=scaling.memory_limit old=\"\\\"32MiB\\\"\"")
	g.printed(g.worker, "take messages again")
	g.noted("began", 1)
	g.finish("a")
	celerytest.Eventually(t, "the task's end", func() bool { return g.state("a") == "SUCCESS" })
	cleanEnd(t, g.worker)
	if out := g.worker.Output(); strings.Index(out, "Task gated.hold[a] received") < strings.Index(out, "take messages again") {
		t.Error("it was taken while memory was short")
	}
}

// The same in a control group of the kernel's, with nothing said in the configuration.
func TestChildrenStayUnderTheLimitOfACgroup(t *testing.T) {
	group := newCgroup(t, ceiling)
	g := &gate{site: newSite(t, "celery-latest")}
	g.write("fat.py", fat)
	g.settings("# the defaults\n")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test binary is this program if it is called so.
	g.must(os.Symlink(exe, filepath.Join(g.dir, "agensium")))
	g.worker = celerytest.StartProcess(t, g.dir, g.env, "sh", "-c", "echo $$ > "+group.procs()+" && exec ./agensium worker -A fat --autoscale=16,1")
	most := g.fill()
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", g.worker.PID()))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("took %d MB at the most, by the kernel's count %d MB; oom_score_adj %s", most/1e6, group.peak()/1e6, own)
	cleanEnd(t, g.worker)
	if n := group.kills(); n > 0 {
		t.Errorf("the kernel killed %d processes", n)
	}
}

func (g *gate) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// cgroup is a control group for memory, of either version.
type cgroup struct {
	t   *testing.T
	dir string
	v1  bool
}

// newCgroup makes one below our own with a limit, or skips the test and says why.
func newCgroup(t *testing.T, limit int) cgroup {
	t.Helper()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skip("no cgroup can be made:", err)
	}
	var g cgroup
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		switch {
		case len(parts) == 3 && slices.Contains(strings.Split(parts[1], ","), "memory"):
			g = cgroup{t, filepath.Join("/sys/fs/cgroup/memory", parts[2]), true}
		case len(parts) == 3 && parts[1] == "" && g.dir == "":
			g = cgroup{t, filepath.Join("/sys/fs/cgroup", parts[2]), false}
		}
	}
	g.dir = filepath.Join(g.dir, "agensium-test-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Skip("no cgroup can be made:", err)
	}
	t.Cleanup(func() {
		celerytest.Eventually(t, "the cgroup to be empty", func() bool { return os.Remove(g.dir) == nil })
	})
	file := "memory.max"
	if g.v1 {
		file = "memory.limit_in_bytes"
	}
	if err := os.WriteFile(filepath.Join(g.dir, file), []byte(strconv.Itoa(limit)), 0o644); err != nil {
		t.Skip("the cgroup cannot be given a limit:", err)
	}
	return g
}

func (g cgroup) procs() string { return filepath.Join(g.dir, "cgroup.procs") }

func (g cgroup) number(file, key string) int64 {
	g.t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		g.t.Log(err)
		return 0
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if key == "" || len(fields) == 2 && fields[0] == key {
			n, _ := strconv.ParseInt(fields[len(fields)-1], 10, 64)
			return n
		}
	}
	return 0
}

func (g cgroup) kills() int64 {
	if g.v1 {
		return g.number("memory.oom_control", "oom_kill")
	}
	return g.number("memory.events", "oom_kill")
}

func (g cgroup) peak() int64 {
	if g.v1 {
		return g.number("memory.max_usage_in_bytes", "")
	}
	return g.number("memory.peak", "")
}

package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/supervisor"
)

// beganOf is how many of a queue's tasks, which are named after it, have begun.
func (g *gate) beganOf(queue string) (n int) {
	for _, name := range g.notes("began") {
		if strings.HasPrefix(name, queue) {
			n++
		}
	}
	return n
}

// endNext lets the task of a queue end that began first and has not ended.
func (g *gate) endNext(queue string) {
	g.t.Helper()
	began, ended := g.notes("began"), g.notes("ended")
	for _, name := range began {
		if strings.HasPrefix(name, queue) && !slices.Contains(ended, name+" none") {
			g.finish(name)
			g.noted("ended", len(ended)+1)
			return
		}
	}
	g.t.Fatalf("no task of %q runs", queue)
}

// endAll lets tasks end one after the other, each when the next has begun.
func (g *gate) endAll(n int) {
	g.t.Helper()
	for range n {
		began := len(g.notes("began"))
		g.endNext("")
		g.noted("began", began+1)
	}
}

// admin is where the node says that it serves.
func (g *gate) admin() string {
	g.t.Helper()
	found := regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(g.worker.Output())
	if found == nil {
		g.t.Fatal("no admin server")
	}
	return found[1]
}

func (g *gate) status() supervisor.Status {
	g.t.Helper()
	code, body := answer(g.admin(), "/status")
	var st supervisor.Status
	if err := json.Unmarshal([]byte(body), &st); err != nil || code != 200 {
		g.t.Fatalf("status: %d %v\n%s", code, err, body)
	}
	return st
}

// A flood fills its part of the slots, fixed or scaled, and the tasks of another queue begin all the same.
func TestAFloodLeavesAQueueItsSlots(t *testing.T) {
	for name, args := range map[string][]string{
		"fixed":  {"-c", "4", "-Q", "a,b"},
		"scaled": {"--autoscale=4,1", "-Q", "a,b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t, "[scaling.queues.b]\nmin = 1\n", args...)
			g.printed(g.worker, " ready.")
			g.send("a", names("a", 200)...)
			g.noted("began", 3)
			g.send("b", "b0", "b1")
			g.noted("began", 4)
			if n := g.beganOf("b"); n != 1 {
				t.Errorf("began: %q", g.notes("began"))
			}
			g.endNext("b")
			celerytest.Eventually(t, "b's second task", func() bool { return g.beganOf("b") == 2 })
			g.endNext("b")
			g.endNext("a")
			celerytest.Eventually(t, "the next of a", func() bool { return g.beganOf("a") == 4 })
			if lines(g.worker, "[WARN]")+lines(g.worker, "[ERROR]") > 0 {
				t.Error("something to complain of")
			}
			g.worker.Kill()
		})
	}
}

// Of two floods each gets its part, the status shows it, and it can be changed while they run.
func TestTwoFloodsDivideTheSlotsByWeight(t *testing.T) {
	const settings = "[admin]\nlisten = '127.0.0.1:0'\n[broker]\nqueues = ['a', 'b']\n"
	g := newGate(t, settings+"[scaling.queues]\nb.weight = 3\n", "-c", "4")
	g.printed(g.worker, " ready.")
	g.send("a", names("a", 50)...)
	g.noted("began", 4)
	g.send("b", names("b", 50)...)
	has := func(a, b int) {
		t.Helper()
		celerytest.Eventually(t, "the slots of both", func() bool {
			st := g.status()
			return st.Queues[0].Running == a && st.Queues[1].Running == b
		})
	}
	g.endAll(4)
	has(1, 3)
	if q := g.status().Queues[1]; q.Name != "b" || q.Min != 0 || q.Weight != 3 {
		t.Errorf("status says %+v", q)
	}
	if _, text := told(t, "status", "--address", g.admin()); !strings.Contains(text, "3 running here  keeps 0, weight 3") {
		t.Errorf("status shows\n%s", text)
	}
	wanted := regexp.MustCompile(`(?m)^agensium_hosts_wanted 2\d$`) // about a hundred slots, of which a node has four
	celerytest.Eventually(t, "the number of hosts that the floods ask for", func() bool {
		_, text := answer(g.admin(), "/metrics")
		return wanted.MatchString(text)
	})
	g.settings(settings + "[scaling.queues]\na.weight = 3\n")
	g.printed(g.worker, "key=scaling.queues.a.weight")
	g.endAll(4)
	has(3, 1)
	g.settings(strings.Replace(settings, ", 'b'", "", 1))
	celerytest.Eventually(t, "a status without the queue that was left", func() bool {
		nodes := g.status().Nodes
		return len(nodes) == 1 && slices.Equal(nodes[0].Queues, []string{"a"})
	})
	g.worker.Kill()
}

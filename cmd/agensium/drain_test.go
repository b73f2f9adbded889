package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

// TestDrainInTheMiddle queues a thousand tasks, ends a node in the middle and starts a second one: each task runs once, each result is there.
func TestDrainInTheMiddle(t *testing.T) {
	t.Parallel()
	const n = 1000
	s := newSite(t, "celery-latest")
	var ids []string
	s.run(&ids, "-c", fmt.Sprintf("import json, proj; print(json.dumps([proj.counted.delay(i).id for i in range(%d)]))", n))
	first := s.node("-c", "4")
	s.noted("counted", 100)
	second := s.node("-c", "4")
	cleanEnd(t, first)
	s.noted("counted", n)
	for _, id := range ids {
		celerytest.Eventually(t, "the result of "+id, func() bool { return s.state(id) == "SUCCESS" })
	}
	cleanEnd(t, second)
	ran := map[string]int{}
	for _, i := range s.notes("counted") {
		ran[i]++
	}
	if len(ran) != n || len(s.notes("counted")) != n {
		t.Errorf("%d of %d tasks ran, %d times", len(ran), n, len(s.notes("counted")))
	}
	if left := s.left(); len(left) > 0 {
		t.Errorf("left in the broker: %q", left)
	}
}

// TestTasksRunAtTheSameTimeAsWithCelery sends as many tasks as the application's concurrency, each of which lasts until all of them
// run, to a worker that was idle and whose command line says nothing of concurrency.
func TestTasksRunAtTheSameTimeAsWithCelery(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest").conf(map[string]any{"worker_concurrency": 4})
	node := s.node()
	s.script("import proj\nfor i in range(4): proj.wait_for.delay('k', str(i))")
	s.noted("k", 4)
	if err := s.results().Set(t.Context(), "go:k", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	cleanEnd(t, node)
}

// TestADrainWaitsForRunningTasks ends a node by each signal that means a warm stop.
func TestADrainWaitsForRunningTasks(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "celery-latest")
			node := s.node("-c", "1")
			ids := strings.Fields(s.script("import proj; print(proj.wait_for.delay('k', 'a').id, proj.wait_for.delay('k', 'b').id)"))
			s.noted("k", 1)
			node.Signal(signal)
			s.printed(node, "draining")
			if err := s.results().Set(t.Context(), "go:k", 1, 0).Err(); err != nil {
				t.Fatal(err)
			}
			if status := node.Wait(); status != exitOK {
				t.Errorf("exit status %d", status)
			}
			if s.state(ids[0]) != "SUCCESS" || s.state(ids[1]) != "" {
				t.Errorf("states %q and %q, want SUCCESS and none", s.state(ids[0]), s.state(ids[1]))
			}
			if n := s.broker().LLen(t.Context(), "celery").Val(); n != 1 {
				t.Errorf("%d messages in the queue, want the second", n)
			}
		})
	}
}

// TestWhatADrainPutsBackRunsAgain ends a node whose task does not end, in each way that does not wait for it: the task goes back to
// the queue, its child is killed, and the next node runs it.
func TestWhatADrainPutsBackRunsAgain(t *testing.T) {
	for name, end := range map[string]func(*celerytest.Process, *site){
		"deadline": func(p *celerytest.Process, s *site) { p.Signal(syscall.SIGTERM) },
		"QUIT":     func(p *celerytest.Process, s *site) { p.Signal(syscall.SIGQUIT) },
		"second INT": func(p *celerytest.Process, s *site) {
			p.Signal(syscall.SIGINT)
			s.printed(p, "draining")
			p.Signal(syscall.SIGINT)
		},
		"TERM, then QUIT": func(p *celerytest.Process, s *site) {
			p.Signal(syscall.SIGTERM)
			s.printed(p, "draining")
			p.Signal(syscall.SIGQUIT)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "celery-latest")
			if name == "deadline" {
				s.write("agensium.toml", "[admin]\nlisten = \"\"\n[drain]\ntimeout = \"16s\"\nmargin = \"15s\"\n")
			}
			node := s.node("-c", "1")
			id := strings.TrimSpace(s.script("import proj; print(proj.wait_for.delay('k', 'a').id)"))
			s.noted("k", 1)
			end(node, s)
			if status := node.Wait(); status != exitOK {
				t.Errorf("exit status %d", status)
			}
			if n := s.broker().LLen(t.Context(), "celery").Val(); n != 1 {
				t.Fatalf("%d messages in the queue after the end, want 1; left %q", n, s.left())
			}
			if err := s.results().Set(t.Context(), "go:k", 1, 0).Err(); err != nil {
				t.Fatal(err)
			}
			next := s.node("-c", "1")
			celerytest.Eventually(t, "the result", func() bool { return s.state(id) == "SUCCESS" })
			cleanEnd(t, next)
			if ran := s.notes("k"); len(ran) != 2 {
				t.Errorf("it ran %d times, want 2", len(ran))
			}
		})
	}
}

// TestAKilledNodeLosesNothing kills a node with its children: the next one on the same host runs its task again, at once.
func TestAKilledNodeLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	node := s.node("-c", "2")
	id := strings.TrimSpace(s.script("import proj; print(proj.wait_for.delay('k', 'a').id)"))
	s.noted("k", 1)
	node.Signal(syscall.SIGKILL)
	<-node.Done()
	if err := s.results().Set(t.Context(), "go:k", 1, 0).Err(); err != nil {
		t.Fatal(err)
	}
	next := s.node("-c", "2")
	celerytest.Eventually(t, "the result", func() bool { return s.state(id) == "SUCCESS" })
	cleanEnd(t, next)
	if ran := s.notes("k"); len(ran) != 2 {
		t.Errorf("it ran %d times, want 2", len(ran))
	}
}

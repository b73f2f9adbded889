package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// soak is a stream of tasks with all faults mixed. One node, the keeper, is never killed: its memory, goroutines and descriptors tell
// whether anything leaks.
type soak struct {
	*field
	proxy   *celerytest.Proxy
	rand    *rand.Rand
	lasts   time.Duration
	over    time.Time
	keeper  *node
	port    int
	nodes   []*node // those that are struck
	ids     []string
	early   []string
	struck  map[string]int // faults by name
	sending bool
}

// TestSoak runs for AGENSIUM_SOAK (default 1m) and prints a ledger.
func TestSoak(t *testing.T) {
	lasts := time.Minute
	if text := os.Getenv("AGENSIUM_SOAK"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("AGENSIUM_SOAK: %v", err)
		}
	} else if testing.Short() {
		t.Skip("takes a minute")
	}
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := &soak{field: newField(t, "--appendonly", "yes", "--appendfsync", "always"), rand: rand.New(rand.NewPCG(seed, 0)), lasts: lasts, over: time.Now().Add(lasts), struck: map[string]int{}, sending: true}
	s.proxy = celerytest.StartProxy(t, s.redis.Addr())
	s.open("gate")
	s.port = celerytest.FreePort(t)
	s.keeper = s.node(s.port)
	s.nodes = []*node{s.node(0), s.node(0)}
	s.onward(200)
	before := s.keeper.vitals(s.port)

	faults := map[string]func(){
		"kill child": s.killChild, "kill zygote": s.killZygote, "kill supervisor": s.killSupervisor, "cut connections": s.proxy.CutAll,
		"kill Redis": s.killRedis, "pause": s.pause, "drain and restart": s.drain, "cold stop and restart": s.coldStop,
		"new generation": s.hangUp,
	}
	names := []string{"kill child", "kill child", "kill zygote", "kill supervisor", "cut connections", "cut connections", "kill Redis", "pause", "drain and restart", "cold stop and restart", "new generation"}
	for time.Now().Before(s.over) && !t.Failed() {
		name := names[s.rand.IntN(len(names))]
		faults[name]()
		s.struck[name]++
		s.onward(30)
	}
	s.sending = false
	s.finish(before)
}

func (s *soak) node(admin int) *node {
	return s.start(plan{url: s.proxy.URL(0), lease: short, admin: admin, extra: "[tasks]\nmax_deliveries = 1000\n"})
}

// until waits for a condition, and keeps the queue filled meanwhile.
func (s *soak) until(what string, condition func() bool) {
	s.t.Helper()
	celerytest.Eventually(s.t, what, func() bool {
		if s.sending && s.c.LLen(s.t.Context(), "celery").Val() < 30 {
			s.ids = append(s.ids, s.send(24, "flow.step", 0.01)...)
			s.ids = append(s.ids, s.apply(4, func() *celery.Signature {
				return celery.S("flow.step").With(celery.Options{Countdown: time.Duration(s.rand.IntN(3000)) * time.Millisecond})
			})...)
			s.early = append(s.early, s.send(2, "flow.early")...)
		}
		return condition()
	})
}

func (s *soak) written() int { return int(s.book.LLen(s.t.Context(), "runs").Val()) }

// onward waits for n more runs.
func (s *soak) onward(n int) {
	s.t.Helper()
	n += s.written()
	s.until("the stream to go on", func() bool { return s.written() >= n })
}

// last is the process of the run that began last.
func (s *soak) last() int {
	line, err := s.book.LIndex(s.t.Context(), "runs", -1).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.Fields(line)[1])
	return pid
}

func (s *soak) killChild() {
	pid := s.last()
	s.dead[strconv.Itoa(pid)] = true
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func (s *soak) killZygote() {
	parent, err := parent(s.last())
	if err != nil || parent == s.keeper.PID() || parent == s.nodes[0].PID() || parent == s.nodes[1].PID() || parent <= 1 {
		return // the child is gone, or its zygote already
	}
	_ = syscall.Kill(parent, syscall.SIGKILL)
}

// another replaces a struck node.
func (s *soak) another(i int) { s.nodes[i] = s.node(0) }

func (s *soak) killSupervisor() {
	i := s.rand.IntN(len(s.nodes))
	s.nodes[i].slay()
	s.another(i)
}

// killRedis kills a Redis that has written down what it answered.
func (s *soak) killRedis() {
	s.redis.Kill()
	s.redis.Start()
}

func (s *soak) drain() {
	i := s.rand.IntN(len(s.nodes))
	s.nodes[i].end()
	s.another(i)
}

func (s *soak) coldStop() {
	i := s.rand.IntN(len(s.nodes))
	n := s.nodes[i]
	s.dead[n.name] = true
	n.Signal(syscall.SIGQUIT)
	n.Wait()
	s.another(i)
}

// hangUp has a node import the application anew while its tasks run.
func (s *soak) hangUp() {
	append(s.nodes, s.keeper)[s.rand.IntN(len(s.nodes)+1)].Signal(syscall.SIGHUP)
}

// pause stops a node for longer than its lease.
func (s *soak) pause() {
	n := append(s.nodes, s.keeper)[s.rand.IntN(len(s.nodes)+1)]
	n.Pause()
	from := s.written()
	before := s.leases(n.PID()) // two, if it was just beginning anew
	s.until("its leases to end", func() bool { return len(s.leases(n.PID())) == 0 })
	s.onward(30)
	n.Resume()
	s.until("the node to find its lease gone", func() bool {
		return slices.ContainsFunc(s.leases(n.PID()), func(id string) bool { return !slices.Contains(before, id) })
	})
	s.onward(60) // a slot that had its task in hand begins it now, before the node hears that the claim is gone
	s.paused[n.name] = append(s.paused[n.name], lapse{from, s.written()})
}

// leases are the incarnations of a process whose lease has not ended.
func (s *soak) leases(pid int) (ids []string) {
	for id, entry := range s.c.HGetAll(s.t.Context(), "agensium:nodes").Val() {
		if strings.Contains(entry, fmt.Sprintf(`"pid":%d,`, pid)) && s.c.Exists(s.t.Context(), "agensium:lease:"+id).Val() == 1 {
			ids = append(ids, id)
		}
	}
	return ids
}

// vitals are figures of a node's own metrics.
func (n *node) vitals(port int) map[string]float64 {
	n.f.t.Helper()
	_, body := answer(fmt.Sprintf("127.0.0.1:%d", port), "/metrics")
	found := map[string]float64{}
	for line := range strings.Lines(body) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "go_goroutines", "process_open_fds", "process_resident_memory_bytes":
			found[name], _ = strconv.ParseFloat(value, 64)
		}
	}
	if len(found) != 3 {
		n.f.t.Fatalf("metrics of %s: %.500s", n.name, body)
	}
	return found
}

// finish waits for the end of all tasks and balances the ledger.
func (s *soak) finish(before map[string]float64) {
	s.t.Helper()
	s.results(s.ids, "SUCCESS")
	lost := 0
	celerytest.Eventually(s.t, "the ends of tasks that are acknowledged early", func() bool {
		for _, id := range s.early {
			if s.stateOf(id) == "" {
				return false
			}
		}
		return true
	})
	runs := s.runs()
	for _, id := range s.early {
		all := runs[id]
		failed := s.stateOf(id) == "FAILURE"
		if failed {
			lost++
		}
		if len(all) > 1 || !failed && len(all) == 0 || failed && len(all) == 1 && !s.cause(all[0]) {
			s.t.Errorf("%s, acknowledged early, is %s and ran %v", id, s.stateOf(id), all)
		}
	}
	// Only where the node died is there a dead letter: a killed child is a plain failure, as with Celery.
	letters := s.places()["dead"]
	if letters > int64(lost) {
		s.t.Errorf("%d dead letters, but %d tasks recorded as lost", letters, lost)
	}
	s.settled(letters)
	again := s.balance(s.ids)
	if n := len(s.ids); s.lasts >= 10*time.Minute && n < 10_000 {
		s.t.Errorf("only %d tasks", n)
	}
	var after map[string]float64
	defer func() { s.t.Logf("before: %v, after: %v", before, after) }()
	celerytest.Eventually(s.t, "all that was taken for the tasks to be given back", func() bool { // an old generation may be about to end
		after = s.keeper.vitals(s.port)
		return after["go_goroutines"] <= before["go_goroutines"]+15 && after["process_open_fds"] <= before["process_open_fds"]+10 &&
			after["process_resident_memory_bytes"] <= before["process_resident_memory_bytes"]+40<<20
	})
	s.keeper.end()
	for _, n := range s.nodes {
		n.end()
	}
	fmt.Fprintf(os.Stderr, `soak ledger
  sent                     %d (and %d acknowledged early)
  runs                     %d
  run again, with a cause  %d (what struck the run before: %v)
  run again without        0 unless the test failed
  lost                     0 unless the test failed
  early: recorded as lost  %d
  faults                   %v
  supervisor memory        %.1f MB at start, %.1f MB at end
  goroutines               %.0f, %.0f
  descriptors              %.0f, %.0f
`, len(s.ids), len(s.early), s.written(), again, s.causes(), lost, s.struck,
		before["process_resident_memory_bytes"]/1e6, after["process_resident_memory_bytes"]/1e6,
		before["go_goroutines"], after["go_goroutines"], before["process_open_fds"], after["process_open_fds"])
}

// causes counts what struck the runs that were not the last of their task.
func (s *soak) causes() map[string]int {
	found := map[string]int{}
	for _, all := range s.runs() {
		for _, e := range all[:len(all)-1] {
			switch {
			case s.lapsed(e):
				found["node paused"]++
			case !s.cause(e):
				found["nothing, but the run after it"]++
			case s.dead[strconv.Itoa(e.pid)]:
				found["child killed"]++
			default:
				found["supervisor killed or stopped cold"]++
			}
		}
	}
	return found
}

package simulate

import (
	"container/heap"
	"time"
)

type kind int

const (
	arrives kind = iota
	ready
	ends
	look
)

type event struct {
	at   time.Duration
	seq  int
	kind kind
	node int
	slot *slot
	task Task
	mark int // looks: only the newest counts
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

type world struct {
	load    Load
	opt     Options
	slo     time.Duration
	events  events
	seq     int
	now     time.Duration
	queue   []Task
	nodes   []*node
	claimed int64
	wait    time.Duration
	result  Result
	last    time.Duration
}

const tail = 5 * time.Minute

// Run plays the load against the rules, one for each node, and measures until the load's end and five minutes more, the same for
// every rule.
func Run(load Load, slo time.Duration, opt Options, rules ...Rule) Result {
	w := &world{load: load, opt: opt, slo: slo}
	for _, r := range rules {
		n := &node{rule: r, target: opt.Initial}
		for range opt.Initial {
			n.add(&slot{state: ready, memory: opt.Child})
		}
		w.nodes = append(w.nodes, n)
	}
	for _, t := range load.Tasks {
		w.push(event{at: t.Arrive, kind: arrives, task: t})
	}
	for i := range w.nodes {
		w.push(event{kind: look, node: i})
	}
	end := load.Until + tail
	for len(w.events) > 0 && w.events[0].at <= end {
		e := heap.Pop(&w.events).(event)
		w.pass(e.at)
		w.happen(e)
	}
	w.pass(end)
	w.owe()
	return w.result
}

// owe charges the work that is still to be done, so that no rule gains by leaving it.
func (w *world) owe() {
	w.result.Left = len(w.queue)
	for _, t := range w.queue {
		w.result.Hours += t.Service.Hours()
	}
	for _, n := range w.nodes {
		for _, s := range n.slots {
			if s.state == ends {
				w.result.Left++
				w.result.Hours += max(0, s.task.Service-(w.now-s.began)).Hours()
			}
		}
	}
}

func (w *world) push(e event) {
	w.seq++
	e.seq = w.seq
	heap.Push(&w.events, e)
}

// pass lets time pass and counts it.
func (w *world) pass(to time.Duration) {
	size, busy := 0, 0
	for _, n := range w.nodes {
		size += len(n.slots)
		busy += n.count(ends)
	}
	w.result.Hours += (to - w.last).Hours() * float64(size)
	w.result.Work += (to - w.last).Hours() * float64(busy)
	w.result.Most = max(w.result.Most, size)
	w.last, w.now = to, to
}

func (w *world) happen(e event) {
	switch e.kind {
	case arrives:
		w.result.Tasks++
		w.queue = append(w.queue, e.task)
		w.feed()
		for i, n := range w.nodes {
			if _, wants := n.rule.(onArrival); wants {
				w.decide(i)
			}
		}
	case ready:
		if e.slot.gone {
			return
		}
		w.nodes[e.node].set(e.slot, ready)
		w.feed()
		w.retire(w.nodes[e.node])
		w.soon(e.node)
	case ends:
		if e.slot.gone {
			return
		}
		w.end(e.node, e.slot)
	case look:
		if e.mark != w.nodes[e.node].mark {
			return
		}
		if w.opt.Lost != nil && w.opt.Lost(w.now, e.node) {
			w.lookAgain(e.node, time.Second)
			return
		}
		w.decide(e.node)
	}
}

// feed gives messages to idle slots, in turn to the nodes that have some.
func (w *world) feed() {
	for len(w.queue) > 0 {
		var at = -1
		for i, n := range w.nodes {
			if n.count(ready) > 0 && (at < 0 || n.count(ready) > w.nodes[at].count(ready)) {
				at = i
			}
		}
		if at < 0 {
			return
		}
		n := w.nodes[at]
		t := w.queue[0]
		w.queue = w.queue[1:]
		w.claimed++
		w.begin(at, n, t)
		if n.count(ready) == 0 {
			w.soon(at)
		}
	}
}

func (w *world) begin(at int, n *node, t Task) {
	var s *slot
	for _, s = range n.slots {
		if s.state == ready {
			break
		}
	}
	w.wait = w.now - t.Arrive
	w.result.Started++
	if w.wait <= w.slo {
		w.result.InTime++
	}
	took := t.Service
	if w.failing() {
		took = min(took, 200*time.Millisecond)
		t.tries++
	}
	n.set(s, ends)
	s.task, s.began = t, w.now
	s.memory = w.opt.Child + t.Memory
	s.besides = n.count(ends)
	if w.load.Slowdown != nil {
		took = time.Duration(float64(took) * w.load.Slowdown(w.busy()))
	}
	w.push(event{at: w.now + took, kind: ends, node: at, slot: s})
	w.kill(n)
}

func (w *world) failing() bool { return w.now >= w.load.Outage[0] && w.now < w.load.Outage[1] }

func (w *world) busy() (n int) {
	for _, node := range w.nodes {
		n += node.count(ends)
	}
	return n
}

// kill is the kernel: it takes the largest child while the node has more than its limit.
func (w *world) kill(n *node) {
	for w.opt.Limit > 0 && w.opt.Base+n.private() > w.opt.Limit {
		var largest *slot
		for _, s := range n.slots {
			if largest == nil || s.memory > largest.memory {
				largest = s
			}
		}
		if largest == nil {
			return
		}
		w.result.Kills++
		if largest.state == ends {
			w.queue = append([]Task{largest.task}, w.queue...)
		}
		n.remove(largest)
	}
}

func (w *world) end(at int, s *slot) {
	n := w.nodes[at]
	failed := s.began >= w.load.Outage[0] && s.began < w.load.Outage[1]
	n.ended = append(n.ended, Ended{Took: w.now - s.began, Failed: failed, Memory: s.memory,
		Busy: float64(s.besides+n.count(ends)) / 2})
	if failed {
		t := s.task
		t.Arrive = w.now + 10*time.Second<<min(t.tries-1, 4)
		w.push(event{at: t.Arrive, kind: arrives, task: t})
	}
	n.set(s, ready)
	s.task = Task{}
	w.result.Drained = w.now
	w.retire(n) // a slot that is too many leaves before it takes another message
	w.feed()
}

// soon asks the rule at once if it wants to hear of slots.
func (w *world) soon(at int) {
	if _, wants := w.nodes[at].rule.(onTaken); wants {
		w.lookAgain(at, 0)
	}
}

func (w *world) lookAgain(at int, in time.Duration) {
	n := w.nodes[at]
	n.mark++
	w.push(event{at: w.now + in, kind: look, node: at, mark: n.mark})
}

// decide asks the rule and follows it: up at once, down by idle slots.
func (w *world) decide(at int) {
	n := w.nodes[at]
	target, next := n.rule.Decide(w.view(at))
	n.ended = nil
	n.target = target
	for len(n.slots) < target {
		s := &slot{state: arrives, memory: w.opt.Child}
		n.add(s)
		w.push(event{at: w.now + w.opt.Start, kind: ready, node: at, slot: s})
	}
	w.kill(n)
	w.retire(n)
	w.feed()
	w.lookAgain(at, next)
}

// retire lets idle slots go that are too many.
func (w *world) retire(n *node) {
	for len(n.slots) > n.target {
		var idle *slot
		for _, s := range n.slots {
			if s.state == ready && (idle == nil || s.memory > idle.memory) {
				idle = s
			}
		}
		if idle == nil {
			return
		}
		n.remove(idle)
	}
}

func (w *world) view(at int) View {
	n := w.nodes[at]
	v := View{Now: w.now, Due: len(w.queue), Wait: w.wait, Claimed: w.claimed, Busy: n.count(ends), Idle: n.count(ready),
		Starting: n.count(arrives), Node: at, Private: n.private(), Ended: n.ended}
	if len(w.queue) > 0 {
		v.Wait = max(0, w.now-w.queue[0].Arrive)
	}
	for _, s := range n.slots {
		v.Largest = max(v.Largest, s.memory)
	}
	for _, n := range w.nodes {
		v.Peers = append(v.Peers, Peer{Busy: n.count(ends), Size: max(len(n.slots), n.target)})
	}
	return v
}

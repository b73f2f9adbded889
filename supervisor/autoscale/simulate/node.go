package simulate

import "time"

type slot struct {
	state   kind // ready: idle, ends: busy, arrives: starting
	task    Task
	began   time.Duration
	besides int // busy slots when its task began
	memory  int64
	gone    bool
}

type node struct {
	rule   Rule
	target int
	slots  []*slot
	states [look]int // slots by state
	ended  []Ended
	mark   int
}

func (n *node) count(state kind) int { return n.states[state] }

func (n *node) add(s *slot) {
	n.slots = append(n.slots, s)
	n.states[s.state]++
}

func (n *node) set(s *slot, state kind) {
	n.states[s.state]--
	s.state = state
	n.states[state]++
}

func (n *node) private() (sum int64) {
	for _, s := range n.slots {
		sum += s.memory
	}
	return sum
}

func (n *node) remove(gone *slot) {
	gone.gone = true
	n.states[gone.state]--
	for i, s := range n.slots {
		if s == gone {
			n.slots = append(n.slots[:i], n.slots[i+1:]...)
			return
		}
	}
}

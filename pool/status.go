package pool

import (
	"slices"
	"time"
)

// SlotStatus is a slot as it was when asked.
type SlotStatus struct {
	ID      int
	State   State
	Since   time.Time // of the state
	PID     int       // 0 if the executor is no process, or there is none
	Tasks   int       // that the executor ran
	Running *Running  // nil unless busy
}

// Status is the pool as it was when asked.
type Status struct {
	Target int
	Slots  []SlotStatus // by number
}

// Count returns how many slots are in a state.
func (s Status) Count(state State) int {
	n := 0
	for _, slot := range s.Slots {
		if slot.State == state {
			n++
		}
	}
	return n
}

// Status takes a snapshot.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := Status{Target: p.target, Slots: make([]SlotStatus, 0, len(p.slots))}
	for _, s := range p.slots {
		status.Slots = append(status.Slots, SlotStatus{
			ID: s.id, State: State(s.state.Load()), Since: time.Unix(0, s.since.Load()), PID: int(s.pid.Load()), Tasks: int(s.tasks.Load()), Running: s.running.Load(),
		})
	}
	slices.SortFunc(status.Slots, func(a, b SlotStatus) int { return a.ID - b.ID })
	return status
}

// PID is the process in which the job runs, as [PIDOf] tells.
func (r *Running) PID() int { return PIDOf(r.executor, r.Job.Task) }

// Running lists the jobs in progress.
func (p *Pool) Running() []*Running {
	p.mu.Lock()
	defer p.mu.Unlock()
	var running []*Running
	for _, s := range p.slots {
		if r := s.running.Load(); r != nil {
			running = append(running, r)
		}
	}
	return running
}

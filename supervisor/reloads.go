package supervisor

import (
	"os"
	"sync"
	"time"

	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/supervisor/admin"
)

// reloads remembers how reloads of the settings went. The start counts as one that succeeded.
type reloads struct {
	mu      sync.Mutex
	ok      uint64
	refused uint64
	taken   time.Time // the settings in place
	last    time.Time // reload, however it went
	failure string    // of the last one; empty if it went well
	stored  int       // version of the settings in Redis that are part of those in place

	asked, answered uint64 // the newest reload that somebody asked for, and the newest that has gone well or not
	refusal         string // why the newest that was answered was refused; empty: it was not
	changed         func() // is told of either; nil: nobody is
}

// ReloadStatus tells of the settings in place.
type ReloadStatus struct {
	Taken   time.Time `json:"taken"`
	Last    time.Time `json:"last,omitzero"`
	Error   string    `json:"error,omitempty"` // the last one was refused, and the settings are older
	Reloads uint64    `json:"reloads"`
	Refused uint64    `json:"refused"`

	// Somebody asked for so many, and so many of those have gone well or not: a reload goes on while they differ.
	Asked    uint64 `json:"asked"`
	Answered uint64 `json:"answered"`
	Refusal  string `json:"refusal,omitempty"`       // of the newest of these; what is read later without being asked for does not change it
	Stored   int    `json:"redis_version,omitempty"` // of the settings in Redis that are part of those in place; 0: none
}

func (r *reloads) note(at time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = at
	if err != nil {
		r.refused++
		r.failure = err.Error()
		return
	}
	r.ok++
	r.taken, r.failure = at, ""
}

// ask notes that somebody asked for the reload with that number.
func (r *reloads) ask(number uint64) {
	r.mu.Lock()
	r.asked = max(r.asked, number)
	r.mu.Unlock()
	r.tell()
}

// answer notes that the reloads up to that number have gone well or not, as the last note says.
func (r *reloads) answer(number uint64) {
	r.mu.Lock()
	news := number > r.answered
	if news {
		r.refusal = r.failure
	}
	r.answered = max(r.answered, number)
	r.asked = max(r.asked, number) // who asked may not have noted it yet
	r.mu.Unlock()
	if news {
		r.tell()
	}
}

func (r *reloads) tell() {
	if r.changed != nil {
		r.changed()
	}
}

// stands notes that a newer reload than the last one that went well was refused.
func (r *reloads) stands(refused error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = refused.Error()
}

// from notes which settings in Redis are part of those in place.
func (r *reloads) from(version int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stored = version
}

func (r *reloads) status() ReloadStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ReloadStatus{Taken: r.taken, Last: r.last, Error: r.failure, Reloads: r.ok, Refused: r.refused, Stored: r.stored, Asked: r.asked, Answered: r.answered, Refusal: r.refusal}
}

// ReloadReport is what GET /reload tells: how reloads went, and whom to send the signal that asks for one.
type ReloadReport struct {
	PID   int    `json:"pid"`
	Birth string `json:"birth"`          // as child.Birth has it: whoever sees another one has another process
	Deaf  bool   `json:"deaf,omitempty"` // to signals: the program has its own, see Options.Signals
	Phase string `json:"phase"`
	ReloadStatus
}

// Ends tells whether the node takes nothing over any more.
func (r *ReloadReport) Ends() bool { return r.Phase == draining }

// Reloads asks nobody but this process.
func (s *Supervisor) Reloads() any {
	pid := os.Getpid()
	return ReloadReport{PID: pid, Birth: child.Birth(pid), Deaf: s.o.Signals != nil, Phase: s.life.now().phase, ReloadStatus: s.reloads.status()}
}

func (r *reloads) sample() admin.Reload {
	s := r.status()
	return admin.Reload{Succeeded: s.Reloads, Refused: s.Refused, LastOK: s.Error == "", Last: s.Taken}
}

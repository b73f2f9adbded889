package supervisor

import (
	"sync"
	"time"

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
}

// ReloadStatus tells of the settings in place.
type ReloadStatus struct {
	Taken   time.Time `json:"taken"`
	Last    time.Time `json:"last,omitzero"`
	Error   string    `json:"error,omitempty"` // the last one was refused, and the settings are older
	Reloads uint64    `json:"reloads"`
	Refused uint64    `json:"refused"`
	Stored  int       `json:"redis_version,omitempty"` // of the settings in Redis that are part of those in place; 0: none
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

// from notes which settings in Redis are part of those in place.
func (r *reloads) from(version int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stored = version
}

func (r *reloads) status() ReloadStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return ReloadStatus{Taken: r.taken, Last: r.last, Error: r.failure, Reloads: r.ok, Refused: r.refused, Stored: r.stored}
}

func (r *reloads) sample() admin.Reload {
	s := r.status()
	return admin.Reload{Succeeded: s.Reloads, Refused: s.Refused, LastOK: s.Error == "", Last: s.Taken}
}

package supervisor

import (
	"sync"
	"time"
)

// Reloads tells how it went when the settings were read again.
type Reloads struct {
	OK     uint64    `json:"ok"`
	Failed uint64    `json:"failed"`
	Last   time.Time `json:"last,omitzero"`          // the last attempt
	Error  string    `json:"last_error,omitempty"`   // of the last attempt; empty: it went well
	Since  time.Time `json:"in_force_since"`         // when the settings in force were taken over
	Stored int       `json:"redis_version,omitzero"` // of the settings in Redis that are in force; 0: none
}

type reloads struct {
	mu  sync.Mutex
	now Reloads
}

// begin notes the settings of the start.
func (r *reloads) begin(stored int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.Since, r.now.Stored = time.Now(), stored
}

func (r *reloads) succeeded(stored int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.now.OK++
	r.now.Last, r.now.Since, r.now.Error, r.now.Stored = now, now, "", stored
}

func (r *reloads) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now.Failed++
	r.now.Last, r.now.Error = time.Now(), err.Error()
}

// snapshot may be called by anyone.
func (r *reloads) snapshot() Reloads {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

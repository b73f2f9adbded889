package pool

// State is where a slot is in its life.
type State uint32

// The states of a slot. See the diagram in the package comment.
const (
	Starting State = iota
	Idle
	Busy
	Leaving
	Gone
)

var stateNames = [...]string{"starting", "idle", "busy", "leaving", "gone"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// allowed lists the steps a slot may take. A replaced executor takes its slot from idle or busy back to starting; a job
// that outlived its executor makes the next one busy at once.
var allowed = [...][]State{
	Starting: {Starting, Idle, Busy, Leaving},
	Idle:     {Busy, Starting, Leaving},
	Busy:     {Idle, Starting, Leaving},
	Leaving:  {Gone},
	Gone:     {},
}

func (s State) mayBecome(next State) bool {
	if int(s) >= len(allowed) {
		return false
	}
	for _, a := range allowed[s] {
		if a == next {
			return true
		}
	}
	return false
}

// Reason says in a word why an executor was closed or a slot left. Logs, metrics and status use the same words.
type Reason string

// The reasons.
const (
	ReasonScaleDown Reason = "scale_down"
	ReasonMaxTasks  Reason = "max_tasks"
	ReasonMaxMemory Reason = "max_memory"
	ReasonMaxAge    Reason = "max_age"
	ReasonReload    Reason = "reload"
	ReasonCrashed   Reason = "crashed"
	ReasonHardLimit Reason = "hard_limit"
	ReasonTerminate Reason = "terminated"
	ReasonShutdown  Reason = "shutdown"
	ReasonMemory    Reason = "memory_pressure"
)

package celery

import "time"

// State is a task's state as Celery names it, in results, logs, metrics and events.
type State string

// The states in which a task can leave an executor. StateIgnored and StateRejected are never stored
// (celery/backends/base.py, protocol notes C.4).
const (
	StateSuccess  State = "SUCCESS"
	StateFailure  State = "FAILURE"
	StateRetry    State = "RETRY"
	StateRevoked  State = "REVOKED"
	StateIgnored  State = "IGNORED"
	StateRejected State = "REJECTED"
	StateLost     State = "LOST" // the executor died under the task: a Verdict has to be recorded, or the message goes back
)

// Result is a document for the result store: SET Key Document with the application's expiry, then PUBLISH on the
// channel of the same name (celery/backends/redis.py RedisBackend._set).
type Result struct {
	Key      string
	Document []byte
}

// Outcome is what became of a task. It is the user's business, never an error of ours.
type Outcome struct {
	State      State
	Results    []Result      // to be stored before the acknowledgement; empty if nothing is to be stored or all is stored
	Runtime    time.Duration // of the task's body; 0 if it did not run
	Requeue    bool          // StateRejected: the message goes to the back of its queue
	ReturnRepr string        // repr of the return value, at most 1,024 characters; only if asked for
	Exception  string        // repr of the exception; StateFailure, StateRetry and StateRejected only
	Traceback  string        // as Python prints it; may be empty
	Expected   bool          // the exception is one that the task declares in `throws`: logged as information
	MaxRSS     int64         // high-water mark of the child's resident memory, bytes; 0 if unknown
	Loss       *Loss         // how the executor died, with StateLost; or why it cannot go on, although the outcome is recorded
	Refused    string        // the message could not be run at all: undecodable, content_type_refused or unknown_task; State is StateFailure
}

// LossCause says in a word why an executor is gone. The words are those of logs, metrics and dead letters.
type LossCause string

// The causes of a loss.
const (
	LossExited     LossCause = "exited"     // it ended by itself: os._exit, sys.exit, a crash of the interpreter
	LossSignal     LossCause = "signal"     // a signal that we did not send
	LossOOM        LossCause = "oom"        // killed by the kernel for lack of memory
	LossHardLimit  LossCause = "hard_limit" // killed by us at the hard time limit
	LossTerminated LossCause = "terminated" // killed by us because somebody asked: revoke with terminate
	LossShutdown   LossCause = "shutdown"   // killed by us at the end of a drain
	LossProtocol   LossCause = "protocol"   // it sent what is not of our protocol and was killed
	LossUnbegun    LossCause = "unbegun"    // there was none: the task was not begun
)

// Loss tells how an executor died under a task.
type Loss struct {
	Cause    LossCause
	PID      int
	Signal   int           // 0 if none
	ExitCode int           // -1 if killed by a signal
	Limit    time.Duration // the hard limit that was reached
	Memory   int64         // resident bytes when last seen; 0 if unknown
	Tail     []string      // the last lines that it printed
	Detail   string        // one sentence for the log
}

// Verdict is an outcome that the supervisor decided without, or after, running the task. An executor records it
// as Celery's parent process would: result document, chord part, errbacks, remaining chain.
type Verdict struct {
	State    State    // StateFailure or StateRevoked; StateRetry: sent again as self.retry would, or a failure if there are no retries left
	Type     string   // exception class: WorkerLostError, TimeLimitExceeded, TaskRevokedError, NotRegistered …
	Module   string   // its module: billiard.exceptions, celery.exceptions
	Args     []any    // its arguments: JSON scalars
	CallBack bool     // run errbacks; Celery does so for failures and not for revokes
	Cause    string   // why, in a word, for logs and dead letters: expired, revoked, worker_lost …
	Tail     []string // last lines that the dead child printed
	Requeue  bool     // StateRetry: if it cannot be sent, the message goes back
	Signal   int      `json:",omitempty"` // that a running task was terminated with

	Errbacks  bool   // nothing but run errbacks, with Traceback: the task ran elsewhere and the rest is recorded
	Traceback string `json:",omitempty"`
}

// TaskOptions are the settings of one registered task, after the application's own settings were applied.
// Zero limits mean none.
type TaskOptions struct {
	AcksLate               bool          `json:"acks_late"`
	AcksOnFailureOrTimeout bool          `json:"acks_on_failure_or_timeout"`
	AcksOnTimeout          *bool         `json:"acks_on_timeout"` // Celery 5.7; nil: as AcksOnFailureOrTimeout
	RejectOnWorkerLost     bool          `json:"reject_on_worker_lost"`
	RetryOnWorkerLost      bool          `json:"retry_on_worker_lost"` // Celery 5.7
	TrackStarted           bool          `json:"track_started"`
	IgnoreResult           bool          `json:"ignore_result"`
	SendEvents             bool          `json:"send_events"`
	RateLimit              string        `json:"rate_limit"`
	TimeLimit              time.Duration `json:"-"`
	SoftTimeLimit          time.Duration `json:"-"`
}

// AcksTimedOut tells whether a task that reached its hard limit is acknowledged, if that is late.
func (o TaskOptions) AcksTimedOut() bool {
	if o.AcksOnTimeout != nil {
		return *o.AcksOnTimeout
	}
	return o.AcksOnFailureOrTimeout
}

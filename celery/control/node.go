package control

import (
	"context"
	"encoding/json"
	"syscall"
	"time"
)

// Node is what the supervisor can tell and do, by area. A command whose area is nil answers that it is not available.
// The methods are called by several goroutines at once. Those without a context must return at once; what takes
// a context may take as long as the context allows, and holds up no other command.
type Node struct {
	Requests   Requests
	Parked     Parked
	Revoker    Revoker
	Limits     Limits
	Pool       Pool
	Autoscaler Autoscaler
	Consumers  Consumers
	Registry   Registry
	Settings   Settings
	Statistics StatisticsSource
	Lifecycle  Lifecycle
	Custom     Custom

	Serializers Serializers
}

// Answers that a Node's methods return as errors for the cases that Celery words itself. Any other error reaches the client
// as {"error": "RuntimeError('…')"}; a [Refused] as it stands.
const (
	ErrUnknownTask = Refused("unknown task")
	ErrAutoscaled  = Refused("not supported with autoscale. Adjust autoscale range instead.")
)

// Errors of [Pool] and [Autoscaler] that Celery raises.
var (
	ErrNoAutoscale error = exception{"ValueError", "Autoscale not enabled"}
	ErrNoRestart   error = exception{"ValueError", "Pool restarts not enabled"}
	ErrAllBusy     error = exception{"ValueError", "Can't shrink pool. All processes busy!"}
)

// Requests tells which tasks the node holds.
type Requests interface {
	Active() []Request   // being run
	Reserved() []Request // claimed and not being run: waiting for a rate limit or for a child
}

// Parked tells which tasks wait in Redis for their ETA, the first due first, at most that many. All nodes share them.
type Parked interface {
	Parked(ctx context.Context, most int) ([]Request, error)
}

// Revoker does what a revocation asks for beyond the list of revoked tasks, which is kept here.
type Revoker interface {
	// Revoked is told when the list of the revoked has grown, by these ids or by stamps. It records REVOKED for those of the
	// tasks that nobody has begun, as Celery does from 5.6 on, and sees to the parked ones.
	Revoked(ctx context.Context, ids []string) error
	// Terminate sends the signal to what runs these tasks, and remembers it for those that are held and not begun.
	// It returns the ones that the node holds.
	Terminate(ctx context.Context, ids []string, signal syscall.Signal) []string
}

// Limits changes limits of a task by name, until the node ends. ErrUnknownTask if there is none of the name.
type Limits interface {
	// RateLimit sets how many a second may begin on this node. The text is what was asked for: "10/m"; empty, and 0,
	// means no limit.
	RateLimit(task, text string, perSecond float64) error
	// TimeLimits sets both time limits; 0 means none.
	TimeLimits(task string, soft, hard time.Duration) error
}

// Pool changes the number of slots by n, as a bound of its own beside what scaling wants, and starts executors anew.
// Where the user asked for --autoscale, Grow and Shrink return ErrAutoscaled, as Celery does.
type Pool interface {
	Grow(n int) error
	Shrink(n int) error                // ErrAllBusy if there are fewer idle ones, which are ended all the same
	Restart(ctx context.Context) error // begins a new generation; ErrNoRestart if worker_pool_restarts is off
}

// Autoscaler changes the bounds of scaling; nil leaves a bound as it is. It returns the bounds that hold then, or
// ErrNoAutoscale.
type Autoscaler interface {
	Autoscale(most, least *int) (newMost, newLeast int, err error)
}

// Consumers changes which queues are consumed from, until the node ends.
type Consumers interface {
	Queues() []Queue
	AddConsumer(ctx context.Context, q Queue) error // a queue that is consumed from already is no error
	CancelConsumer(ctx context.Context, name string) error
}

// Registry tells the registered tasks, with those of the attributes that are not None in Python, as text.
type Registry interface {
	Registered(ctx context.Context, attributes []string) ([]RegisteredTask, error)
}

// Settings tells the application's settings.
type Settings interface {
	Conf(ctx context.Context, withDefaults bool) (json.RawMessage, error) // app.conf.table, passwords masked
	Report(ctx context.Context) (string, error)                           // app.bugreport
}

// StatisticsSource tells the node's numbers.
type StatisticsSource interface {
	Statistics() Statistics
}

// Lifecycle ends the node, as the first TERM does, and returns before it has ended.
type Lifecycle interface {
	Shutdown(reason string)
}

// Custom runs the commands that the application registered itself (celery.worker.control control_command and
// inspect_command). They go before ours of the same name, as they do in Celery.
type Custom interface {
	Has(method string) bool
	// Call returns the command's value. A [Refused] error is shown to the client as it stands: the repr of the exception.
	Call(ctx context.Context, method string, args Arguments) (json.RawMessage, error)
}

// Serializers reads and writes messages that are not JSON. A client sends what its setting task_serializer says.
type Serializers interface {
	// Open returns a body as JSON. It refuses what the application does not accept.
	Open(ctx context.Context, contentType, encoding string, body []byte) (json.RawMessage, error)
	Seal(ctx context.Context, contentType string, value json.RawMessage) (encoding string, body []byte, err error)
}

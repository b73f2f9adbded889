package control

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
)

// EventOptions say which events are sent, and what they tell of the node. The zero value sends none until asked to.
type EventOptions struct {
	Enabled bool                           // -E, worker_send_task_events
	Every   time.Duration                  // heartbeats; 0: none
	Version string                         // of Celery, which is what tools expect
	Load    func() (active, processed int) // tasks that run, and that were begun since the start; nil: 0
}

// Events sends the node's events, `worker-…` and `task-…`, for whoever listens (celery/events/dispatcher.py, protocol notes F).
// While they are off nothing is sent, heartbeats included, which Celery would send all the same. Any goroutine may
// use it; no method waits for Redis. The methods for task events are for tasks whose option send_events is true.
type Events struct {
	options EventOptions
	names   Names
	link    *link
	clock   *Clock
	log     hclog.Logger
	encoder eventEncoder
	on      atomic.Bool  // task events, and with them heartbeats
	asked   atomic.Bool  // by the settings; then remote control cannot disable them
	every   atomic.Int64 // nanoseconds between heartbeats
	left    atomic.Bool  // the node takes no more tasks
	changed chan struct{}
	online  bool // heartbeats are sent; of begin and run alone

	mu      sync.Mutex // guards what follows
	waiting []event
	bytes   int
	dropped int
}

// event is an encoded event. Task events travel in lists, the others each in a message of its own.
type event struct {
	routingKey string // empty: in a list
	body       []byte
}

func newEvents(node string, o EventOptions, names Names, k *link, c *Clock, log hclog.Logger) *Events {
	if o.Load == nil {
		o.Load = func() (int, int) { return 0, 0 }
	}
	e := &Events{
		options: o, names: names, link: k, clock: c, log: log, encoder: newEventEncoder(node),
		changed: make(chan struct{}, 1),
	}
	e.on.Store(o.Enabled)
	e.asked.Store(o.Enabled)
	e.every.Store(int64(o.Every))
	return e
}

// Configure takes over other settings, as in [EventOptions]. What remote control switched stays unless enabled has changed.
func (e *Events) Configure(enabled bool, every time.Duration) {
	if e.asked.Swap(enabled) != enabled {
		e.on.Store(enabled)
	}
	e.every.Store(int64(every))
	e.wake()
}

// On tells whether events are sent, for callers to whom it is work to make one.
func (e *Events) On() bool { return e.on.Load() }

// enable and disable switch as the remote commands do; they return false if nothing changed. Celery cannot disable what
// was enabled with -E, and says so.
func (e *Events) enable() bool { return e.set(true) }

func (e *Events) disable() bool { return !e.asked.Load() && e.set(false) }

func (e *Events) set(on bool) bool {
	if e.on.Swap(on) == on {
		return false
	}
	e.wake()
	return true
}

// Leave says that the node is going: no heartbeats any more. What becomes of its running tasks is still told, as Celery does
// when it stops warmly.
func (e *Events) Leave() {
	e.left.Store(true)
	e.wake()
}

func (e *Events) wake() {
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// TaskReceived says that the node has the task: it runs, waits for its turn, or was parked.
func (e *Events) TaskReceived(t *celery.Task) {
	if !e.On() {
		return
	}
	parent := &t.ParentID
	if t.ParentID == "" {
		parent = nil
	}
	root := &t.RootID
	if t.RootID == "" {
		root = nil
	}
	e.task("task-received", t.ID,
		field{"name", t.DisplayName()}, field{"args", t.ArgsRepr}, field{"kwargs", t.KwargsRepr},
		field{"root_id", root}, field{"parent_id", parent}, field{"retries", t.Retries},
		field{"eta", isoFormat(t.ETA)}, field{"expires", isoFormat(t.Expires)})
}

// TaskStarted says that an executor has the task.
func (e *Events) TaskStarted(id string) { e.task("task-started", id) }

// TaskSucceeded tells the repr of the return value and how long the task's body ran.
func (e *Events) TaskSucceeded(id, result string, runtime time.Duration) {
	e.task("task-succeeded", id, field{"result", result}, field{"runtime", runtime.Seconds()})
}

// TaskFailed tells the repr of the exception and the traceback, which may be empty.
func (e *Events) TaskFailed(id, exception, traceback string) {
	if traceback == "" { // the task never ran
		e.task("task-failed", id, field{"exception", exception})
		return
	}
	e.task("task-failed", id, field{"exception", exception}, field{"traceback", traceback})
}

// TaskRetried is TaskFailed for a task that will be tried again.
func (e *Events) TaskRetried(id, exception, traceback string) {
	e.task("task-retried", id, field{"exception", exception}, field{"traceback", traceback})
}

// TaskRevoked says that the task was not run because it was revoked or had expired, or, terminated, was killed with
// the signal.
func (e *Events) TaskRevoked(id string, terminated bool, signal int, expired bool) {
	var number *int
	if signal != 0 {
		number = &signal
	}
	e.task("task-revoked", id, field{"terminated", terminated}, field{"signum", number}, field{"expired", expired})
}

// TaskRejected says that the task rejected its message.
func (e *Events) TaskRejected(id string, requeue bool) {
	e.task("task-rejected", id, field{"requeue", requeue})
}

// Send sends an event of the application's own, such as "task-progress", in a message of its own. The fields must be
// encodable as JSON.
func (e *Events) Send(kind string, fields map[string]any) {
	if !e.On() {
		return
	}
	list := make([]field, 0, len(fields))
	for name, value := range fields {
		list = append(list, field{name, value})
	}
	e.single(kind, list...)
}

func (e *Events) task(kind, id string, fields ...field) {
	if !e.On() {
		return
	}
	e.add("", kind, append([]field{{"uuid", id}}, fields...))
}

func (e *Events) single(kind string, fields ...field) { e.add(routingKey(kind), kind, fields) }

// add encodes an event and puts it among the waiting ones. Clock and order agree: both are decided under mu.
func (e *Events) add(key, kind string, fields []field) {
	e.mu.Lock()
	body, err := e.encoder.encode(kind, time.Now(), e.clock.Forward(), fields)
	if err != nil {
		e.mu.Unlock()
		e.log.Warn("event not sent", "event", kind, "error", err)
		return
	}
	e.waiting = append(e.waiting, event{key, body})
	e.bytes += len(body)
	e.trim()
	first := len(e.waiting) == 1 || len(e.waiting) == eventBatch
	e.mu.Unlock()
	if first {
		e.wake()
	}
}

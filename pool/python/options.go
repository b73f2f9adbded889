package python

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
)

// The modes of [Options].
const (
	Fork  = "fork"  // children are forked from the zygote
	Spawn = "spawn" // each child is an interpreter that imports the application itself
)

// Options say what to run and how. Only Interpreter and Node are needed.
type Options struct {
	Interpreter string   // path, or a name on PATH
	App         string   // as `celery -A` takes it; empty: Celery's default application
	Dir         string   // working directory, first on the module path; empty: ours
	Env         []string // nil: ours
	Mode        string   // Fork or Spawn; empty: Fork
	Node        string   // name of the node: celery@host
	Loader      string   // as `celery --loader`
	Config      string   // as `celery --config`
	Include     []string // further modules to import, as -I
	Queues      []string // as -Q; empty: those of the application
	Exclude     []string // as -X
	Concurrency int      // what handlers of worker_init are told; decides nothing
	LogLevel    string   // of Celery's logging in the processes: DEBUG, INFO …; empty: INFO

	Conf     map[string]any // settings that override the application's
	Defaults map[string]any // settings for where the application says nothing

	// Store stores documents that must be seen before the task has ended: STARTED, a task's own states. It returns
	// when they are stored. Nil leaves every result to Celery's own backend code and its connections.
	Store func(ctx context.Context, results []celery.Result) error

	OOMScoreAdj int // how much rather than us the kernel kills children when memory runs out, 0 to 1000

	StartTimeout time.Duration // for importing the application, and for a child to become ready; 0: a minute
	CloseTimeout time.Duration // for a child to end by itself when it is told to; 0: 5 s
	HardGrace    time.Duration // for a task to end by itself at its hard limit; 0: 100 ms, as billiard has it
	Log          hclog.Logger  // nil: nothing is logged
	Printed      hclog.Logger  // for what the application writes itself, not by Celery's logging, and below LogLevel; nil: Log
}

func (o Options) withDefaults() Options {
	if o.Mode == "" {
		o.Mode = Fork
	}
	if o.LogLevel == "" {
		o.LogLevel = "INFO"
	}
	if o.StartTimeout <= 0 {
		o.StartTimeout = time.Minute
	}
	if o.CloseTimeout <= 0 {
		o.CloseTimeout = 5 * time.Second
	}
	if o.HardGrace <= 0 {
		o.HardGrace = 100 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Printed == nil {
		o.Printed = o.Log
	}
	return o
}

// payload is what py/boot.py finds as its options.
func (o Options) payload(mode string, slot int) map[string]any {
	conf := o.Conf
	if conf == nil {
		conf = map[string]any{}
	}
	return map[string]any{
		"mode": mode, "slot": slot, "app": o.App, "node": o.Node, "loader": o.Loader, "config": o.Config,
		"include": o.Include, "queues": o.Queues, "exclude": o.Exclude, "concurrency": o.Concurrency,
		"log_level": o.LogLevel, "conf": conf, "defaults": o.Defaults, "capture": o.Store != nil,
	}
}

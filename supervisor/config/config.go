package config

import "time"

// Config is the tree of all settings. Its values are complete: what nobody set has its default. The tags are the schema that
// loading, checking, [Diff] and [Effective.Settings] work by:
//
//	toml     name in the file; `*` takes the tables that no other field of its table names
//	default  as it would be written in the file; without it the zero value
//	effect   what a change needs, see [Effect]; inherited by the fields below
//	env      environment variables that set it, the first that is not empty counts
//	oneof    the allowed words
//	range    least and greatest value, either may be empty
//	secret   "url": shown without its password; "all": not shown
type Config struct {
	Node        string      `toml:"node" default:"celery@%h" effect:"restart" env:"CELERY_WORKER_HOSTNAME"`
	Broker      Broker      `toml:"broker"`
	Lease       Lease       `toml:"lease" effect:"restart"`
	Results     Results     `toml:"results"`
	Python      Python      `toml:"python" effect:"generation"`
	Pool        Pool        `toml:"pool" effect:"live"`
	Scaling     Scaling     `toml:"scaling" effect:"live"`
	Tasks       Tasks       `toml:"tasks"`
	Drain       Drain       `toml:"drain" effect:"live"`
	DeadLetters DeadLetters `toml:"dead_letters" effect:"live"`
	Control     Control     `toml:"control"`
	Events      Events      `toml:"events" effect:"live"`
	Admin       Admin       `toml:"admin"`
	Log         Log         `toml:"log"`
	Commands    []Command   `toml:"command" effect:"live"`
}

// Broker says where the messages are and how to wait for them.
type Broker struct {
	URL               string        `toml:"url" default:"redis://localhost:6379/0" effect:"restart" secret:"url" env:"CELERY_BROKER_URL,BROKER_URL"`
	EmbeddedListen    string        `toml:"embedded_listen" default:"127.0.0.1:6380" effect:"restart"` // used with URL "embedded" only
	Consume           bool          `toml:"consume" default:"true" effect:"live" env:"USE_CELERY"`
	Queues            []string      `toml:"queues" default:"celery" effect:"live" env:"CELERY_WORKER_QUEUES"`
	Exclude           []string      `toml:"exclude" effect:"live" env:"CELERY_WORKER_EXCLUDE_QUEUES"`
	QueueOrder        string        `toml:"queue_order" default:"round_robin" oneof:"round_robin|priority|sorted" effect:"restart"`
	KeyPrefix         string        `toml:"key_prefix" effect:"restart"` // kombu: global_keyprefix
	Separator         string        `toml:"separator" default:"\x06\x16" effect:"restart"`
	PrioritySteps     []int         `toml:"priority_steps" default:"0,3,6,9" range:"0,255" effect:"restart"`
	VisibilityTimeout time.Duration `toml:"visibility_timeout" default:"1h" range:"1s," effect:"restart"` // of what stock workers left in unacked
	MaxBlocked        int           `toml:"max_blocked" default:"8" range:"1,1000" effect:"restart"`
	BlockTimeout      time.Duration `toml:"block_timeout" default:"4m50s" range:"1s,1h" effect:"restart"`
	RestInterval      time.Duration `toml:"rest_interval" default:"5s" range:"100ms,10m" effect:"restart"` // between looks at keys beyond MaxBlocked
	ConnectTimeout    time.Duration `toml:"connect_timeout" default:"10s" range:"100ms,5m" effect:"restart"`
	SocketTimeout     time.Duration `toml:"socket_timeout" default:"30s" range:"100ms,5m" effect:"restart"`
	StallTimeout      time.Duration `toml:"stall_timeout" default:"1m" range:"10s,1h" effect:"live"`
	MaxConnections    int           `toml:"max_connections" range:"0,100000" effect:"live"` // 0: no budget
	Metered           bool          `toml:"metered" effect:"restart"`
}

// Lease is the cadence of what keeps claims and finds those of the dead. Leases are renewed at a third of their time.
type Lease struct {
	TTL           time.Duration `toml:"ttl" default:"30s" range:"3s,10m"`                   // while claims are held
	IdleTTL       time.Duration `toml:"idle_ttl" default:"15m" range:"3s,24h"`              // while only waiting
	Look          time.Duration `toml:"look_every" default:"5m" range:"1s,24h"`             // for the dead, due tasks of others, and what stock Celery left
	LookWithPeers time.Duration `toml:"look_every_with_peers" default:"30s" range:"1s,24h"` // for the dead only
	Quarantine    time.Duration `toml:"quarantine" default:"2m" range:"1s,1h"`              // a command of a cut connection may still take effect
}

// Results says where results go.
type Results struct {
	URL     string        `toml:"url" effect:"restart" secret:"url" env:"CELERY_RESULT_BACKEND,RESULT_BACKEND"` // empty: results are not stored
	Expires time.Duration `toml:"expires" default:"24h" effect:"generation"`                                    // 0: never
}

// Python says how the application is started. Without App no Python is started.
type Python struct {
	App          string            `toml:"app" env:"CELERY_APP"`
	Interpreter  string            `toml:"interpreter"`           // empty: see Interpreter
	Directory    string            `toml:"directory" default:"."` // of the application, first on its sys.path
	Include      []string          `toml:"include"`               // further modules to import
	Start        string            `toml:"start" default:"fork" oneof:"fork|spawn" env:"CELERY_WORKER_POOL_START_METHOD"`
	StartTimeout time.Duration     `toml:"start_timeout" default:"2m" range:"1s,1h" effect:"live"`
	SleepAfter   time.Duration     `toml:"sleep_after" effect:"live"` // 0: the zygote never sleeps
	Environment  map[string]string `toml:"environment" secret:"all"`
}

// Pool bounds the number of executors and the life of each.
type Pool struct {
	Concurrency       int           `toml:"concurrency" default:"4" range:"1,10000" env:"CELERY_WORKER_CONCURRENCY"`
	MaxStarting       int           `toml:"max_starting" range:"0,1000"` // 0: as many as there are CPUs
	MaxTasksPerChild  int           `toml:"max_tasks_per_child" range:"0," env:"CELERY_WORKER_MAX_TASKS_PER_CHILD"`
	MaxMemoryPerChild Size          `toml:"max_memory_per_child" env:"CELERY_WORKER_MAX_MEMORY_PER_CHILD"`
	MaxAgePerChild    time.Duration `toml:"max_age_per_child"`
	OOMScoreAdj       int           `toml:"oom_score_adj" default:"500" range:"0,1000"`
}

// Scaling says how the number of executors follows the work, up to Pool.Concurrency.
type Scaling struct {
	Min         int                     `toml:"min" default:"1" range:"0,10000"`
	SLO         time.Duration           `toml:"slo" default:"0" range:"0,24h"` // how long a task may wait; 0: not at all
	Window      time.Duration           `toml:"window" range:"0,24h"`          // 0: follows from how long a start takes
	ZeroAfter   time.Duration           `toml:"zero_after" default:"5m" `      // counts only with Min 0; 0: never
	MemoryLimit Size                    `toml:"memory_limit"`                  // of everything; 0: what cgroup and machine allow
	Fleet       bool                    `toml:"fleet" default:"true"`
	Queues      map[string]QueueScaling `toml:"queues"`
}

// QueueScaling is the share of one queue.
type QueueScaling struct {
	Min    int `toml:"min" range:"0,10000"`
	Weight int `toml:"weight" default:"1" range:"1,1000"`
}

// Tasks are the settings of tasks that have none of their own; as with Celery what a task declares itself is stronger,
// and what its table in Named says is stronger still. Limits of 0 mean none.
type Tasks struct {
	AcksLate               bool                   `toml:"acks_late" effect:"generation"`
	AcksOnFailureOrTimeout bool                   `toml:"acks_on_failure_or_timeout" default:"true" effect:"generation"`
	RejectOnWorkerLost     bool                   `toml:"reject_on_worker_lost" effect:"generation"`
	TimeLimit              time.Duration          `toml:"time_limit" effect:"live" env:"CELERY_WORKER_TIME_LIMIT"`
	SoftTimeLimit          time.Duration          `toml:"soft_time_limit" effect:"live" env:"CELERY_WORKER_SOFT_TIME_LIMIT"`
	RateLimit              RateLimit              `toml:"rate_limit" effect:"live"`
	MaxDeliveries          int                    `toml:"max_deliveries" default:"5" range:"1,1000000" effect:"live"`
	AcceptContent          []string               `toml:"accept_content" default:"json" oneof:"json|msgpack|yaml" effect:"generation"` // of Go handlers and commands
	Named                  map[string]TaskOptions `toml:"*" effect:"live"`
}

// TaskOptions overrides settings for the task of one name; nil leaves them as they are.
type TaskOptions struct {
	AcksLate               *bool          `toml:"acks_late"`
	AcksOnFailureOrTimeout *bool          `toml:"acks_on_failure_or_timeout"`
	RejectOnWorkerLost     *bool          `toml:"reject_on_worker_lost"`
	TimeLimit              *time.Duration `toml:"time_limit"`
	SoftTimeLimit          *time.Duration `toml:"soft_time_limit"`
	RateLimit              *RateLimit     `toml:"rate_limit"`
	MaxDeliveries          *int           `toml:"max_deliveries" range:"1,1000000"`
}

// Drain is the end of the process: what still runs at Timeout less Margin is put back and killed, see [Drain.Budget].
type Drain struct {
	Timeout time.Duration `toml:"timeout" default:"25s"`
	Margin  time.Duration `toml:"margin" default:"3s"`
}

// DeadLetters bounds what is kept of tasks that were given up.
type DeadLetters struct {
	Max    int           `toml:"max" default:"10000" range:"1,10000000"`
	MaxAge time.Duration `toml:"max_age" default:"30d" range:"1s,"`
}

// Control is the remote control of `celery inspect` and `celery control`.
type Control struct {
	Enabled      bool          `toml:"enabled" default:"true" effect:"restart"`
	Keepalive    time.Duration `toml:"keepalive" default:"10m" range:"10s,24h" effect:"restart"` // of the subscription
	RevokesMax   int           `toml:"revokes_max" default:"50000" range:"1,10000000" effect:"live" env:"CELERY_WORKER_REVOKES_MAX"`
	RevokeExpire time.Duration `toml:"revoke_expires" default:"7d" range:"1s," effect:"live" env:"CELERY_WORKER_REVOKE_EXPIRES"`
}

// Events are Celery's, for Flower and exporters.
type Events struct {
	Enabled   bool          `toml:"enabled"`
	Heartbeat time.Duration `toml:"heartbeat" default:"2s" range:"0,1h"` // 0: none
}

// Admin is the HTTP server for health, metrics and status.
type Admin struct {
	Listen string `toml:"listen" default:"127.0.0.1:8080" effect:"restart"` // empty: none
	Token  string `toml:"token" effect:"live" secret:"all"`                 // empty: read only
}

// Log is what is written to stderr, or to File.
type Log struct {
	Level   string `toml:"level" default:"info" oneof:"trace|debug|info|warn|error|off" effect:"live" env:"CELERY_WORKER_LOGLEVEL"`
	Format  string `toml:"format" default:"text" oneof:"text|json" effect:"restart"`
	File    string `toml:"file" effect:"restart"` // empty: stderr
	Args    bool   `toml:"args" effect:"live"`
	Results bool   `toml:"results" effect:"live"`
}

// Command is a task that a program runs. The program is never started through a shell.
type Command struct {
	Task          string            `toml:"task"`
	Run           []string          `toml:"run"`
	Input         string            `toml:"input" default:"json" oneof:"json|none"`
	Result        string            `toml:"result" default:"json" oneof:"json|text|none"`
	Directory     string            `toml:"directory"`
	Environment   map[string]string `toml:"environment" secret:"all"`
	MaxOutput     Size              `toml:"max_output" default:"1MiB" range:"1B,512MiB"`
	RetryOn       []int             `toml:"retry_on" range:"1,255"`
	RetryAfter    time.Duration     `toml:"retry_after" default:"3m"`
	MaxRetries    int               `toml:"max_retries" default:"3"` // negative: without end
	IgnoreResult  bool              `toml:"ignore_result"`
	AcksLate      *bool             `toml:"acks_late"`
	TimeLimit     *time.Duration    `toml:"time_limit"`
	SoftTimeLimit *time.Duration    `toml:"soft_time_limit"`
	RateLimit     *RateLimit        `toml:"rate_limit"`
}

// RateLimit is how often a task may begin. It is written "10/m", or { limit = "10/m", global = true }.
type RateLimit struct {
	Limit  string // as Celery writes it: a number, with /s, /m or /h; empty or "0" means none
	Global bool   // for all nodes together, else for each node
}

// Budget is how long running tasks have from the beginning of a drain until they are put back: the timeout less the margin,
// which is never more than a quarter of the timeout unless somebody asked for it (then Load checked it).
func (d Drain) Budget() time.Duration { return max(0, d.Timeout-d.Margin) }

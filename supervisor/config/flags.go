package config

import (
	"reflect"
	"runtime"
	"strconv"
	"strings"
)

// Flags are the options of `agensium worker` that say something about settings: those of `celery worker`, in its units. Zero
// and nil are what was not given. Whoever reads the command line fills it; Load checks and applies it.
type Flags struct {
	App           string   `key:"python.app" flag:"--app"`
	Broker        string   `key:"broker.url" flag:"--broker"`
	ResultBackend string   `key:"results.url" flag:"--result-backend"`
	Workdir       string   `key:"python.directory" flag:"--workdir"`
	Include       []string `key:"python.include" flag:"--include"`
	Hostname      string   `key:"node" flag:"--hostname"`
	Queues        []string `key:"broker.queues" flag:"--queues"`
	ExcludeQueues []string `key:"broker.exclude" flag:"--exclude-queues"`
	LogLevel      string   `key:"log.level" flag:"--loglevel"`
	LogFile       string   `key:"log.file" flag:"--logfile"`
	LogFormat     string   `key:"log.format" flag:"--log-format"`

	Concurrency       string   `key:"pool.concurrency" flag:"--concurrency"` // a number or "auto"
	Autoscale         string   `flag:"--autoscale"`                          // "max,min" or "max"
	PoolStartMethod   string   `key:"python.start" flag:"--pool-start-method"`
	MaxTasksPerChild  *int     `key:"pool.max_tasks_per_child" flag:"--max-tasks-per-child"`
	MaxMemoryPerChild *int     `key:"pool.max_memory_per_child" flag:"--max-memory-per-child"` // KiB
	TimeLimit         *float64 `key:"tasks.time_limit" flag:"--time-limit"`                    // seconds
	SoftTimeLimit     *float64 `key:"tasks.soft_time_limit" flag:"--soft-time-limit"`          // seconds
	TaskEvents        *bool    `key:"events.enabled" flag:"--task-events"`
	HeartbeatInterval *float64 `key:"events.heartbeat" flag:"--heartbeat-interval"` // seconds
	WithoutHeartbeat  bool     `flag:"--without-heartbeat"`
	Loader            string   `flag:"--loader"`
	SkipChecks        bool     `flag:"--skip-checks"`

	Pool               string `flag:"--pool"`
	PrefetchMultiplier *int   `flag:"--prefetch-multiplier"`
	DisablePrefetch    bool   `flag:"--disable-prefetch"`
	Optimization       string `flag:"--optimization"`
	WithoutGossip      bool   `flag:"--without-gossip"`
	WithoutMingle      bool   `flag:"--without-mingle"`
	StateDB            string `flag:"--statedb"`
	PidFile            string `flag:"--pidfile"`
	Executable         string `flag:"--executable"`

	Beat      bool     `flag:"--beat"`
	Schedule  string   `flag:"--schedule-filename"`
	Scheduler string   `flag:"--scheduler"`
	Detach    bool     `flag:"--detach"`
	Purge     bool     `flag:"--purge"`
	UID       string   `flag:"--uid"`
	GID       string   `flag:"--gid"`
	Umask     string   `flag:"--umask"`
	Settings  []string `flag:"--"` // the words after a lone --, such as worker.prefetch_multiplier=1
}

// What options are accepted for, although they do nothing here.
var meaningless = map[string]string{
	"--prefetch-multiplier": "a message is taken only when a slot is free for it",
	"--disable-prefetch":    "nothing is ever prefetched",
	"--without-gossip":      "there is no gossip",
	"--without-mingle":      "there is no mingle",
	"--statedb":             "revoked tasks are kept in Redis",
	"--pidfile":             "no file is written; systemd and containers know the process",
	"--executable":          "it says who runs a detached worker; the setting python.interpreter says which Python is used",
}

// Why options are refused, and what to do instead.
var refused = map[string][2]string{
	"--beat":              {"there is no scheduler in this process", "run `celery beat` beside it"},
	"--schedule-filename": {"there is no scheduler in this process", "run `celery beat` beside it"},
	"--scheduler":         {"there is no scheduler in this process", "run `celery beat` beside it"},
	"--detach":            {"the process stays in the foreground", "let systemd or a container run it"},
	"--purge":             {"waiting tasks are never thrown away at a start", "use `celery purge`"},
	"--uid":               {"the user is not changed", "set User= in the unit, or USER in the image"},
	"--gid":               {"the group is not changed", "set Group= in the unit, or USER in the image"},
	"--umask":             {"the umask is not changed", "set UMask= in the unit"},
	"--":                  {"Celery's settings are not taken from the command line", "set them in the application, or what agensium.toml knows of them there"},
}

const commandLine = "command line"

// flags applies the command line, with its checks and conflicts.
func (b *builder) flags(f *Flags) {
	if f == nil {
		return
	}
	targets, metas := map[string]reflect.Value{}, map[string]meta{}
	walk(reflect.ValueOf(b.cfg).Elem(), nil, meta{}, func(path []string, v reflect.Value, m meta) {
		targets[key(path...)], metas[key(path...)] = v, m
	})
	v := reflect.ValueOf(*f)
	for i := range v.NumField() {
		flag, name := v.Type().Field(i).Tag.Get("flag"), v.Type().Field(i).Tag.Get("key")
		switch x := v.Field(i); {
		case x.IsZero() || x.Kind() == reflect.Slice && x.Len() == 0:
		case meaningless[flag] != "":
			b.note("", flag+" does nothing: "+meaningless[flag])
		case refused[flag] != [2]string{}:
			b.flagProblem(flag, "is not supported: "+refused[flag][0], refused[flag][1])
		case name != "":
			value := plain(reflect.Indirect(x))
			if n, ok := value.(int64); ok && targets[name].Type() == typeSize && n >= 0 {
				value = Size(n << 10).String()
			}
			if value == "auto" && name == "pool.concurrency" {
				value = int64(runtime.GOMAXPROCS(0)) // knows of affinity and of the cgroup's quota
			}
			if err := assign(targets[name], metas[name], value); err != nil {
				b.flagProblem(flag, "is "+quote(value, metas[name])+": "+err.Error(), "")
				continue
			}
			b.set(name, Origin{Kind: FromFlag, Name: flag})
		}
	}
	b.flagPool(f)
	b.flagAutoscale(f)
	b.flagRest(f)
}

func (b *builder) flagPool(f *Flags) {
	switch strings.ToLower(f.Pool) {
	case "", "prefork", "processes":
	default:
		b.flagProblem("--pool", "is "+strconv.Quote(f.Pool)+": only prefork is supported", "leave it out; each task runs in a process of its own")
	}
	switch f.Optimization {
	case "", "default", "fair":
	default:
		b.flagProblem("--optimization", "is "+strconv.Quote(f.Optimization)+": allowed is default or fair", "")
	}
}

// flagAutoscale takes max,min as Celery does: in any order, one number alone is the maximum.
func (b *builder) flagAutoscale(f *Flags) {
	if f.Autoscale == "" {
		return
	}
	high, low, two := strings.Cut(f.Autoscale, ",")
	most, err := strconv.Atoi(strings.TrimSpace(high))
	least, err2 := 0, error(nil)
	if two {
		least, err2 = strconv.Atoi(strings.TrimSpace(low))
	}
	most, least = max(most, least), min(most, least)
	if err != nil || err2 != nil || least < 0 || most < 1 || most > 10000 {
		b.flagProblem("--autoscale", "is "+strconv.Quote(f.Autoscale)+": allowed is max,min, such as 10,1", "")
		return
	}
	if f.Concurrency != "" && b.cfg.Pool.Concurrency != most {
		b.note("pool.concurrency", "--concurrency does not count: --autoscale gives the bounds, as with Celery")
	}
	b.cfg.Pool.Concurrency, b.cfg.Scaling.Min, b.cfg.Scaling.SLO = most, least, 0 // Celery's rule: a slot for each task that waits
	b.set("pool.concurrency", Origin{Kind: FromFlag, Name: "--autoscale"})
	b.set("scaling.min", Origin{Kind: FromFlag, Name: "--autoscale"})
	b.set("scaling.slo", Origin{Kind: FromFlag, Name: "--autoscale"})
}

func (b *builder) flagRest(f *Flags) {
	if f.WithoutHeartbeat {
		if f.HeartbeatInterval != nil {
			b.flagProblem("--heartbeat-interval", "and --without-heartbeat contradict each other", "leave one of them out")
		}
		b.cfg.Events.Heartbeat = 0
		b.set("events.heartbeat", Origin{Kind: FromFlag, Name: "--without-heartbeat"})
	}
	variable := func(flag, name, value string) { // as Celery's own command line hands it on
		env := map[string]string{name: value}
		for n, v := range b.cfg.Python.Environment {
			if n != name {
				env[n] = v
			}
		}
		b.cfg.Python.Environment = env
		b.set(key("python", "environment", name), Origin{Kind: FromFlag, Name: flag})
	}
	if f.Loader != "" {
		variable("--loader", "CELERY_LOADER", f.Loader)
	}
	if f.SkipChecks {
		variable("--skip-checks", "CELERY_SKIP_CHECKS", "true")
	}
}

func (b *builder) flagProblem(flag, message, hint string) {
	b.problems = append(b.problems, Problem{File: commandLine, Key: flag, Message: message, Hint: hint})
}

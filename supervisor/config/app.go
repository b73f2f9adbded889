package config

import (
	"reflect"
	"strings"
)

// AppSettings is what the application's own Celery settings say, in Celery's units; nil is what they do not say, that is
// what stands at Celery's default. The names in JSON are Celery's, `key` is the setting here.
type AppSettings struct {
	BrokerURL              *string  `json:"broker_url" key:"broker.url"`
	ResultBackend          *string  `json:"result_backend" key:"results.url"`
	ResultExpires          *float64 `json:"result_expires" key:"results.expires"` // seconds; 0: never
	Queues                 []string `json:"task_queues" key:"broker.queues"`      // names; the default queue if it declares none
	QueueOrderStrategy     *string  `json:"queue_order_strategy" key:"broker.queue_order"`
	KeyPrefix              *string  `json:"global_keyprefix" key:"broker.key_prefix"`
	Separator              *string  `json:"sep" key:"broker.separator"`
	PrioritySteps          []int    `json:"priority_steps" key:"broker.priority_steps"`
	VisibilityTimeout      *float64 `json:"visibility_timeout" key:"broker.visibility_timeout"` // seconds
	SocketTimeout          *float64 `json:"socket_timeout" key:"broker.socket_timeout"`         // seconds
	SocketConnectTimeout   *float64 `json:"socket_connect_timeout" key:"broker.connect_timeout"`
	AcksLate               *bool    `json:"task_acks_late" key:"tasks.acks_late"`
	AcksOnFailureOrTimeout *bool    `json:"task_acks_on_failure_or_timeout" key:"tasks.acks_on_failure_or_timeout"`
	RejectOnWorkerLost     *bool    `json:"task_reject_on_worker_lost" key:"tasks.reject_on_worker_lost"`
	TimeLimit              *float64 `json:"task_time_limit" key:"tasks.time_limit"`           // seconds
	SoftTimeLimit          *float64 `json:"task_soft_time_limit" key:"tasks.soft_time_limit"` // seconds
	RateLimit              *string  `json:"task_default_rate_limit" key:"tasks.rate_limit"`
	Concurrency            *int     `json:"worker_concurrency" key:"pool.concurrency"`
	MaxTasksPerChild       *int     `json:"worker_max_tasks_per_child" key:"pool.max_tasks_per_child"`
	MaxMemoryPerChild      *int     `json:"worker_max_memory_per_child" key:"pool.max_memory_per_child"` // KiB
	PoolStartMethod        *string  `json:"worker_pool_start_method" key:"python.start"`
	SendTaskEvents         *bool    `json:"worker_send_task_events" key:"events.enabled"`
	EnableRemoteControl    *bool    `json:"worker_enable_remote_control" key:"control.enabled"`
	PrefetchMultiplier     *int     `json:"worker_prefetch_multiplier"` // has no meaning here: a claim is a slot
}

// app applies the application's settings. One that is not allowed here is left out, with a note.
func (b *builder) app(app AppSettings) {
	fields := reflect.ValueOf(app)
	targets := map[string]reflect.Value{}
	metas := map[string]meta{}
	walk(reflect.ValueOf(b.cfg).Elem(), nil, meta{}, func(path []string, v reflect.Value, m meta) {
		targets[key(path...)], metas[key(path...)] = v, m
	})
	for i := range fields.NumField() {
		f, tag := fields.Field(i), fields.Type().Field(i).Tag
		name := tag.Get("key")
		if name == "" || f.IsNil() {
			continue
		}
		x := plain(reflect.Indirect(f))
		if n, ok := x.(int64); ok && targets[name].Type() == typeSize {
			x = Size(n << 10).String()
		}
		if err := assign(targets[name], metas[name], x); err != nil {
			b.note(name, "the application's "+tag.Get("json")+" does not count: "+err.Error())
			continue
		}
		b.set(name, Origin{Kind: FromApp, Name: tag.Get("json")})
	}
	if n := app.PrefetchMultiplier; n != nil && *n != 1 {
		b.note("", "worker_prefetch_multiplier has no meaning: a message is taken only when a slot is free for it")
	}
}

// plain makes of a Go value what TOML would have given.
func plain(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case int:
		return int64(x)
	case []string:
		list := make([]any, len(x))
		for i, e := range x {
			list[i] = e
		}
		return list
	case []int:
		list := make([]any, len(x))
		for i, e := range x {
			list[i] = int64(e)
		}
		return list
	default:
		return x
	}
}

// celeryNames maps the names of Celery's settings to ours.
func celeryNames() map[string]string {
	names := map[string]string{"task_default_queue": "broker.queues"}
	for f := range reflect.TypeFor[AppSettings]().Fields() {
		names[f.Tag.Get("json")] = f.Tag.Get("key")
	}
	delete(names, "sep") // too short a word to know it by
	delete(names, "worker_prefetch_multiplier")
	return names
}

// Overrides are the Celery settings that agensium imposes on the application, by Celery's names, in Celery's units: those that
// the environment, a file, Redis or a flag set. What REDIS_URL gives is in fallback: it counts only where the application
// says nothing. The URL of an embedded broker is missing: whoever started it knows it.
func (e *Effective) Overrides() (set, fallback map[string]any) {
	set, fallback = map[string]any{}, map[string]any{}
	values := map[string]reflect.Value{}
	walk(reflect.ValueOf(e.Config).Elem(), nil, meta{}, func(path []string, v reflect.Value, _ meta) { values[key(path...)] = v })
	for f := range reflect.TypeFor[AppSettings]().Fields() {
		name := f.Tag.Get("key")
		switch o := e.Origins[name]; {
		case name == "" || strings.HasPrefix(name, "broker.") && name != "broker.url":
			// the transport's options, and the queues: the application keeps its own for what it sends
		case values[name].Interface() == Embedded:
			// only who started it knows its address
		case o.explicit():
			set[f.Tag.Get("json")] = celeryValue(values[name])
		case o.Kind == FromFallback:
			fallback[f.Tag.Get("json")] = celeryValue(values[name])
		}
	}
	return set, fallback
}

func celeryValue(v reflect.Value) any {
	switch v.Type() {
	case typeDuration:
		if v.Int() == 0 {
			return nil // no limit, no expiry
		}
		return float64(v.Int()) / 1e9
	case typeSize:
		if v.Int() == 0 {
			return nil
		}
		return (v.Int() + 1023) >> 10
	case typeRate:
		if s := v.FieldByName("Limit").String(); s != "" {
			return s
		}
		return nil
	}
	if v.Kind() == reflect.Int && v.Int() == 0 {
		return nil
	}
	return v.Interface()
}

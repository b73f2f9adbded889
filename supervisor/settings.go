package supervisor

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
)

// adopt makes what the files and the application say the settings of now.
func (s *Supervisor) adopt(loaded *config.Loaded, info python.Info) {
	s.current.Store(s.newSettings(s.resolve(loaded, info), info))
}

// resolve adds what the application says to what was read.
func (s *Supervisor) resolve(loaded *config.Loaded, info python.Info) *config.Effective {
	var says config.AppSettings
	if info.App != "" || !s.withoutPython(loaded.Config) {
		says = ownWords(appSettings(info), loaded)
	}
	return loaded.Resolve(says)
}

func (s *Supervisor) newSettings(effective *config.Effective, info python.Info) *settings {
	now := &settings{Effective: effective, info: info}
	now.tasks = make(map[string]celery.TaskOptions, len(info.Tasks))
	for name, task := range info.Tasks {
		now.tasks[name] = override(effective.Config.Tasks, name, task.TaskOptions)
	}
	s.goOptions(now)
	return now
}

// ownWords leaves out what the application has from us: what REDIS_URL gave it stands in its settings, too.
func ownWords(a config.AppSettings, loaded *config.Loaded) config.AppSettings {
	_, given := loaded.Overrides()
	if a.BrokerURL != nil && *a.BrokerURL == given["broker_url"] {
		a.BrokerURL = nil
	}
	if a.ResultBackend != nil && *a.ResultBackend == given["result_backend"] {
		a.ResultBackend = nil
	}
	return a
}

// override applies what a table [tasks."name"] says to the options that the task brings.
func override(c config.Tasks, name string, o celery.TaskOptions) celery.TaskOptions {
	t, ok := c.Named[name]
	if !ok {
		return o
	}
	put(&o.AcksLate, t.AcksLate)
	if t.AcksOnFailureOrTimeout != nil {
		o.AcksOnFailureOrTimeout, o.AcksOnTimeout = *t.AcksOnFailureOrTimeout, nil
	}
	put(&o.RejectOnWorkerLost, t.RejectOnWorkerLost)
	put(&o.TimeLimit, t.TimeLimit)
	put(&o.SoftTimeLimit, t.SoftTimeLimit)
	return o
}

func put[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// known returns the options of a task by its name.
func (n *settings) known(name string) (celery.TaskOptions, bool) {
	o, ok := n.tasks[name]
	if !ok {
		t := n.Config.Tasks
		o = celery.TaskOptions{AcksLate: t.AcksLate, AcksOnFailureOrTimeout: t.AcksOnFailureOrTimeout, RejectOnWorkerLost: t.RejectOnWorkerLost}
	}
	return o, ok
}

// rules returns what decides about a task's deliveries.
func (n *settings) rules(task string) rules {
	r := rules{maxDeliveries: n.Config.Tasks.MaxDeliveries}
	put(&r.maxDeliveries, n.Config.Tasks.Named[task].MaxDeliveries)
	return r
}

// limits returns a task's time limits: the message's, else those of its options, else those of the node (protocol notes D.7).
func (n *settings) limits(t *celery.Task, o celery.TaskOptions) (soft, hard time.Duration) {
	soft = first(t.SoftTimeLimit, o.SoftTimeLimit, n.Config.Tasks.SoftTimeLimit)
	hard = first(t.TimeLimit, o.TimeLimit, n.Config.Tasks.TimeLimit)
	return soft, hard
}

func first(ds ...time.Duration) time.Duration {
	for _, d := range ds {
		if d > 0 {
			return d
		}
	}
	return 0
}

// appSettings picks what the application itself says, and leaves out what stands at Celery's defaults.
func appSettings(info python.Info) config.AppSettings {
	says := func(name string) bool { return slices.Contains(info.Changed, name) }
	conf, s := info.Conf, info.Settings
	a := config.AppSettings{
		Queues: slices.Sorted(maps.Keys(s.Queues)), KeyPrefix: textOf(s.BrokerTransport["global_keyprefix"]), Separator: textOf(s.BrokerTransport["sep"]),
		PrioritySteps: ints(s.BrokerTransport["priority_steps"]), QueueOrderStrategy: textOf(s.BrokerTransport["queue_order_strategy"]),
		VisibilityTimeout: number(s.BrokerTransport["visibility_timeout"]), SocketTimeout: number(s.BrokerTransport["socket_timeout"]),
		SocketConnectTimeout: number(s.BrokerTransport["socket_connect_timeout"]),
	}
	if s.BrokerURL != "" && says("broker_url") {
		a.BrokerURL = &s.BrokerURL
	}
	if s.ResultBackend != "" {
		a.ResultBackend = &s.ResultBackend
	}
	a.ResultExpires = &s.ResultExpires
	for name, to := range map[string]**bool{
		"task_acks_late": &a.AcksLate, "task_acks_on_failure_or_timeout": &a.AcksOnFailureOrTimeout,
		"task_reject_on_worker_lost": &a.RejectOnWorkerLost, "worker_send_task_events": &a.SendTaskEvents,
		"worker_enable_remote_control": &a.EnableRemoteControl,
	} {
		if b, ok := conf[name].(bool); ok && says(name) {
			*to = &b
		}
	}
	for name, to := range map[string]**float64{"task_time_limit": &a.TimeLimit, "task_soft_time_limit": &a.SoftTimeLimit} {
		if says(name) {
			*to = number(conf[name])
		}
	}
	for name, to := range map[string]**int{
		"worker_concurrency": &a.Concurrency, "worker_max_tasks_per_child": &a.MaxTasksPerChild,
		"worker_max_memory_per_child": &a.MaxMemoryPerChild, "worker_prefetch_multiplier": &a.PrefetchMultiplier,
	} {
		if f := number(conf[name]); f != nil && says(name) {
			n := int(*f)
			*to = &n
		}
	}
	if says("task_default_rate_limit") {
		a.RateLimit = textOf(conf["task_default_rate_limit"])
	}
	return a
}

func number(v any) *float64 {
	if f, ok := v.(float64); ok {
		return &f
	}
	return nil
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func textOf(v any) *string {
	if s, ok := v.(string); ok && s != "" {
		return &s
	}
	return nil
}

func ints(v any) []int {
	list, _ := v.([]any)
	var all []int
	for _, e := range list {
		if f := number(e); f != nil {
			all = append(all, int(*f))
		}
	}
	return all
}

// targets returns where broker and results are. Results that are not on Redis are stored by Celery's own code in the children.
func (s *Supervisor) targets(now *settings) (messages, results *redisconn.Target, err error) {
	url, backend := now.Config.Broker.URL, now.Config.Results.URL
	if s.embedded != nil {
		url, backend = s.embedded.url, s.embedded.url
	}
	st := now.info.Settings
	if messages, err = redisconn.Parse(url, withSSL(st.BrokerTransport, st.BrokerSSL)); err != nil {
		return nil, nil, fmt.Errorf("broker: %w", err)
	}
	if !now.info.Captures && !s.recordsInGo(now.Config) {
		return messages, messages, nil
	}
	if results, err = redisconn.Parse(backend, withSSL(st.ResultTransport, st.ResultSSL)); err != nil {
		return nil, nil, fmt.Errorf("results: %w", err)
	}
	return messages, results, nil
}

// checkURLs reads the URLs that the application is about to get, so that a bad one is named before Celery stumbles over it.
func checkURLs(set map[string]any) error {
	for _, name := range []string{"broker_url", "result_backend"} {
		url := text(set[name])
		if !strings.HasPrefix(url, "redis://") && !strings.HasPrefix(url, "rediss://") {
			continue // others depend on settings of the application, or are Celery's to read
		}
		if _, err := redisconn.Parse(url, nil); err != nil {
			return &SetupError{Err: fmt.Errorf("%s: %w", name, err), Hint: hintURLs}
		}
	}
	return nil
}

func withSSL(transport map[string]any, ssl any) map[string]any {
	if ssl == nil || ssl == false {
		return transport
	}
	all := maps.Clone(transport)
	if all == nil {
		all = map[string]any{}
	}
	all["ssl"] = ssl
	return all
}

func redisClient(t *redisconn.Target, name string) func() *redis.Client {
	return func() *redis.Client { return t.Client(redisconn.ClientOptions{Name: name, PoolSize: 1}) }
}

// environment is ours, less what is meant for this process alone, with what .env and the configuration add for the application.
func environment(configured, dotenv map[string]string) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(ofSystemd, name)
	})
	for name, value := range dotenv {
		env = append(env, name+"="+value)
	}
	for name, value := range configured {
		env = append(env, name+"="+value)
	}
	return env
}

// celeryLevel names a level of ours as Python's logging does.
func celeryLevel(level string) string {
	switch strings.ToLower(level) {
	case "trace", "debug":
		return "DEBUG"
	case "warn":
		return "WARNING"
	case "error":
		return "ERROR"
	case "off":
		return "CRITICAL"
	}
	return "INFO"
}

package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

// TestSettings runs what an application may set up, once with `celery worker` and once with this program, and wants the same outcome.
func TestSettings(t *testing.T) {
	same := []string{"set *"}
	some := []string{"set success", "set failure", "set retry", "set own state", "set killed", "set chord"}
	media := map[string]any{"task_queues": map[string]any{"celery": map[string]any{"exchange": "celery", "routing_key": "celery"}, "videos": map[string]any{"exchange": "media", "routing_key": "media.video"},
		"logs": map[string]any{"exchange": "all", "exchange_type": "topic", "routing_key": "a-b.*.#"}}}
	for name, c := range map[string]struct {
		conf   map[string]any
		args   []string
		ours   []string // arguments of ours alone
		before []string // scenarios that are run before the worker starts
		run    []string // scenarios
		venv   string   // not the newest release
	}{
		"result_extended":            {conf: map[string]any{"result_extended": true, "task_track_started": true}, run: []string{"extended*", "set *"}},
		"result_extended, 5.2":       {conf: map[string]any{"result_extended": true}, run: []string{"extended*"}, venv: "celery-5.2"},
		"results as pickle":          {conf: map[string]any{"result_serializer": "pickle", "result_accept_content": []string{"json", "pickle"}}, run: some},
		"results as yaml":            {conf: map[string]any{"result_serializer": "yaml", "result_compression": "gzip"}, run: some},
		"results in a database":      {conf: map[string]any{"result_backend": "db+sqlite:///results.sqlite"}, run: same},
		"results by rpc":             {conf: map[string]any{"result_backend": "rpc://"}, run: []string{"set success", "set failure", "set retry", "set custom*", "set chain", "set killed"}},
		"results in files":           {conf: map[string]any{"result_backend": "file://results"}, run: []string{"set success", "set failure", "set retry", "set chain", "set killed", "set hard limit"}},
		"results nowhere":            {conf: map[string]any{"result_backend": "disabled://"}, run: []string{"without results"}},
		"no result_backend":          {conf: map[string]any{"result_backend": nil}, run: []string{"without results"}},
		"results beside messages":    {conf: map[string]any{"result_backend": "BROKER"}, run: some},
		"results on another server":  {conf: map[string]any{"result_backend": "OTHER"}, run: some},
		"a key prefix":               {conf: map[string]any{"broker_transport_options": map[string]any{"global_keyprefix": "shop:"}, "result_backend_transport_options": map[string]any{"global_keyprefix": "res:"}}, run: some},
		"other priority steps":       {conf: map[string]any{"broker_transport_options": map[string]any{"sep": ":", "priority_steps": []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}}}, args: []string{"-Q", "a,b", "-c", "1"}, before: []string{"send order"}, run: []string{"order"}},
		"priorities":                 {args: []string{"-Q", "a,b", "-c", "1"}, before: []string{"send order"}, run: []string{"order"}},
		"priorities, other strategy": {conf: map[string]any{"broker_transport_options": map[string]any{"queue_order_strategy": "priority"}}, args: []string{"-Q", "b,a", "-c", "1"}, before: []string{"send order"}, run: []string{"order"}},
		"-Q":                         {args: []string{"-Q", "a,c"}, run: []string{"queues"}},
		"-X":                         {conf: map[string]any{"task_queues": nil, "task_routes": map[string]any{}}, args: []string{"-Q", "a,b,c", "-X", "b"}, run: []string{"queues"}},
		"max_tasks_per_child":        {args: []string{"-c", "1", "--max-tasks-per-child", "3"}, run: []string{"children"}},
		"max_memory_per_child":       {args: []string{"-c", "1", "--max-memory-per-child", "130000"}, run: []string{"fat children"}},
		"late acknowledgement":       {conf: map[string]any{"task_acks_late": true, "task_reject_on_worker_lost": false}, run: some},
		"not acknowledged, late":     {run: []string{"not acknowledged", "hung, not acknowledged"}},
		"not acknowledged, all":      {conf: map[string]any{"task_acks_late": true, "task_acks_on_failure_or_timeout": false}, run: []string{"set success", "set failure", "set retry", "set request"}},
		"delivered again":            {conf: map[string]any{"task_acks_late": true}, args: []string{"-c", "1"}, run: []string{"delivered again"}},
		"without duplicates":         {conf: map[string]any{"task_acks_late": true, "worker_deduplicate_successful_tasks": true}, args: []string{"-c", "1"}, run: []string{"delivered again"}},
		"without duplicates, 5.2":    {venv: "celery-5.2", conf: map[string]any{"task_acks_late": true, "worker_deduplicate_successful_tasks": true}, args: []string{"-c", "1"}, run: []string{"delivered again"}},
		"rate limits off":            {conf: map[string]any{"worker_disable_rate_limits": true, "task_default_rate_limit": "1/h"}, run: []string{"rate limited", "set success", "set failure"}},
		"bindings":                   {conf: media, run: []string{"routed by exchange", "bound"}},
		"bindings, 5.2":              {conf: media, run: []string{"routed by exchange", "bound"}, venv: "celery-5.2"},
		"spawned children":           {ours: []string{"--pool-start-method", "spawn"}, run: []string{"set success", "set failure", "set retry", "set killed", "set hard limit", "set chord", "set request", "set own state"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			venv := c.venv
			if venv == "" {
				venv = "celery-latest"
			}
			outcome := func(start func(s *site) *celerytest.Process, end func(*celerytest.Process)) map[string]any {
				s := newSite(t, venv)
				conf := map[string]any{}
				for key, value := range c.conf {
					switch value {
					case "BROKER":
						value = s.redis.URL(0)
					case "OTHER":
						value = celerytest.StartRedis(t).URL(5)
					case "file://results":
						value = "file://" + t.TempDir()
					}
					conf[key] = value
				}
				s.conf(conf)
				if c.before != nil {
					s.client(c.before...)
				}
				p := start(s)
				defer end(p)
				return s.client(c.run...)
			}
			want := outcome(func(s *site) *celerytest.Process {
				return s.stock(slices.Concat([]string{"-n", "w@h", "-c", "3", "--prefetch-multiplier", "1"}, c.args)...)
			}, (*celerytest.Process).Kill)
			got := outcome(func(s *site) *celerytest.Process {
				return s.node(slices.Concat([]string{"-n", "w@h", "-c", "3"}, c.args, c.ours)...)
			}, func(p *celerytest.Process) { cleanEnd(t, p) })
			alike(t, want, got)
		})
	}
}

// TestSignalsOfTheWorker compares which signals a worker sends from its start to its end, and how often.
func TestSignalsOfTheWorker(t *testing.T) {
	t.Parallel()
	sent := func(start func(s *site) *celerytest.Process) []string {
		s := newSite(t, "celery-latest")
		p := start(s)
		s.client("set success")
		celerytest.Eventually(t, "both children to be prepared", func() bool {
			inits := slices.DeleteFunc(s.notes("signal"), func(name string) bool { return name != "worker_process_init" })
			return len(inits) == 2
		})
		p.Terminate()
		all := s.notes("signal")
		slices.Sort(all)
		return all
	}
	want := sent(func(s *site) *celerytest.Process { return s.stock("-c", "2") })
	got := sent(func(s *site) *celerytest.Process { return s.node("-c", "2") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("celery worker (-) and agensium (+) differ:\n%s", diff)
	}
}

// TestNoPasswordIsShown looks for passwords in all that is printed with URLs of every kind.
func TestNoPasswordIsShown(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	s.redis = celerytest.StartRedis(t, "--requirepass", "Geheim-5")
	url := "redis://:Geheim-5@" + s.redis.Addr()
	s.set("TEST_BROKER="+url+"/0", "TEST_BACKEND="+url+"/1")
	p := s.node("-l", "debug")
	s.client("set success", "set failure")
	cleanEnd(t, p)
	if strings.Contains(p.Output(), "Geheim-5") {
		t.Error("the password is shown")
	}
	for name, args := range map[string][]string{
		"unknown scheme": {"-b", "amqp://u:Geheim-5@h/"},
		"no number":      {"-b", "redis://u:Geheim-5@h:port/"},
		"bad database":   {"-b", "redis://u:Geheim-5@127.0.0.1:1/x/y"},
		"results":        {"--result-backend", "redis://u:Geheim-5@h:port/"},
	} {
		p := s.start(append([]string{"worker", "-A", "proj", "--config", filepath.Join(s.dir, "agensium.toml")}, args...)...)
		status := p.Wait()
		if status != exitUsage || strings.Contains(p.Output(), "Geheim") {
			t.Errorf("%s: status %d, printed %s", name, status, p.Output())
		}
	}
}

package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What a change of each setting needs. A new setting has to be added here, and to agensium.toml.
var effects = map[string]Effect{
	"node":                      Restart,
	"broker.url":                Restart,
	"broker.embedded_listen":    Restart,
	"broker.consume":            Live,
	"broker.queues":             Live,
	"broker.exclude":            Live,
	"broker.queue_order":        Restart,
	"broker.key_prefix":         Restart,
	"broker.separator":          Restart,
	"broker.priority_steps":     Restart,
	"broker.visibility_timeout": Restart,
	"broker.max_blocked":        Restart,
	"broker.block_timeout":      Restart,
	"broker.rest_interval":      Restart,
	"broker.connect_timeout":    Restart,
	"broker.socket_timeout":     Restart,
	"broker.stall_timeout":      Live,
	"broker.max_connections":    Live,
	"broker.metered":            Restart,

	"lease.ttl":                   Restart,
	"lease.idle_ttl":              Restart,
	"lease.look_every":            Restart,
	"lease.look_every_with_peers": Restart,
	"lease.quarantine":            Restart,

	"results.url":     Restart,
	"results.expires": Generation,

	"python.app":           Generation,
	"python.interpreter":   Generation,
	"python.directory":     Generation,
	"python.include":       Generation,
	"python.start":         Generation,
	"python.start_timeout": Live,
	"python.sleep_after":   Live,
	"python.environment.DJANGO_SETTINGS_MODULE": Generation,

	"pool.concurrency":          Live,
	"pool.max_starting":         Live,
	"pool.max_tasks_per_child":  Live,
	"pool.max_memory_per_child": Live,
	"pool.max_age_per_child":    Live,
	"pool.oom_score_adj":        Live,

	"scaling.min":                  Live,
	"scaling.slo":                  Live,
	"scaling.window":               Live,
	"scaling.zero_after":           Live,
	"scaling.memory_limit":         Live,
	"scaling.fleet":                Live,
	"scaling.queues.celery.min":    Live,
	"scaling.queues.celery.weight": Live,

	"tasks.acks_late":                             Generation,
	"tasks.acks_on_failure_or_timeout":            Generation,
	"tasks.reject_on_worker_lost":                 Generation,
	"tasks.time_limit":                            Live,
	"tasks.soft_time_limit":                       Live,
	"tasks.rate_limit":                            Live,
	"tasks.max_deliveries":                        Live,
	"tasks.accept_content":                        Generation,
	`tasks."shop.pay".acks_late`:                  Live,
	`tasks."shop.pay".acks_on_failure_or_timeout`: Live,
	`tasks."shop.pay".reject_on_worker_lost`:      Live,
	`tasks."shop.pay".time_limit`:                 Live,
	`tasks."shop.pay".soft_time_limit`:            Live,
	`tasks."shop.pay".rate_limit`:                 Live,
	`tasks."shop.pay".max_deliveries`:             Live,

	"drain.timeout":          Live,
	"drain.margin":           Live,
	"dead_letters.max":       Live,
	"dead_letters.max_age":   Live,
	"control.enabled":        Restart,
	"control.keepalive":      Restart,
	"control.revokes_max":    Live,
	"control.revoke_expires": Live,
	"events.enabled":         Live,
	"events.heartbeat":       Live,
	"admin.listen":           Restart,
	"admin.token":            Live,
	"log.level":              Live,
	"log.format":             Restart,
	"log.file":               Restart,
	"log.args":               Live,
	"log.results":            Live,

	`command."images.thumbnail".task`:                            Live,
	`command."images.thumbnail".run`:                             Live,
	`command."images.thumbnail".input`:                           Live,
	`command."images.thumbnail".result`:                          Live,
	`command."images.thumbnail".directory`:                       Live,
	`command."images.thumbnail".max_output`:                      Live,
	`command."images.thumbnail".retry_on`:                        Live,
	`command."images.thumbnail".retry_after`:                     Live,
	`command."images.thumbnail".max_retries`:                     Live,
	`command."images.thumbnail".ignore_result`:                   Live,
	`command."images.thumbnail".acks_late`:                       Live,
	`command."images.thumbnail".time_limit`:                      Live,
	`command."images.thumbnail".soft_time_limit`:                 Live,
	`command."images.thumbnail".rate_limit`:                      Live,
	`command."images.thumbnail".environment.MAGICK_THREAD_LIMIT`: Live,
}

// alter changes the value of one setting.
func alter(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Int, reflect.Int64:
		v.SetInt(v.Int() + 1)
	case reflect.Float64:
		v.SetFloat(v.Float() + 1)
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case reflect.Struct:
		v.Set(reflect.ValueOf(RateLimit{Limit: "7/s"}))
	}
}

// Each setting that is changed alone is the one change that is found, with its declared effect. Those in maps come and go.
func TestDiffOfEverySetting(t *testing.T) {
	before := full()
	seen := map[string]bool{}
	for i, name := range keysOf(before) {
		seen[name] = true
		after, n := full(), 0
		var inMap bool
		walk(reflect.ValueOf(after).Elem(), nil, meta{}, func(_ []string, v reflect.Value, _ meta) {
			if n == i {
				if inMap = !v.CanSet(); !inMap {
					alter(v)
				}
			}
			n++
		})
		if strings.HasSuffix(name, ".task") {
			continue // names the table; see below
		}
		switch { // what lies in a map is replaced as a whole
		case !inMap:
		case strings.HasPrefix(name, "python.environment"):
			after.Python.Environment["DJANGO_SETTINGS_MODULE"] = "other"
		case strings.HasPrefix(name, "command."):
			after.Commands[0].Environment["MAGICK_THREAD_LIMIT"] = "2"
		case name == "scaling.queues.celery.min":
			after.Scaling.Queues["celery"] = QueueScaling{Min: 1, Weight: 1}
		case name == "scaling.queues.celery.weight":
			after.Scaling.Queues["celery"] = QueueScaling{Weight: 2}
		}
		changes := Diff(before, after)
		if len(changes) != 1 || changes[0].Key != name || changes[0].Effect != effects[name] || effects[name] == "" {
			t.Errorf("%s changed: %+v, want effect %q", name, changes, effects[name])
		}
	}
	for name := range effects {
		if !seen[name] {
			t.Errorf("%s is no setting", name)
		}
	}
}

func TestDiffOfTables(t *testing.T) {
	a, b := Defaults(), Defaults()
	a.Tasks.Named = map[string]TaskOptions{"a.b": {TimeLimit: ptr(time.Minute)}}
	b.Tasks.Named = map[string]TaskOptions{"a.b": {SoftTimeLimit: ptr(time.Second), RateLimit: &RateLimit{"5/m", true}}}
	b.Python.Environment = map[string]string{"TOKEN": secret}
	b.Admin.Token = secret
	b.Broker.URL = "redis://:" + secret + "@h"
	b.Broker.Exclude = []string{} // none is none
	want := []Change{
		{"admin.token", `""`, `"***"`, Live},
		{"broker.url", `"redis://localhost:6379/0"`, `"redis://:***@h"`, Restart},
		{"python.environment.TOKEN", "", `"***"`, Generation},
		{`tasks."a.b".rate_limit`, "", `{ limit = "5/m", global = true }`, Live},
		{`tasks."a.b".soft_time_limit`, "", `"1s"`, Live},
		{`tasks."a.b".time_limit`, `"1m"`, "", Live},
	}
	if diff := cmp.Diff(want, Diff(a, b)); diff != "" {
		t.Error(diff)
	}
	c := Defaults()
	c.Broker.URL, c.Admin.Token = "redis://:other@h", "other"
	for _, change := range Diff(b, c) { // a password that changes is seen, and not shown
		if change.Key == "broker.url" && change.Old == change.New {
			return
		}
	}
	t.Error("a changed password was not seen")
}

// What config show prints for a setting is TOML that sets it to the same.
func TestSettingsAreTOML(t *testing.T) {
	c := full()
	c.Node, c.Broker.Exclude, c.Broker.KeyPrefix = "a\"b\\c\n\té\x01", []string{"x", "y z"}, "$"
	var text strings.Builder
	e := Effective{Config: c}
	for _, s := range e.Settings() {
		if strings.HasPrefix(s.Key, "command") || strings.Contains(s.Key, "environment") {
			continue // a list, and secrets
		}
		text.WriteString(s.Key + " = " + strings.ReplaceAll(s.Value, "$", "$$") + "\n")
	}
	l, err := loadText(t, text.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range Diff(c, l.Config) {
		if change.New != "" {
			t.Errorf("%+v", change)
		}
	}
}

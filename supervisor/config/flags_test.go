package config

import (
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestFlags(t *testing.T) {
	l := must(t, Input{Flags: &Flags{
		App: "proj.celery_app:app", Broker: "redis://f", Hostname: "w1@%h", Queues: []string{"a", "b"}, ExcludeQueues: []string{"b"}, LogLevel: "WARNING",
		Autoscale: "3,10", MaxTasksPerChild: ptr(100), MaxMemoryPerChild: ptr(200000), TimeLimit: ptr(2.5), SoftTimeLimit: ptr(1.0), TaskEvents: ptr(true),
		HeartbeatInterval: ptr(5.0), Loader: "my.loader", Include: []string{"m"}, PoolStartMethod: "spawn",
		Pool: "prefork", Optimization: "fair", PrefetchMultiplier: ptr(1), WithoutGossip: true, WithoutMingle: true, PidFile: "x",
	}})
	want := Defaults()
	want.Python.App, want.Python.Include, want.Python.Start = "proj.celery_app:app", []string{"m"}, "spawn"
	want.Python.Environment = map[string]string{"CELERY_LOADER": "my.loader"}
	want.Broker.URL, want.Node, want.Broker.Queues, want.Broker.Exclude = "redis://f", "w1@%h", []string{"a", "b"}, []string{"b"}
	want.Log.Level, want.Pool.Concurrency, want.Scaling.Min, want.Scaling.SLO = "warn", 10, 3, 0
	want.Pool.MaxTasksPerChild, want.Pool.MaxMemoryPerChild = 100, 200000<<10
	want.Tasks.TimeLimit, want.Tasks.SoftTimeLimit = 2500*time.Millisecond, time.Second
	want.Events = Events{Enabled: true, Heartbeat: 5 * time.Second}
	for _, c := range Diff(want, l.Config) {
		t.Errorf("%s = %s, want %s", c.Key, c.New, c.Old)
	}
	if o := l.Origins["scaling.min"]; o.String() != "--autoscale" {
		t.Errorf("origin %s", o)
	}
	if len(l.Notes) != 4 {
		t.Errorf("notes: %v", l.Notes)
	}
	if q := l.Config.Consumed(); len(q) != 1 || q[0] != "a" {
		t.Errorf("consumed: %v", q)
	}
	if l := must(t, Input{Flags: &Flags{Concurrency: "auto"}}); l.Config.Pool.Concurrency != runtime.GOMAXPROCS(0) {
		t.Errorf("auto is %d", l.Config.Pool.Concurrency)
	}
}

func TestBadFlags(t *testing.T) {
	for want, f := range map[string]Flags{
		`--concurrency: is "many": allowed is a whole number, from 1 to 10000`:              {Concurrency: "many"},
		`--concurrency: is "0": allowed`:                                                    {Concurrency: "0"},
		`--max-tasks-per-child: is -1: allowed is a whole number, at least 0`:               {MaxTasksPerChild: ptr(-1)},
		`--max-memory-per-child: is -1: no size`:                                            {MaxMemoryPerChild: ptr(-1)},
		`--time-limit: is -1: negative; allowed is a duration`:                              {TimeLimit: ptr(-1.0)},
		`--soft-time-limit: tasks.soft_time_limit is 1m, not less than the hard time_limit`: {TimeLimit: ptr(30.0), SoftTimeLimit: ptr(60.0)},
		`--autoscale: is "1,2,3": allowed is max,min`:                                       {Autoscale: "1,2,3"},
		`--autoscale: is "0": allowed`:                                                      {Autoscale: "0"},
		`--pool: is "gevent": only prefork is supported`:                                    {Pool: "gevent"},
		`--optimization: is "best": allowed is default or fair`:                             {Optimization: "best"},
		`--beat: is not supported: there is no scheduler in this process`:                   {Beat: true},
		`--purge: is not supported`:                                                         {Purge: true},
		`--uid: is not supported`:                                                           {UID: "nobody"},
		`--: is not supported`:                                                              {Settings: []string{"worker.prefetch_multiplier=1"}},
		`--heartbeat-interval: and --without-heartbeat contradict each other`:               {WithoutHeartbeat: true, HeartbeatInterval: ptr(1.0)},
		`--loglevel: is "LOUD": allowed is trace, debug`:                                    {LogLevel: "LOUD"},
		`--broker: broker.url "amqp://u:***@h" is no Redis`:                                 {Broker: "amqp://u:" + secret + "@h"},
		`--broker: broker.url "***@h:6379" is no Redis`:                                     {Broker: "u:" + secret + "@h:6379"},
		`--broker: broker.url "***@h" is no Redis`:                                          {Broker: "redis//u:" + secret + "@h"},
		`--app: python.app "proj tasks" is no Python name`:                                  {App: "proj tasks"},
		`--exclude-queues: broker.exclude leaves no queue to consume`:                       {Queues: []string{"a"}, ExcludeQueues: []string{"a"}},
	} {
		_, err := Load(Input{Dir: t.TempDir(), Env: nothing, Flags: &f})
		if err == nil || !strings.Contains(err.Error(), "command line: "+want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}

// Each flag has its name, and either sets something or is dealt with by name.
func TestEveryFlagIsKnown(t *testing.T) {
	keys := map[string]bool{}
	for _, k := range keysOf(full()) {
		keys[k] = true
	}
	for f := range reflect.TypeFor[Flags]().Fields() {
		flag, name := f.Tag.Get("flag"), f.Tag.Get("key")
		if !strings.HasPrefix(flag, "--") {
			t.Errorf("%s has no flag", f.Name)
		}
		if name != "" && !keys[name] {
			t.Errorf("%s sets %s, which is no setting", flag, name)
		}
		if handled := meaningless[flag] != "" || refused[flag][0] != ""; handled == (name != "") {
			switch flag {
			case "--autoscale", "--without-heartbeat", "--loader", "--skip-checks", "--pool", "--optimization": // have code of their own
			default:
				t.Errorf("nobody deals with %s, or two do", flag)
			}
		}
	}
	for f := range reflect.TypeFor[AppSettings]().Fields() {
		if name := f.Tag.Get("key"); name != "" && !keys[name] {
			t.Errorf("%s sets %s, which is no setting", f.Name, name)
		}
	}
}

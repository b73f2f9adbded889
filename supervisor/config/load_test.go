package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func env(vars map[string]string) Lookup {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

// dir is a new directory with these files.
func dir(t testing.TB, files map[string]string) string {
	t.Helper()
	d := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(d, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

const design = `
[broker]
url = "${CELERY_BROKER_URL:-${REDIS_URL:-redis://localhost:6379/0}}"   # "embedded" starts one in this process, for a first try
queues = ["celery"]
[results]
url = "${CELERY_RESULT_BACKEND:-${REDIS_URL:-redis://localhost:6379/0}}"
expires = "24h"
[python]
app = "examples.quickstart.tasks:app"
interpreter = "python3"
[pool]
concurrency = "${CELERY_WORKER_CONCURRENCY:-4}"
[scaling]
min = 1
slo = "30s"
[tasks]
acks_late = true
reject_on_worker_lost = true
time_limit = "30m"
soft_time_limit = "25m"
max_deliveries = 5
[drain]
timeout = "25s"
[admin]
listen = "127.0.0.1:${PORT:-8080}"
[log]
level = "info"
`

func ptr[T any](v T) *T { return &v }

// must loads what is expected to be right.
func must(t testing.TB, in Input) *Loaded {
	t.Helper()
	if in.Dir == "" {
		in.Dir = t.TempDir()
	}
	if in.Env == nil {
		in.Env = nothing
	}
	l, err := Load(in)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Each layer wins over those before it, and the origin says so.
func TestPrecedence(t *testing.T) {
	app := AppSettings{Concurrency: ptr(5), BrokerURL: ptr("redis://app"), AcksLate: ptr(true), MaxMemoryPerChild: ptr(200), Queues: []string{"app"}}
	vars := map[string]string{"CELERY_WORKER_CONCURRENCY": "6", "CELERY_BROKER_URL": "redis://env", "CELERY_WORKER_MAX_MEMORY_PER_CHILD": "300"}
	file := map[string]string{fileName: "\n[pool]\nconcurrency = 7\n[broker]\nurl = \"${CELERY_BROKER_URL:-x}/1\"\n"}
	stored := &Document{Version: 3, Text: []byte("[pool]\nconcurrency = 8\n")}
	flags := &Flags{Concurrency: "9"}
	type row struct{ key, value, origin string }
	for name, c := range map[string]struct {
		in   Input
		app  AppSettings
		want []row
	}{
		"defaults": {want: []row{{"pool.concurrency", "4", "default"}, {"broker.url", `"redis://localhost:6379/0"`, "default"}, {"results.url", `""`, "default"}}},
		"REDIS_URL": {in: Input{Env: env(map[string]string{"REDIS_URL": "redis://:p@r"})}, want: []row{
			{"broker.url", `"redis://:***@r"`, "REDIS_URL"}, {"results.url", `"redis://:***@r"`, "REDIS_URL"},
		}},
		"app over REDIS_URL": {in: Input{Env: env(map[string]string{"REDIS_URL": "redis://r"})}, app: app, want: []row{
			{"broker.url", `"redis://app"`, "app (broker_url)"}, {"results.url", `"redis://r"`, "REDIS_URL"}, {"broker.queues", `["app"]`, "app (task_queues)"},
			{"pool.max_memory_per_child", `"200KiB"`, "app (worker_max_memory_per_child)"}, {"tasks.acks_late", "true", "app (task_acks_late)"},
		}},
		"environment over app": {in: Input{Env: env(vars)}, app: app, want: []row{
			{"pool.concurrency", "6", "CELERY_WORKER_CONCURRENCY"}, {"broker.url", `"redis://env"`, "CELERY_BROKER_URL"},
			{"pool.max_memory_per_child", `"300KiB"`, "CELERY_WORKER_MAX_MEMORY_PER_CHILD"},
		}},
		"file over environment": {in: Input{Env: env(vars), Dir: dir(t, file)}, app: app, want: []row{
			{"pool.concurrency", "7", "agensium.toml:3"}, {"broker.url", `"redis://env/1"`, "agensium.toml:5 (CELERY_BROKER_URL)"},
		}},
		"Redis over file":       {in: Input{Dir: dir(t, file), Stored: stored, Env: env(vars)}, app: app, want: []row{{"pool.concurrency", "8", "redis version 3"}}},
		"flags over everything": {in: Input{Dir: dir(t, file), Stored: stored, Env: env(vars), Flags: flags}, app: app, want: []row{{"pool.concurrency", "9", "--concurrency"}}},
		"empty variables": {in: Input{Env: env(map[string]string{"CELERY_WORKER_CONCURRENCY": "", "REDIS_URL": " "})}, want: []row{
			{"pool.concurrency", "4", "default"}, {"broker.url", `"redis://localhost:6379/0"`, "default"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			settings := map[string]Setting{}
			for _, s := range must(t, c.in).Resolve(c.app).Settings() {
				settings[s.Key] = s
			}
			for _, want := range c.want {
				got := settings[want.key]
				if filepath.IsAbs(got.Origin.Name) {
					got.Origin.Name = filepath.Base(got.Origin.Name)
				}
				if got.Value != want.value || got.Origin.String() != want.origin {
					t.Errorf("%s = %s from %s, want %s from %s", want.key, got.Value, got.Origin, want.value, want.origin)
				}
			}
		})
	}
}

func TestWhichFile(t *testing.T) {
	here, other := dir(t, map[string]string{fileName: `node = "here"`}), dir(t, map[string]string{"x.toml": `node = "there"`})
	there := filepath.Join(other, "x.toml")
	named := env(map[string]string{"AGENSIUM_CONFIG": there})
	for name, c := range map[string]struct {
		in         Input
		node, path string
	}{
		"asked for":                    {Input{Path: there, Dir: here}, "there", there},
		"in the directory":             {Input{Dir: here}, "here", filepath.Join(here, fileName)},
		"directory before environment": {Input{Dir: here, Env: named}, "here", filepath.Join(here, fileName)},
		"environment":                  {Input{Env: named}, "there", there},
		"none":                         {Input{}, "celery@%h", ""},
	} {
		if l := must(t, c.in); l.Config.Node != c.node || l.Path != c.path {
			t.Errorf("%s: node %q from %q, want %q from %q", name, l.Config.Node, l.Path, c.node, c.path)
		}
	}
	for _, path := range []string{"gone.toml", other} {
		if _, err := Load(Input{Env: env(map[string]string{"AGENSIUM_CONFIG": path})}); err == nil {
			t.Errorf("AGENSIUM_CONFIG=%s was taken", path)
		}
	}
}

// The application reads the same .env by python-dotenv; what that finds for these is what stands here.
func TestDotenvMeansWhatPythonReadsInIt(t *testing.T) {
	l, err := Load(Input{Dir: dir(t, map[string]string{fileName: "", ".env": "A=pa$word\nB=\"pa$$word\"\nC='$pa$'\nD=${A}x$\nE=\"pa\\$w\"\n"}), Env: nothing})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"A": "pa$word", "B": "pa$$word", "C": "$pa$", "D": "pa$wordx$", "E": `pa\$w`}
	if diff := cmp.Diff(want, l.Vars); diff != "" {
		t.Error(diff)
	}
}

// .env stands beside the file, and the environment wins over it.
func TestDotenv(t *testing.T) {
	d := dir(t, map[string]string{
		"x.toml": "node = \"${A}-${B}-${C:-c}\"\n",
		".env":   "\ufeff# comment\r\nA=file\r\nexport B='${A} #'\r\nCELERY_WORKER_CONCURRENCY=3\n",
	})
	l := must(t, Input{Path: filepath.Join(d, "x.toml"), Env: env(map[string]string{"A": "real"})})
	if l.Config.Node != "real-${A} #-c" || l.Config.Pool.Concurrency != 3 {
		t.Errorf("node %q, concurrency %d", l.Config.Node, l.Config.Pool.Concurrency)
	}
	if _, ok := l.Vars["A"]; ok || l.Vars["B"] == "" {
		t.Errorf("variables only in .env: %v", l.Vars)
	}
}

// Without settings beside it .env is the application's, as under a stock worker: others that it reads may be stronger, such as .env.production.
func TestDotenvOfTheApplicationIsLeftToIt(t *testing.T) {
	in := Input{Dir: dir(t, map[string]string{".env": "CELERY_BROKER_URL=redis://here\nset -a\n"}), Env: nothing}
	if l := must(t, in); len(l.Vars) != 0 || l.Config.Broker.URL == "redis://here" {
		t.Errorf("taken: %v, %s", l.Vars, l.Config.Broker.URL)
	}
	in.Dir = dir(t, map[string]string{".env": "CELERY_BROKER_URL=redis://here\n"})
	l := must(t, in)
	if len(l.Notes) != 1 || !strings.Contains(l.Notes[0].String(), "CELERY_BROKER_URL of .env counts only beside a settings file") {
		t.Errorf("notes: %v", l.Notes)
	}
	if e := l.Resolve(AppSettings{BrokerURL: ptr("redis://app")}); len(e.Notes) != 0 {
		t.Errorf("where the application names its broker: %v", e.Notes)
	}
}

// A text with variables that comes out empty leaves the setting to the layers below.
func TestEmptyIsNotSet(t *testing.T) {
	l := must(t, Input{Dir: dir(t, map[string]string{fileName: `
tasks.time_limit = "${LIMIT:-}"
[broker]
queues = "${QUEUES:-}"
exclude = ["${NONE:-}"]
key_prefix = ""
`})})
	e := l.Resolve(AppSettings{TimeLimit: ptr(60.0), Queues: []string{"a"}, KeyPrefix: ptr("p:")})
	if e.Config.Tasks.TimeLimit != time.Minute || e.Origins.Set("tasks.time_limit") || e.Config.Broker.Queues[0] != "a" {
		t.Errorf("%v, %v", e.Config.Tasks, e.Config.Broker.Queues)
	}
	if e.Config.Broker.KeyPrefix != "" || !e.Origins.Set("broker.key_prefix") {
		t.Error("an empty text without variables is a value")
	}
}

func TestEnvironment(t *testing.T) {
	l := must(t, Input{Env: env(map[string]string{
		"USE_CELERY": "False", "CELERY_WORKER_QUEUES": "a, b", "PORT": "9000", railwayDrain: "60",
		"CELERY_WORKER_LOGLEVEL": "WARNING", "CELERY_WORKER_TIME_LIMIT": "90", "BROKER_URL": "redis://b",
	})})
	c := l.Config
	if c.Broker.Consume || len(c.Broker.Queues) != 2 || c.Admin.Listen != ":9000" || c.Drain.Timeout != time.Minute || c.Log.Level != "warn" ||
		c.Tasks.TimeLimit != 90*time.Second || c.Broker.URL != "redis://b" {
		t.Errorf("%+v", c)
	}
	_, err := Load(Input{Dir: dir(t, map[string]string{fileName: "", ".env": "USE_CELERY=perhaps\n"}), Env: env(map[string]string{
		"CELERY_WORKER_CONCURRENCY": secret, "PORT": "http", railwayDrain: "long",
	})})
	want := `.env: USE_CELERY: sets broker.consume: allowed is true or false
environment: CELERY_WORKER_CONCURRENCY: sets pool.concurrency: allowed is a whole number, from 1 to 10000
environment: PORT: sets admin.listen: allowed is the number of a port
environment: RAILWAY_DEPLOYMENT_DRAINING_SECONDS: sets drain.timeout: allowed is a number of seconds`
	if err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
	must(t, Input{ // what does not count may be wrong
		Dir: dir(t, map[string]string{fileName: "[pool]\nconcurrency = 2\n"}), Env: env(map[string]string{"CELERY_WORKER_CONCURRENCY": "many"}),
	})
}

// What the platform says about its own kill counts, whatever the file says.
func TestDrainBudget(t *testing.T) {
	railway := func(s string) map[string]string { return map[string]string{"RAILWAY_SERVICE_ID": "x", railwayDrain: s} }
	for name, c := range map[string]struct {
		text   string
		vars   map[string]string
		budget time.Duration
		notes  int
	}{
		"default":             {"", nil, 22 * time.Second, 0},
		"short":               {"[drain]\ntimeout = 4\n", nil, 3 * time.Second, 0},
		"none":                {"[drain]\ntimeout = 0\n", nil, 0, 1},
		"own margin":          {"[drain]\ntimeout = 10\nmargin = 8\n", nil, 2 * time.Second, 0},
		"platform":            {"[drain]\ntimeout = 10\nmargin = 5\n", railway("60"), 55 * time.Second, 1},
		"platform, too short": {"[drain]\ntimeout = 10\nmargin = 5\n", railway("4"), 3 * time.Second, 1},
		"platform, none":      {"", railway("0"), 0, 1},
		"platform, silent":    {"", map[string]string{"RAILWAY_SERVICE_ID": "x"}, 22 * time.Second, 1},
	} {
		l := must(t, Input{Dir: dir(t, map[string]string{fileName: c.text}), Env: env(c.vars)})
		if got := l.Config.Drain.Budget(); got != c.budget || len(l.Notes) != c.notes {
			t.Errorf("%s: %v, want %v; notes %v", name, got, c.budget, l.Notes)
		}
	}
}

func TestTables(t *testing.T) {
	l := must(t, Input{Dir: dir(t, map[string]string{fileName: `
tasks."shop.pay" = { time_limit = "2m", rate_limit = "10/m" }
tasks.max_deliveries = 3
[scaling.queues]
celery = { min = 1 }
"a b".weight = 2
[python.environment]
A = 1
B = true
C = "${X:-c}"
[[command]]
task = "one"
run = ["a", "$$HOME"]
retry_on = [75]
[[command]]
task = "two"
run = ["b"]
result = "TEXT"
[command.environment]
D = "d"
`})})
	want := Defaults()
	want.Tasks.MaxDeliveries = 3
	want.Tasks.Named = map[string]TaskOptions{"shop.pay": {TimeLimit: ptr(2 * time.Minute), RateLimit: &RateLimit{Limit: "10/m"}}}
	want.Scaling.Queues = map[string]QueueScaling{"celery": {Min: 1, Weight: 1}, "a b": {Weight: 2}}
	want.Python.Environment = map[string]string{"A": "1", "B": "true", "C": "c"}
	command := Command{Input: "json", Result: "json", MaxOutput: 1 << 20, RetryAfter: 3 * time.Minute, MaxRetries: 3}
	one, two := command, command
	one.Task, one.Run, one.RetryOn = "one", []string{"a", "$HOME"}, []int{75}
	two.Task, two.Run, two.Result, two.Environment = "two", []string{"b"}, "text", map[string]string{"D": "d"}
	want.Commands = []Command{one, two}
	if diff := cmp.Diff(want, l.Config); diff != "" {
		t.Error(diff)
	}
	if line := l.Origins["command.two.environment.D"].Line; line != 20 {
		t.Errorf("line %d", line)
	}
}

// Where a default or the application meets what was asked for, the latter wins, with a note.
func TestResolve(t *testing.T) {
	l := must(t, Input{Dir: dir(t, map[string]string{fileName: "[scaling]\nmin = 8\n[tasks]\nsoft_time_limit = \"25m\"\n"})})
	if l.Config.Scaling.Min != 4 || len(l.Notes) != 1 {
		t.Errorf("min %d, notes %v", l.Config.Scaling.Min, l.Notes)
	}
	e := l.Resolve(AppSettings{Concurrency: ptr(16), TimeLimit: ptr(60.0), SoftTimeLimit: ptr(5.0), PrefetchMultiplier: ptr(4), ResultExpires: ptr(-1.0)})
	if e.Config.Scaling.Min != 8 || e.Config.Pool.Concurrency != 16 || e.Config.Tasks.SoftTimeLimit != 25*time.Minute || e.Config.Results.Expires != day {
		t.Errorf("%+v", e.Config)
	}
	if got := fmt.Sprint(e.Notes); len(e.Notes) != 4 || !strings.Contains(got, "result_expires does not count") || !strings.Contains(got, "prefetch") {
		t.Errorf("notes: %v", e.Notes)
	}
	if l.Config.Pool.Concurrency != 4 {
		t.Error("Resolve changed what was loaded")
	}
}

func TestEmbedded(t *testing.T) {
	l := must(t, Input{Env: env(map[string]string{"CELERY_BROKER_URL": "embedded"})})
	if set, _ := l.Overrides(); l.Config.Results.URL != Embedded || len(set) != 0 {
		t.Errorf("results %q, overrides %v", l.Config.Results.URL, set)
	}
}

func TestOverrides(t *testing.T) {
	l := must(t, Input{
		Dir: dir(t, map[string]string{fileName: `
results.expires = 0
broker.queues = ["a"]
pool.max_memory_per_child = "1MB"
[tasks]
time_limit = "1m"
acks_late = true
rate_limit = ""
`}),
		Env: env(map[string]string{"REDIS_URL": "redis://r"}),
	})
	set, fallback := l.Resolve(AppSettings{BrokerURL: ptr("redis://app"), Concurrency: ptr(3)}).Overrides()
	wantSet := map[string]any{
		"task_time_limit": 60.0, "task_acks_late": true, "task_default_rate_limit": nil, "worker_max_memory_per_child": int64(977), "result_expires": nil,
	}
	if diff := cmp.Diff(wantSet, set); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{"result_backend": "redis://r"}, fallback); diff != "" {
		t.Error(diff)
	}
}

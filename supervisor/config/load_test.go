package config

import (
	"os"
	"path/filepath"
	"testing"
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

func TestDesign(t *testing.T) {
	l, err := Load(Input{Dir: dir(t, map[string]string{"agensium.toml": design}), Env: env(map[string]string{"REDIS_URL": "redis://:s3cret@db:6379"})})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range l.Settings() {
		t.Logf("%s = %s  # %s", s.Key, s.Value, s.Origin)
	}
	t.Log(l.Notes)
	t.Log(l.Overrides())
}

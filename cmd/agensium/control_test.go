package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

// side is where the application of these tests lies.
func side(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/control")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// sideEnv is what the application, its clients and agensium need.
func sideEnv(t *testing.T, python, url string) []string {
	t.Helper()
	return []string{
		"TEST_BROKER=" + url, "VIRTUAL_ENV=" + filepath.Dir(filepath.Dir(python)), "AGENSIUM_CONFIG=", "CELERY_BROKER_URL=", "REDIS_URL=",
		"CELERY_RESULT_BACKEND=", fmt.Sprintf("PORT=%d", celerytest.FreePort(t)), "PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore",
	}
}

// replies are what a node says to each command. The last one is to shut down.
func replies(t *testing.T, python string, start func(dir string, env []string) *celerytest.Process) (said map[string]any, worker *celerytest.Process) {
	t.Helper()
	redis := celerytest.StartRedis(t)
	env := sideEnv(t, python, redis.URL(0))
	worker = start(side(t), env)
	celerytest.Eventually(t, "the worker to be ready", func() bool { return strings.Contains(worker.Output(), " ready.") })
	ask := exec.CommandContext(t.Context(), python, "ask.py", "n@test")
	ask.Dir, ask.Env = side(t), append(os.Environ(), env...)
	out, err := ask.Output()
	if err != nil {
		t.Fatalf("ask: %v", err)
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return said, worker
}

// Each command, sent with the command line of three releases to a stock worker and to ours, gets a reply of the same shape.
func TestRepliesAreThoseOfCelery(t *testing.T) {
	exe := program(t)
	for _, release := range celerytest.Venvs {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			python := celerytest.Venv(t, release)
			stock, theirs := replies(t, python, func(dir string, env []string) *celerytest.Process {
				return celerytest.StartProcess(t, dir, env, python, "-m", "celery", "-A", "side", "worker", "-c", "2", "-n", "n@test", "-l", "info", "--without-gossip", "--without-mingle")
			})
			theirs.Kill() // be it on its way
			ours, worker := replies(t, python, func(dir string, env []string) *celerytest.Process {
				return celerytest.StartProcess(t, dir, env, exe, "-A", "side:app", "worker", "-c", "2", "-n", "n@test")
			})
			if status := worker.Wait(); status != exitOK {
				t.Errorf("exit status %d after shutdown", status)
			}
			for command, want := range stock {
				for _, difference := range differences(command, want, ours[command]) {
					if !slices.ContainsFunc(ourOwn, func(d string) bool { return strings.HasPrefix(difference, d) }) {
						t.Error(difference)
					}
				}
			}
		})
	}
}

// ourOwn are the differences that are meant.
var ourOwn = []string{
	"inspect active[0].delivery_info.redelivered: bool false instead of <nil>", // which 5.2 says as long as nothing was redelivered
	"inspect scheduled[0].request.delivery_info.redelivered: bool false instead of <nil>",
	"inspect conf.worker_disable_prefetch: absent",                                                         // a worker of 5.7 sets it itself
	`broadcast conf {"with_defaults": true}.worker_concurrency: float64 2 instead of <nil>`,                // --concurrency is a setting to us
	`broadcast revoke {"task_id": ["a", "b"]}.ok: "tasks {'a', 'b'} flagged as revoked" instead of "tasks`, // a set in no order; 5.2 has no set
	`broadcast revoke_by_stamped_headers {"headers": {"header": ["a"]}}`,                                   // 5.2 does not know it
	"inspect conf.worker_concurrency: Celery has none",
	"inspect stats.pool.implementation: Celery has none", "inspect stats.broker.credential_provider: Celery has none", // newer releases have them
	"inspect objgraph.error", "inspect memsample", "inspect memdump", // which look into a Python process
	`outcome of USR1.ok: "FAILURE SoftTimeLimitExceeded()" instead of "REVOKED`, // Celery's child writes the one and its parent the other, in no order
}

// differences lists where got lacks something of want, has more, or has it in another type. Replies that are one text, {"ok": text} or an error,
// have to be the same, apart from what is in braces and the ids.
func differences(at string, want, got any) []string {
	switch want := want.(type) {
	case map[string]any:
		have, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %.200v instead of %.200v", at, got, want)}
		}
		var all []string
		for key, value := range want {
			other, there := have[key]
			switch {
			case !there && !isID(key):
				all = append(all, fmt.Sprintf("%s.%s: absent, Celery has %.200v", at, key, value))
			case there:
				all = append(all, differences(at+"."+key, value, other)...)
			}
		}
		for key := range have {
			if _, there := want[key]; !there && !isID(key) {
				all = append(all, fmt.Sprintf("%s.%s: Celery has none", at, key))
			}
		}
		return all
	case []any:
		have, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s: %.200v instead of %.200v", at, got, want)}
		}
		if len(want) == 0 || len(have) == 0 {
			return nil
		}
		return differences(at+"[0]", want[0], have[0])
	}
	if a, b := fmt.Sprintf("%T", want), fmt.Sprintf("%T", got); a != b {
		return []string{fmt.Sprintf("%s: %s %.200v instead of %s %.200v", at, b, got, a, want)}
	}
	if text, ok := want.(string); ok && (strings.HasSuffix(at, ".ok") || strings.HasSuffix(at, ".error")) && !strings.HasPrefix(at, "inspect report") {
		if a, b := withoutIDs(text), withoutIDs(got.(string)); a != b {
			return []string{fmt.Sprintf("%s: %q instead of %q", at, b, a)}
		}
	}
	return nil
}

func isID(s string) bool { return len(s) == 36 && strings.Count(s, "-") == 4 }

// withoutIDs replaces ids of tasks.
func withoutIDs(s string) string {
	words := strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(" ,'{}", r) })
	for _, word := range words {
		if isID(word) {
			s = strings.ReplaceAll(s, word, "ID")
		}
	}
	return s
}

// Clients send requests as their setting task_serializer says, and may read nothing else.
func TestRequestsInOtherSerializers(t *testing.T) {
	exe, redis := program(t), celerytest.StartRedis(t)
	for i, serializer := range []string{"pickle", "yaml", "msgpack"} {
		t.Run(serializer, func(t *testing.T) {
			python := celerytest.Venv(t, celerytest.Venvs[i])
			env := append(sideEnv(t, python, redis.URL(i)), "TEST_SERIALIZER="+serializer)
			node := sideNode(t, exe, env, "-c", "1", "-n", "n@test")
			got := sideClient(t, python, env, `
at = app.control.inspect(['n@test'], timeout=20)
print(at.ping(), at._request('tasks_of')['n@test']['node'])
print(app.control.inspect(pattern='n@*', matcher='glob', timeout=20, limit=1).ping())
print(app.control.rate_limit('side.add', '7/m', reply=True, timeout=20, limit=1), at.registered())
app.control.inspect(['other@test'], timeout=0.1).ping()
app.control.broadcast('shutdown')
`)
			want := `{'n@test': {'ok': 'pong'}} n@test
{'n@test': {'ok': 'pong'}}
[{'n@test': {'ok': 'new rate limit set successfully'}}] {'n@test': ['side.add [rate_limit=7/m]', 'side.sleep']}`
			if got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if status := node.Wait(); status != exitOK {
				t.Errorf("exit status %d", status)
			}
		})
	}
}

// pool_restart imports the application anew where it allows that: new children, while a running task ends in the old one.
func TestPoolRestart(t *testing.T) {
	exe, python, redis := program(t), celerytest.Venv(t, "celery-latest"), celerytest.StartRedis(t)
	env := append(sideEnv(t, python, redis.URL(0)), "TEST_RESTARTS=1", "TEST_WAKE="+filepath.Join(t.TempDir(), "wake"))
	sideNode(t, exe, env, "-c", "2", "-n", "a@test")
	got := sideClient(t, python, env, `
at = app.control.inspect(['a@test'], timeout=20)
pids = lambda: at.stats()['a@test']['pool']['processes']
running = sleep.delay(600)
while not at.active()['a@test']:
    pass
old = pids()
busy = at.active()['a@test'][0]['worker_pid']
print(app.control.pool_restart(reply=True, timeout=20, limit=1)[0]['a@test'])
while len(pids()) < 2 or set(pids()) & set(old) != {busy}:
    pass
open(os.environ['TEST_WAKE'], 'w').close()
running.get(timeout=30)
while set(pids()) & set(old):
    pass
print(add.delay(1, 2).get(timeout=30), busy in old)
`)
	if got != "{'ok': 'reload started'}\n3 True" {
		t.Error(got)
	}
}

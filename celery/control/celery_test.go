package control

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

// clientScript asks with a real client, and prints what it got as JSON, one line for each question.
const clientScript = `
import json, os
from celery import Celery
app = Celery('proj', broker=os.environ['URL'], backend=os.environ['URL'])
@app.task(name='proj.add')
def add(x, y): return x + y
def show(name, value): print(json.dumps([name, value]))
def patient(ask): return next(filter(None, (ask() for _ in range(10))), None)  # all that answer in time, which may be nobody
c, i = app.control, app.control.inspect(timeout=2)
one = app.control.inspect(destination=['w1@host'], timeout=30)
show('ping', patient(lambda: c.ping(timeout=2)))
show('inspect ping', patient(i.ping))
show('destination', one.ping())
show('pattern', app.control.inspect(pattern='w[0-9]@h*', matcher='glob', limit=1, timeout=30).ping())
show('pcre', app.control.inspect(pattern='w[0-9]@h', matcher='pcre', limit=1, timeout=30).ping())
show('active', one.active())
show('active safe', one.active(safe=True))
show('reserved', one.reserved())
show('scheduled', one.scheduled())
show('registered', one.registered())
show('registered items', one.registered('rate_limit', 'max_retries'))
show('stats', sorted(one.stats()['w1@host']))
show('conf', one.conf())
show('queues', [q['name'] for q in one.active_queues()['w1@host']])
show('report', one.report())
show('clock', isinstance(one.clock()['w1@host']['clock'], int))
show('query', one.query_task('a-1', 'unknown'))
show('hello', sorted(one.hello('w9@other', {'r-9': [1.5, 'r-9']})['w1@host']))
show('revoke', c.revoke('a-7', reply=True, timeout=30, limit=1))
show('terminate', c.terminate('a-1', signal='SIGUSR1', reply=True, timeout=30, limit=1))
show('revoked', sorted(one.revoked()['w1@host']))
show('rate_limit', c.rate_limit('proj.add', '10/m', reply=True, limit=1, timeout=30))
show('rate_limit unknown', c.rate_limit('proj.none', '10/m', reply=True, limit=1, timeout=30))
show('rate_limit bad', c.rate_limit('proj.add', 'x/m', reply=True, limit=1, timeout=30))
show('rate_limit unit', c.rate_limit('proj.add', 'x/y', reply=True, limit=1, timeout=30))
show('time_limit', c.time_limit('proj.add', soft=1.5, hard=2, reply=True, limit=1, timeout=30))
show('grow', c.pool_grow(2, reply=True, limit=1, timeout=30))
show('shrink', c.pool_shrink(1, reply=True, limit=1, timeout=30))
show('restart', c.pool_restart(reply=True, limit=1, timeout=30))
show('autoscale', c.autoscale(5, 2, reply=True, limit=1, timeout=30))
show('add', c.add_consumer('extra', reply=True, limit=1, timeout=30))
show('cancel', c.cancel_consumer('extra', reply=True, limit=1, timeout=30))
show('enable', c.enable_events(reply=True, limit=1, timeout=30))
show('enable again', c.enable_events(reply=True, limit=1, timeout=30))
show('disable', c.disable_events(reply=True, limit=1, timeout=30))
show('heartbeat', c.heartbeat(reply=True, limit=1, timeout=30))
show('unknown', c.broadcast('nothing', reply=True, limit=1, timeout=30))
c.shutdown()
`

func clientNode(t *testing.T) *fakeNode {
	f := &fakeNode{
		tasks: []RegisteredTask{
			{Name: "proj.add", Attributes: map[string]string{"rate_limit": "5/m", "max_retries": "3"}}, {Name: "celery.group"},
		},
		conf: json.RawMessage(`{"broker_url":"redis://:**@h/0"}`), report: "software -> celery",
		queues: []Queue{{Name: "celery"}},
		active: []Request{heldRequest(t, requestInfo{ID: "a-1", Type: "proj.add", Args: []int{1, 2}, Kwargs: map[string]int{}})},
		parked: []Request{heldRequest(t, requestInfo{ID: "p-1", Type: "proj.add", Args: []int{3, 4}, Kwargs: map[string]int{}})},
	}
	f.active[0].Task.ArgsRepr, f.active[0].Task.KwargsRepr = "(1, 2)", "{}"
	f.parked[0].Task.ETA = time.Date(2027, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	return f
}

// TestRealClients has the clients of three releases ask everything.
func TestRealClients(t *testing.T) {
	for _, venv := range celerytest.Venvs {
		t.Run(venv, func(t *testing.T) {
			t.Parallel() // most of the time is spent in the client's timeouts and imports
			python := celerytest.Venv(t, venv)
			r := celerytest.StartRedis(t)
			fake := clientNode(t)
			startControl(t, testOptions(t, "w1@host", r.URL(0), fake.node()))
			got := map[string]string{}
			for line := range strings.Lines(celerytest.RunPython(t, python, clientScript, "URL="+r.URL(0))) {
				var pair [2]json.RawMessage
				if err := json.Unmarshal([]byte(line), &pair); err != nil {
					t.Fatalf("%v: %s", err, line)
				}
				got[strings.Trim(string(pair[0]), `"`)] = string(pair[1])
			}
			if diff := cmp.Diff(clientAnswers, got); diff != "" {
				t.Errorf("expected (-) and got (+):\n%s", diff)
			}
			celerytest.Eventually(t, "the shutdown", func() bool {
				return slices.Contains(fake.recorded(), "shutdown Got shutdown from remote")
			})
			if keys := r.Client(0).Keys(t.Context(), "*reply*").Val(); len(keys) > 0 {
				t.Errorf("left in Redis: %q", keys)
			}
		})
	}
}

const (
	activeInfo = `"id": "a-1", "name": "proj.add", "args": %s, "kwargs": %s, "type": "proj.add", "hostname": "w1@host", "time_start": null, ` +
		`"acknowledged": false, "delivery_info": {"exchange": "", "routing_key": "", "priority": 0, "redelivered": false}, "worker_pid": null`
)

var clientAnswers = map[string]string{
	"ping":               `[{"w1@host": {"ok": "pong"}}]`,
	"inspect ping":       `{"w1@host": {"ok": "pong"}}`,
	"destination":        `{"w1@host": {"ok": "pong"}}`,
	"pattern":            `{"w1@host": {"ok": "pong"}}`,
	"pcre":               `{"w1@host": {"ok": "pong"}}`,
	"active":             `{"w1@host": [{` + fmt.Sprintf(activeInfo, "[1, 2]", "{}") + `}]}`,
	"active safe":        `{"w1@host": [{` + fmt.Sprintf(activeInfo, `"(1, 2)"`, `"{}"`) + `}]}`,
	"reserved":           `{"w1@host": []}`,
	"scheduled":          `{"w1@host": [{"eta": "2027-01-02T03:04:05.678000+00:00", "priority": 6, "request": {` + strings.Replace(fmt.Sprintf(activeInfo, "[3, 4]", "{}"), "a-1", "p-1", 1) + `}}]}`,
	"registered":         `{"w1@host": ["proj.add [rate_limit=5/m]"]}`,
	"registered items":   `{"w1@host": ["proj.add [rate_limit=5/m max_retries=3]"]}`,
	"stats":              `["broker", "clock", "pid", "pool", "prefetch_count", "rusage", "total", "uptime"]`,
	"conf":               `{"w1@host": {"broker_url": "redis://:**@h/0"}}`,
	"queues":             `["celery"]`,
	"report":             `{"w1@host": {"ok": "software -> celery"}}`,
	"clock":              `true`,
	"query":              `{"w1@host": {"a-1": ["active", {` + fmt.Sprintf(activeInfo, "[1, 2]", "{}") + `}]}}`,
	"hello":              `["clock", "revoked"]`,
	"revoke":             `[{"w1@host": {"ok": "tasks {'a-7'} flagged as revoked"}}]`,
	"terminate":          `[{"w1@host": {"ok": "terminate: a-1"}}]`,
	"revoked":            `["a-1", "a-7", "r-9"]`,
	"rate_limit":         `[{"w1@host": {"ok": "new rate limit set successfully"}}]`,
	"rate_limit unknown": `[{"w1@host": {"error": "unknown task"}}]`,
	"rate_limit bad":     `[{"w1@host": {"error": "Invalid rate limit string: ValueError(\"could not convert string to float: 'x'\")"}}]`,
	"rate_limit unit":    `[{"w1@host": {"error": "KeyError('y')"}}]`,
	"time_limit":         `[{"w1@host": {"ok": "time limits set successfully"}}]`,
	"grow":               `[{"w1@host": {"ok": "pool will grow"}}]`,
	"shrink":             `[{"w1@host": {"ok": "pool will shrink"}}]`,
	"restart":            `[{"w1@host": {"ok": "reload started"}}]`,
	"autoscale":          `[{"w1@host": {"error": "ValueError('Autoscale not enabled')"}}]`,
	"add":                `[{"w1@host": {"ok": "add consumer extra"}}]`,
	"cancel":             `[{"w1@host": {"ok": "no longer consuming from extra"}}]`,
	"enable":             `[{"w1@host": {"ok": "task events enabled"}}]`,
	"enable again":       `[{"w1@host": {"ok": "task events already enabled"}}]`,
	"disable":            `[{"w1@host": {"ok": "task events disabled"}}]`,
	"heartbeat":          `[{"w1@host": null}]`,
	"unknown":            `[{"w1@host": {"error": "KeyError('nothing')"}}]`,
}

// TestRealCommandLine runs `celery inspect` and `celery control` of three releases.
func TestRealCommandLine(t *testing.T) {
	for _, venv := range celerytest.Venvs {
		t.Run(venv, func(t *testing.T) {
			t.Parallel() // most of the time is spent in the client's timeouts and imports
			celeryProgram := filepath.Join(filepath.Dir(celerytest.Venv(t, venv)), "celery")
			r := celerytest.StartRedis(t)
			startControl(t, testOptions(t, "w1@host", r.URL(0), clientNode(t).node()))
			for command, want := range map[string]string{
				"inspect ping":                             "w1@host: OK",
				"inspect -d w1@host active":                "a-1",
				"inspect -d w1@host query_task a-1":        "active",
				"control -d w1@host revoke x-1":            "flagged as revoked",
				"control -d w1@host terminate KILL a-1":    "terminate: a-1",
				"control -d w1@host time_limit proj.add 9": "time limits set successfully",
			} {
				var out []byte
				var err error
				for range 10 { // it waits for a second, in which nobody may answer
					cmd := exec.CommandContext(t.Context(), celeryProgram, append([]string{"-b", r.URL(0)}, strings.Fields(command)...)...)
					cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "NO_COLOR=1")
					if out, err = cmd.CombinedOutput(); !strings.Contains(string(out), "No nodes replied") {
						break
					}
				}
				if err != nil || !strings.Contains(string(out), want) {
					t.Errorf("celery %s: %v, want %q in:\n%s", command, err, want, out)
				}
			}
		})
	}
}

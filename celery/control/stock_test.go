package control

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

// TestStockWorkerMingles starts a real worker beside a node that knows of a revoked task: it learns it by its hello.
func TestStockWorkerMingles(t *testing.T) {
	for _, venv := range celerytest.Venvs {
		t.Run(venv, func(t *testing.T) {
			t.Parallel()
			python := celerytest.Venv(t, venv)
			r := celerytest.StartRedis(t)
			c := startControl(t, testOptions(t, "w1@host", r.URL(0), Node{}))
			c.Revoked.Revoke(t.Context(), []string{"id-1"})
			dir := t.TempDir()
			app := "from celery import Celery\napp = Celery('proj', broker='" + r.URL(0) + "')\n"
			if err := os.WriteFile(filepath.Join(dir, "proj.py"), []byte(app), 0o600); err != nil {
				t.Fatal(err)
			}
			for left := 10; ; left-- { // it waits for a second, in which nobody may answer
				worker := celerytest.StartProcess(t, dir, nil, python, "-m", "celery", "-A", "proj", "worker", "-P", "solo",
					"-n", "stock@host", "-l", "INFO", "--without-gossip", "--without-heartbeat")
				celerytest.Eventually(t, "the worker to be ready", func() bool { return strings.Contains(worker.Output(), " ready.") })
				if strings.Contains(worker.Output(), "mingle: sync with 1 nodes") {
					break
				}
				if left == 0 {
					t.Fatal("the worker found nobody to mingle with")
				}
				worker.Kill()
			}
			k := newClient(t, r)
			celerytest.Eventually(t, "the worker to listen as well", func() bool {
				return k.redis.Publish(t.Context(), k.names.requests(), jsonMessage(t, `{"method":"ping"}`)).Val() == 2
			})
			if got := string(k.askFor("stock@host", "revoked")); got != `["id-1"]` {
				t.Errorf("the worker knows as revoked: %s", got)
			}
		})
	}
}

// askFor returns one node's answer out of all.
func (c *client) askFor(node, method string) json.RawMessage {
	c.t.Helper()
	c.send(method, map[string]any{})
	for {
		if answer, ok := c.reply()[node]; ok {
			return answer
		}
	}
}

// receiverScript reads events into Celery's own state, as Flower and celery-exporter do, until a task has succeeded.
const receiverScript = `
import json, os
from celery import Celery
app = Celery('proj', broker=os.environ['URL'])
state = app.events.State()
class Done(Exception): pass
def on_event(event):
    state.event(event)
    if event['type'] == 'task-succeeded': raise Done
with app.connection() as connection:
    try:
        app.events.Receiver(connection, handlers={'*': on_event}).capture(limit=None, timeout=30, wakeup=False)
    except Done: pass
w, t = state.workers['w1@host'], state.tasks['id-1']
print(json.dumps({'alive': w.alive, 'active': w.active, 'processed': w.processed, 'freq': w.freq,
    'name': t.name, 'args': t.args, 'state': t.state, 'runtime': t.runtime, 'result': t.result, 'worker': t.worker.hostname,
    'root': t.root_id, 'timed': None not in (t.received, t.started, t.succeeded)}))
`

func TestRealReceiverUnderstandsOurEvents(t *testing.T) {
	for _, venv := range celerytest.Venvs {
		t.Run(venv, func(t *testing.T) {
			t.Parallel()
			python := celerytest.Venv(t, venv)
			r := celerytest.StartRedis(t)
			o := testOptions(t, "w1@host", r.URL(0), Node{})
			o.Events = EventOptions{Enabled: true, Every: 10 * time.Second, Version: "5.7.0", Load: func() (int, int) { return 1, 5 }}
			receiver := celerytest.StartProcess(t, t.TempDir(), []string{"URL=" + r.URL(0)}, python, "-c", receiverScript)
			celerytest.Eventually(t, "the receiver to listen", func() bool { return r.Client(0).PubSubNumPat(t.Context()).Val() == 1 })
			c := startControl(t, o)
			c.Events.TaskReceived(sampleTask())
			c.Events.TaskStarted("id-1")
			c.Events.TaskSucceeded("id-1", "3", 1500*time.Millisecond)
			var got map[string]any
			await(t, "the receiver to end", receiver.Done())
			if err := json.Unmarshal([]byte(receiver.Output()), &got); err != nil {
				t.Fatalf("%v: %s", err, receiver.Output())
			}
			want := map[string]any{
				"alive": true, "active": 1.0, "processed": 5.0, "freq": 10.0, "name": "proj.add", "args": "(1, 'ä')",
				"state": "SUCCESS", "runtime": 1.5, "result": "3", "worker": "w1@host", "root": "root-1", "timed": true,
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("expected (-) and got (+):\n%s", diff)
			}
		})
	}
}

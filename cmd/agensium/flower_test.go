package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
)

// flowers are the releases of Flower that are tested, each in a virtual environment of its own beside those of Celery.
var flowers = []string{"flower-2.2", "flower-2.1"}

// flower is the HTTP side of a Flower.
type flower struct {
	t    *testing.T
	base string
}

// startFlower starts one for the application of these tests, or skips the test.
func startFlower(t *testing.T, release string, env []string) *flower {
	t.Helper()
	program := filepath.Join(os.Getenv("AGENSIUM_VENVS"), release, "bin", "celery")
	if _, err := os.Stat(program); err != nil {
		if slices.Contains(strings.Split(os.Getenv("AGENSIUM_REQUIRE"), ","), "flower") {
			t.Fatalf("AGENSIUM_REQUIRE asks for flower: %v", err)
		}
		t.Skipf("SKIPPED, NOT TESTED: needs %s in AGENSIUM_VENVS: %v", release, err)
	}
	port := celerytest.FreePort(t)
	f := &flower{t, fmt.Sprintf("http://127.0.0.1:%d", port)}
	celerytest.StartProcess(t, side(t), append(env, "FLOWER_UNAUTHENTICATED_API=true"), program, "-A", "side", "flower",
		fmt.Sprintf("--port=%d", port), "--address=127.0.0.1", "--inspect_timeout=3000")
	celerytest.Eventually(t, "Flower to answer", func() bool { _, err := f.request("GET", "/api/workers", nil); return err == nil })
	return f
}

func (f *flower) request(method, path string, form url.Values) (string, error) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: celerytest.Backstop}
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, body)
	}
	return string(body), err
}

// post presses a button and returns what Flower says to it.
func (f *flower) post(path string, form url.Values) string {
	f.t.Helper()
	said, err := f.request("POST", path, form)
	if err != nil {
		f.t.Error(err)
	}
	return said
}

// worker is what Flower knows of a node, asked anew.
func (f *flower) worker(node string) (w struct {
	Stats struct {
		Pool struct {
			Most      int   `json:"max-concurrency"`
			Processes []int `json:"processes"`
		} `json:"pool"`
	} `json:"stats"`
	Registered   []string                    `json:"registered"`
	ActiveQueues []struct{ Name string }     `json:"active_queues"`
	Active       []struct{ ID, Name string } `json:"active"`
	Scheduled    []struct{ ETA string }      `json:"scheduled"`
	Reserved     []json.RawMessage           `json:"reserved"`
	Revoked      []string                    `json:"revoked"`
	Conf         map[string]any              `json:"conf"`
	Timestamp    float64                     `json:"timestamp"`
}) {
	f.t.Helper()
	var all map[string]json.RawMessage
	body, err := f.request("GET", "/api/workers?refresh=1&workername="+url.QueryEscape(node), nil)
	if err != nil || json.Unmarshal([]byte(body), &all) != nil {
		return w // it does not know the node yet
	}
	if raw := all[node]; raw != nil {
		if err := json.Unmarshal(raw, &w); err != nil {
			f.t.Fatalf("worker %s: %v: %s", node, err, raw)
		}
	}
	return w
}

type flowerTask struct {
	State, Name, Result, Exception, Args, Worker string
	Received, Started, Succeeded, Runtime        float64
}

func (f *flower) task(id string) (t flowerTask) {
	body, err := f.request("GET", "/api/task/info/"+id, nil)
	if err == nil {
		err = json.Unmarshal([]byte(body), &t)
	}
	if err != nil {
		t.State = ""
	}
	return t
}

// Flower sees the node and its tasks, and its buttons work.
func TestFlower(t *testing.T) {
	exe := program(t)
	for _, release := range flowers {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			python := celerytest.Venv(t, "celery-latest")
			redis := celerytest.StartRedis(t)
			env := sideEnv(t, python, redis.URL(0))
			f := startFlower(t, release, env)
			const node = "n@test"
			worker := celerytest.StartProcess(t, side(t), env, exe, "-A", "side:app", "worker", "-c", "2", "-n", node)
			celerytest.Eventually(t, "the node to be seen with its queue", func() bool {
				w := f.worker(node)
				return len(w.ActiveQueues) == 1 && len(w.Stats.Pool.Processes) == 2 && len(w.Registered) == 2 && w.Conf["broker_url"] != nil
			})
			send := func(what string) string {
				t.Helper()
				script := fmt.Sprintf("import sys; sys.path.insert(0, %q)\nfrom side import *\nprint(%s.id)", side(t), what)
				return strings.TrimSpace(celerytest.RunPython(t, python, script, env...))
			}
			state := func(id, want string) flowerTask {
				t.Helper()
				var got flowerTask
				celerytest.Eventually(t, want+" in Flower", func() bool { got = f.task(id); return got.State == want })
				return got
			}

			if got := state(send("add.delay(1, 2)"), "SUCCESS"); got.Name != "side.add" || got.Result != "3" || got.Worker != node || got.Started == 0 || got.Runtime <= 0 || got.Args != "(1, 2)" {
				t.Errorf("finished task is %+v", got)
			}
			state(send("add.delay(1, 'a')"), "FAILURE")
			running := send("sleep.delay(600)")
			state(running, "STARTED")
			parked := send("add.apply_async((1, 2), countdown=600)")
			state(parked, "RECEIVED")
			celerytest.Eventually(t, "running and parked task on the node's page", func() bool {
				w := f.worker(node)
				return len(w.Active) == 1 && w.Active[0].ID == running && len(w.Scheduled) == 1
			})

			f.post("/api/task/revoke/"+parked, nil)
			state(parked, "REVOKED")
			f.post("/api/task/revoke/"+running, url.Values{"terminate": {"true"}, "signal": {"SIGKILL"}})
			state(running, "REVOKED")
			for path, form := range map[string]url.Values{
				"/api/worker/pool/grow/" + node:          {"n": {"2"}},
				"/api/task/rate-limit/side.add":          {"workername": {node}, "ratelimit": {"100/m"}},
				"/api/task/timeout/side.sleep":           {"workername": {node}, "soft": {"5"}, "hard": {"6"}},
				"/api/worker/queue/add-consumer/" + node: {"queue": {"extra"}},
			} {
				f.post(path, form)
			}
			celerytest.Eventually(t, "four slots, another queue and the rate limit", func() bool {
				w := f.worker(node)
				return w.Stats.Pool.Most == 4 && len(w.Stats.Pool.Processes) == 4 && len(w.ActiveQueues) == 2 &&
					slices.Contains(w.Registered, "side.add [rate_limit=100/m]")
			})
			f.post("/api/worker/pool/shrink/"+node, url.Values{"n": {"3"}})
			f.post("/api/worker/queue/cancel-consumer/"+node, url.Values{"queue": {"extra"}})
			celerytest.Eventually(t, "one slot and one queue", func() bool {
				w := f.worker(node)
				return len(w.Stats.Pool.Processes) == 1 && len(w.ActiveQueues) == 1
			})

			begun := time.Now()
			sameNumbers(t, f, env)
			metrics, err := f.request("GET", "/metrics", nil)
			if err != nil || !strings.Contains(metrics, `flower_worker_online{worker="n@test"} 1.0`) ||
				!strings.Contains(metrics, `flower_events_total{task="side.add",type="task-succeeded",worker="n@test"} 1.0`) ||
				!strings.Contains(metrics, `flower_events_total{task="side.add",type="task-received",worker="n@test"} 3.0`) {
				t.Errorf("metrics after %s: %v\n%s", time.Since(begun), err, metrics)
			}
			f.post("/api/worker/shutdown/"+node, nil)
			if status := worker.Wait(); status != 0 {
				t.Errorf("exit status %d after shutdown", status)
			}
			celerytest.Eventually(t, "the node to be offline", func() bool {
				body, err := f.request("GET", "/metrics", nil)
				return err == nil && strings.Contains(body, `flower_worker_online{worker="n@test"} 0.0`)
			})
		})
	}
}

// sameNumbers compares what Flower has counted from events with what the node has counted.
func sameNumbers(t *testing.T, f *flower, env []string) {
	t.Helper()
	node := *f
	for _, line := range env {
		if port, is := strings.CutPrefix(line, "PORT="); is {
			node.base = "http://127.0.0.1:" + port
		}
	}
	kinds := map[string]string{"success": "succeeded", "failure": "failed", "revoked": "revoked"}
	ours, err := node.request("GET", "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for line := range strings.Lines(ours) {
		var outcome, task string
		var count float64
		line = strings.NewReplacer("{", " ", "}", "", `",`, `" `).Replace(line)
		if n, _ := fmt.Sscanf(line, "agensium_tasks_total outcome=%q task=%q %g", &outcome, &task, &count); n != 3 {
			continue
		}
		compared++
		want := fmt.Sprintf(`flower_events_total{task=%q,type="task-%s",worker="n@test"} %.1f`, task, kinds[outcome], count)
		celerytest.Eventually(t, "Flower to say "+want, func() bool {
			theirs, err := f.request("GET", "/metrics", nil)
			return err == nil && strings.Contains(theirs, want)
		})
	}
	if compared != 4 { // add: success, failure, revoked; sleep: revoked
		t.Errorf("%d numbers were compared:\n%s", compared, ours)
	}
}

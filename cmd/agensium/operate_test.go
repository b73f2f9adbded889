package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/supervisor"
)

// program builds agensium.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agensium")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// answer asks a node's admin server; 0 if it does not answer.
func answer(address, path string) (int, string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: celerytest.Backstop}
	resp, err := client.Get("http://" + address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// told runs a command of this program and returns what it printed.
func told(t *testing.T, args ...string) (status int, out string) {
	t.Helper()
	var buf bytes.Buffer
	status = run(t.Context(), args, stdio{in: strings.NewReader(""), out: &buf, err: &buf})
	return status, buf.String()
}

// TestOperation is a node's life as platforms and people see it: it starts, consumes, loses its broker, finds it again, drains.
func TestOperation(t *testing.T) {
	python := celerytest.Venv(t, "celery-latest")
	const secret = "s3cret-of-redis"
	redis := celerytest.StartRedis(t, "--requirepass", secret)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	until := func(line string) {
		t.Helper()
		b := make([]byte, 4096)
		for {
			_ = manager.SetReadDeadline(time.Now().Add(celerytest.Backstop))
			n, err := manager.Read(b)
			if err != nil {
				t.Fatalf("wait for %s: %v", line, err)
			}
			for got := range strings.SplitSeq(string(b[:n]), "\n") {
				if strings.HasPrefix(got, line) {
					return
				}
			}
		}
	}
	url := fmt.Sprintf("redis://:%s@%s/0", secret, redis.Addr())
	apps, err := filepath.Abs("testdata/e2e")
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", celerytest.FreePort(t))
	_, port, _ := net.SplitHostPort(address)
	env := []string{
		"TEST_BROKER=" + url, "TEST_BACKEND=" + url, "VIRTUAL_ENV=" + filepath.Dir(filepath.Dir(python)), "PORT=" + port,
		"NOTIFY_SOCKET=" + manager.LocalAddr().String(), "WATCHDOG_USEC=60000000", "AGENSIUM_CONFIG=", "CELERY_BROKER_URL=", "REDIS_URL=",
	}
	exe := program(t)
	worker := celerytest.StartProcess(t, apps, env, exe, "-A", "proj:app", "worker", "-c", "2")
	celerytest.Eventually(t, "the admin server, while the application is imported or later", func() bool {
		code, _ := answer(address, "/livez")
		return code == 200
	})
	until("READY=1")
	if status, out := told(t, "health", "--address", address); status != 0 || out != "consuming: celery\n" {
		t.Errorf("health %d %q", status, out)
	}

	send := func(script string) {
		t.Helper()
		celerytest.RunPython(t, python, "import sys; sys.path.insert(0, "+fmt.Sprintf("%q", apps)+")\nimport proj\n"+script, env...)
	}
	send("assert proj.add.delay(1, 2).get(timeout=30) == 3\nproj.fail.delay('x').get(timeout=30, propagate=False)\nproj.sleep.delay(600)\nproj.add.apply_async((1, 2), countdown=600)")
	var st supervisor.Status
	celerytest.Eventually(t, "a task in progress in the status", func() bool {
		_, body := answer(address, "/status")
		return json.Unmarshal([]byte(body), &st) == nil && st.Tasks.Running == 1 && st.Broker.Parked == 1 && st.Slots.States["idle"] == 1
	})
	if st.Slots.Target != 2 || st.Slots.Reason != "target 2: fixed at 2" || len(st.Nodes) != 1 || !st.Nodes[0].Alive || len(st.Queues) != 1 {
		t.Errorf("status %+v", st)
	}
	var metrics string
	for _, want := range []string{
		`agensium_tasks_total{outcome="success",task="proj.add"} 1`, `agensium_tasks_total{outcome="failure",task="proj.fail"} 1`,
		`agensium_task_run_seconds_count{task="proj.add"} 1`, `agensium_slots{state="busy"} 1`, `agensium_slots{state="idle"} 1`,
		`agensium_ready 1`, `agensium_messages_total{event="parked"} 1`, "agensium_child_start_seconds_count 2",
	} {
		celerytest.Eventually(t, "the line "+want, func() bool { // an end is counted after its result is stored
			_, metrics = answer(address, "/metrics")
			return strings.Contains(metrics, want+"\n")
		})
	}
	_, text := told(t, "status", "--address", address)
	for _, want := range []string{"phase      consuming: celery", "directory  " + apps, "target 2: fixed at 2", "proj.sleep[", "nodes:"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	_, document := told(t, "status", "--json", "--address", address)
	for name, shown := range map[string]string{"metrics": metrics, "status": document, "text": text, "log": worker.Output()} {
		if strings.Contains(shown, secret) {
			t.Errorf("the password is in the %s:\n%s", name, shown)
		}
	}

	redis.Stop()
	until("STATUS=no broker: unreachable")
	if code, body := answer(address, "/readyz"); code != 503 || !strings.HasPrefix(body, "no broker: unreachable") {
		t.Errorf("readyz without a broker: %d %q", code, body)
	}
	if code, body := answer(address, "/livez"); code != 200 {
		t.Errorf("livez without a broker: %d %q", code, body)
	}
	if status, out := told(t, "health", "--address", address); status != 1 || !strings.Contains(out, "no broker") || strings.Count(out, "\n") != 1 {
		t.Errorf("health %d %q", status, out)
	}
	redis.Start()
	until("STATUS=consuming: celery")

	worker.Signal(15)
	until("STOPPING=1")
	if code, body := answer(address, "/readyz"); code != 503 || body != "draining: signal SIGTERM\n" {
		t.Errorf("readyz while it drains: %d %q", code, body)
	}
	if code, _ := answer(address, "/livez"); code != 200 {
		t.Errorf("livez while it drains: %d", code)
	}
	worker.Signal(3) // do not wait for the long task
	if status := worker.Wait(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if status, out := told(t, "health", "--address", address); status != 1 || !strings.Contains(out, "no node answers on") {
		t.Errorf("health when it is gone: %d %q", status, out)
	}
	if status, out := told(t, "status", "--address", address); status != 1 || !strings.Contains(out, "hint:") {
		t.Errorf("status when it is gone: %d %q", status, out)
	}
}

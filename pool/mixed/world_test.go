package mixed_test

import (
	"bufio"
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/backend"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/client"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/command"
	"github.com/agensium/agensium/pool/handler"
	"github.com/agensium/agensium/pool/mixed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

//go:embed testdata/app.py testdata/client.py
var sources embed.FS

// world is a Redis, a worker of real Celery on the queue py, with one process, so that it stores how an attempt ended before it begins the next, and slots of ours on the queues go and cmd.
type world struct {
	t      *testing.T
	redis  *celerytest.Redis
	python string
	dir    string
	node   string
	client pythonClient
}

func newWorld(t *testing.T, venv string) *world {
	w := &world{t: t, python: celerytest.Venv(t, venv), redis: celerytest.StartRedis(t), dir: t.TempDir(), node: "go@test"}
	for _, name := range []string{"app.py", "client.py"} {
		text, err := sources.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	worker := celerytest.StartProcess(t, w.dir, w.env(), w.python, "-m", "celery", "-A", "app", "worker", "-c", "1", "-Q", "py", "-n", "py@test", "-l", "INFO", "--without-mingle", "--without-gossip")
	celerytest.Eventually(t, "worker of Celery is ready", func() bool { return strings.Contains(worker.Output(), " ready.") })
	t.Cleanup(worker.Kill)
	w.serve("go")
	w.serve("cmd")
	w.client = startClient(t, w)
	return w
}

// pythonClient is testdata/client.py, running.
type pythonClient struct {
	code    io.Writer
	answers *bufio.Scanner
}

func startClient(t *testing.T, w *world) pythonClient {
	cmd := exec.Command(w.python, "client.py")
	cmd.Dir, cmd.Env = w.dir, w.env()
	said := &bytes.Buffer{}
	cmd.Stderr = said
	code, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	answers, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		code.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("client: %v\n%s", err, said)
		}
	})
	return pythonClient{code, bufio.NewScanner(answers)}
}

func (w *world) env() []string {
	return append(os.Environ(), "BROKER="+w.redis.URL(0), "RESULTS="+w.redis.URL(1), "PYTHONPATH="+w.dir, "PYTHONDONTWRITEBYTECODE=1")
}

// serve runs two slots on a queue until the test ends.
func (w *world) serve(queue string) {
	broker, results := w.redis.Client(0), w.redis.Client(1)
	producer := client.NewProducer(broker, client.ProducerOptions{})
	sender := celery.NewSender()
	sender.Queue = "py"
	log := hclog.New(&hclog.LoggerOptions{Name: queue, Level: hclog.Debug, Output: testLog{w.t}})
	record, err := backend.New(backend.Options{Results: results, Publisher: producer, Sender: sender, Expires: time.Hour, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	handlers, err := handler.New(handler.Options{Mux: goTasks(), Recorder: record, Node: w.node, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	commands, err := command.New(command.Options{Commands: w.commands(), Recorder: record, Node: w.node, Log: log})
	if err != nil {
		w.t.Fatal(err)
	}
	route := mixed.Route{Name: "go", Knows: func(task string) bool { return handlers.Mux.Lookup(task) != nil }, Factory: handlers}
	if queue == "cmd" {
		route = mixed.Route{Name: "command", Knows: func(task string) bool { return commands.Lookup(task) != nil }, Factory: commands}
	}
	factory := &mixed.Factory{Routes: []mixed.Route{route}}
	ctx, cancel := context.WithCancel(context.Background())
	var slots sync.WaitGroup
	for slot := range 2 {
		slots.Go(func() { w.slot(ctx, factory, slot, queue, broker, results, commands) })
	}
	w.t.Cleanup(func() { cancel(); slots.Wait() })
}

// slot is the least that a broker and a supervisor do.
func (w *world) slot(ctx context.Context, factory pool.Factory, slot int, queue string, broker, results *redis.Client, commands *command.Commands) {
	executor, err := factory.Start(ctx, slot)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer func() {
		if err := executor.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	}()
	for ctx.Err() == nil {
		popped, err := broker.BRPop(ctx, time.Second, queue).Result()
		if err != nil {
			continue // nothing there, or the end of the test
		}
		raw := []byte(popped[1])
		task, err := celery.Decode(raw, nil)
		if err != nil {
			w.t.Error(err)
			continue
		}
		if wait := time.Until(task.ETA); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		out, err := w.execute(ctx, executor, pool.Job{Task: task, Delivery: &celery.Delivery{Queue: queue, Raw: raw}, Soft: task.SoftTimeLimit, Hard: task.TimeLimit})
		if err != nil && ctx.Err() == nil {
			w.t.Errorf("execute %s: %v", task.Name, err)
		}
		for _, r := range out.Results {
			if out.State == celery.StateRetry { // the next attempt may have ended by now, in the other slot
				results.SetNX(ctx, r.Key, r.Document, time.Hour)
			} else {
				results.Set(ctx, r.Key, r.Document, time.Hour)
			}
			results.Publish(ctx, r.Key, r.Document)
		}
	}
}

func (w *world) execute(ctx context.Context, executor pool.Executor, job pool.Job) (celery.Outcome, error) {
	out, err := executor.Execute(ctx, job)
	if out.State != celery.StateLost {
		return out, err
	}
	job.Verdict = &celery.Verdict{State: celery.StateFailure, Type: "WorkerLostError", Module: "billiard.exceptions", Args: []any{out.Loss.Detail}, CallBack: true}
	if out.Loss.Cause == celery.LossHardLimit {
		job.Verdict.Type, job.Verdict.Args = "TimeLimitExceeded", []any{out.Loss.Limit.Seconds()}
	}
	return executor.Execute(ctx, job)
}

type requestInfo struct {
	ID      string `json:"id"`
	Root    string `json:"root"`
	Parent  string `json:"parent"`
	Group   string `json:"group"`
	Retries int    `json:"retries"`
	Tenant  any    `json:"tenant"`
}

// goTasks are the tasks of testdata/app.py in Go.
func goTasks() *celery.Mux {
	mux := celery.NewMux()
	celery.Handle(mux, "c.add", func(x, y int) int { return x + y }, celery.Params("x", "y"))
	celery.Handle(mux, "c.echo", func(v any) any { return v }, celery.Params("v"))
	celery.Handle(mux, "c.tsum", func(xs []int) (sum int) {
		for _, x := range xs {
			sum += x
		}
		return sum
	})
	celery.Handle(mux, "c.fail", func(...any) error { return celery.Raise("ValueError", "boom", 42) })
	celery.Handle(mux, "c.retry", func(ctx context.Context, times int) (string, error) {
		if r := celery.RequestFrom(ctx); r.Retries < times {
			return "", celery.Retry(celery.Raise("KeyError", "not yet"), 0)
		}
		return "done", nil
	}, celery.MaxRetries(2))
	celery.Handle(mux, "c.sleep", func(ctx context.Context, seconds time.Duration) error {
		select {
		case <-time.After(seconds):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	exit := func(status int, said string) error {
		return celery.Raise("subprocess.CalledProcessError", status, "sh", nil, said)
	}
	celery.Handle(mux, "c.exits", func(...any) error { return exit(3, "oh") })
	celery.Handle(mux, "c.givesup", func() error { return celery.Retry(exit(75, "busy"), 0) }, celery.MaxRetries(1))
	celery.Handle(mux, "c.ignored", func() error { return celery.Ignore() })
	celery.Handle(mux, "c.rejects", func() error { return celery.Reject(false) })
	celery.Handle(mux, "c.noresult", func(x int) int { return x }, celery.IgnoreResult())
	celery.Handle(mux, "c.started", func() string { return "ok" }, celery.TrackStarted())
	celery.Handle(mux, "c.request", func(ctx context.Context) (requestInfo, error) {
		r := celery.RequestFrom(ctx)
		headers, err := r.Headers()
		return requestInfo{r.ID, r.Root(), r.ParentID, r.Group, r.Retries, headers["x-tenant"]}, err
	})
	celery.Handle(mux, "c.errback", func(id string) string { return "errback of " + id })
	celery.Handle(mux, "c.types", func(v []any) []any { return v })
	return mux
}

// commands are some of them as programs.
func (w *world) commands() []command.Spec {
	python := func(body string) []string {
		return []string{w.python, "-c", "import json, sys\nm = json.load(sys.stdin)\na, k = m['args'], m['kwargs']\n" + body}
	}
	spec := func(task string, run []string) command.Spec {
		return command.Spec{Task: task, Run: run, Input: "json", Result: "json", MaxOutput: 1 << 20, RetryOn: []int{75}, MaxRetries: 2}
	}
	started := spec("c.started", python(`print('"ok"')`))
	started.Options.TrackStarted = true
	givesup := spec("c.givesup", []string{"sh", "-c", "echo busy >&2; exit 75"})
	givesup.MaxRetries = 1
	silent := spec("c.noresult", python("print(a[0])"))
	silent.Options.IgnoreResult = true
	return []command.Spec{
		spec("c.add", python("print((a + [k.get('y')])[0] + (a + [k.get('y')])[1])")),
		spec("c.echo", python("json.dump(a[0] if a else k['v'], sys.stdout)")),
		spec("c.tsum", python("print(sum(a[0]))")),
		spec("c.retry", python("sys.exit(75) if m['retries'] < a[0] else print('\"done\"')")),
		spec("c.types", python("json.dump(a[0], sys.stdout)")),
		spec("c.exits", []string{"sh", "-c", "echo oh >&2; exit 3"}),
		givesup, started, silent,
	}
}

// call has the client run Python code with the application as app and the signature maker s(name, queue, *args), and reads
// what that leaves in `out`. The code bounds its own waits.
func (w *world) call(t *testing.T, code string, into any) {
	t.Helper()
	line, err := json.Marshal(code)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.code.Write(append(line, '\n')); err != nil {
		t.Fatalf("client: %v", err)
	}
	if !w.client.answers.Scan() {
		t.Fatalf("client ended: %v", w.client.answers.Err())
	}
	var answer struct {
		Out   json.RawMessage `json:"out"`
		Error string          `json:"error"`
	}
	if err := json.Unmarshal(w.client.answers.Bytes(), &answer); err != nil {
		t.Fatalf("client printed %s: %v", w.client.answers.Bytes(), err)
	}
	if answer.Error != "" {
		t.Fatal(answer.Error)
	}
	if err := json.Unmarshal(answer.Out, into); err != nil {
		t.Fatal(err)
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/redisconn"
)

// site is a place where a worker works: a Redis of its own, a directory with an application, an interpreter that has Celery, and
// the environment of both client and worker.
type site struct {
	t      testing.TB
	redis  *celerytest.Redis
	python string
	dir    string
	env    []string
}

// newSite copies the application of the end-to-end tests into a directory. The first database of a new Redis is the broker, the
// second the result store.
func newSite(t testing.TB, venv string) *site {
	t.Helper()
	s := &site{t: t, python: celerytest.Venv(t, venv), redis: celerytest.StartRedis(t), dir: t.TempDir()}
	s.env = []string{
		"TEST_BROKER=" + s.redis.URL(0), "TEST_BACKEND=" + s.redis.URL(1),
		"VIRTUAL_ENV=" + filepath.Dir(filepath.Dir(s.python)), "C_FORCE_ROOT=1", "PYTHONDONTWRITEBYTECODE=1",
		"STATE_DIRECTORY=" + t.TempDir(),
	}
	for _, name := range []string{"proj.py", "scenarios.py"} {
		text, err := os.ReadFile(filepath.Join("testdata", "e2e", name))
		if err != nil {
			t.Fatal(err)
		}
		s.write(name, string(text))
	}
	s.write("agensium.toml", "[admin]\nlisten = \"\"\n") // several nodes run side by side
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// set adds variables to the environment of what is started from now on.
func (s *site) set(env ...string) *site {
	s.env = append(s.env, env...)
	return s
}

// conf sets settings of the application.
func (s *site) conf(settings map[string]any) *site {
	s.t.Helper()
	text, err := json.Marshal(settings)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.set("TEST_CONF=" + string(text))
}

// start starts our program with any arguments.
func (s *site) start(args ...string) *celerytest.Process {
	s.t.Helper()
	return celerytest.StartProcess(s.t, s.dir, s.env, "agensium", args...)
}

// node starts our worker and returns when it is ready.
func (s *site) node(args ...string) *celerytest.Process {
	s.t.Helper()
	p := s.start(append([]string{"worker", "-A", "proj"}, args...)...)
	s.printed(p, " ready.")
	return p
}

// stock starts Celery's own worker and returns when it is ready.
func (s *site) stock(args ...string) *celerytest.Process {
	s.t.Helper()
	args = append([]string{"-m", "celery", "-A", "proj", "worker", "-l", "info", "--without-mingle", "--without-gossip"}, args...)
	p := celerytest.StartProcess(s.t, s.dir, s.env, s.python, args...)
	s.printed(p, " ready.")
	return p
}

// printed waits until a process has printed something.
func (s *site) printed(p *celerytest.Process, text string) {
	s.t.Helper()
	celerytest.Eventually(s.t, "the process to print "+text, func() bool {
		ended := gone(p) // looked at first: then the output is complete
		if strings.Contains(p.Output(), text) {
			return true
		}
		if ended {
			s.t.Fatalf("ended before it printed %q", text)
		}
		return false
	})
}

// gone tells whether a process has ended and its output is complete.
func gone(p *celerytest.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// client runs scenarios with a real Celery client and returns what became of each.
func (s *site) client(names ...string) map[string]any {
	s.t.Helper()
	var found map[string]any
	s.run(&found, append([]string{"scenarios.py"}, names...)...)
	return found
}

// script runs Python code beside the application and returns what it prints.
func (s *site) script(code string) string {
	s.t.Helper()
	return string(s.run(nil, "-c", code))
}

// run runs Python to its end; with into, what it prints is JSON.
func (s *site) run(into any, args ...string) []byte {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 4*celerytest.Backstop)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.python, args...)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.env...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err == nil && into != nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		s.t.Fatalf("python %s: %v\n%s", strings.Join(args, " "), err, complaints.String())
	}
	return out
}

// broker is a client of the database of the messages, results one of the database of the results.
func (s *site) broker() *redis.Client  { return s.redis.Client(0) }
func (s *site) results() *redis.Client { return s.redis.Client(1) }

// state is what is stored of a task, empty if nothing is.
func (s *site) state(id string) string {
	s.t.Helper()
	var doc struct{ Status string }
	raw, err := s.results().Get(s.t.Context(), "celery-task-meta-"+id).Bytes()
	if err == redis.Nil {
		return ""
	}
	if err == nil {
		err = json.Unmarshal(raw, &doc)
	}
	if err != nil {
		s.t.Fatalf("result of %s: %v: %s", id, err, raw)
	}
	return doc.Status
}

// notes are the traces that tasks left under a key.
func (s *site) notes(key string) []string {
	s.t.Helper()
	all, err := s.results().LRange(s.t.Context(), "note:"+key, 0, -1).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// noted waits until tasks have left that many traces.
func (s *site) noted(key string, n int) []string {
	s.t.Helper()
	celerytest.Eventually(s.t, "traces of tasks", func() bool { return len(s.notes(key)) >= n })
	return s.notes(key)
}

// left are the keys of the broker that hold work: queues, claims, parked tasks.
func (s *site) left() []string {
	s.t.Helper()
	var left []string
	all, err := s.broker().Keys(s.t.Context(), "*").Result()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, key := range all {
		if !bookkeeping.MatchString(key) {
			left = append(left, key)
		}
	}
	return left
}

var bookkeeping = regexp.MustCompile(`^(_kombu\.binding|agensium:(nodes|revoked|dead|deaths|lease|presence))|pidbox`)

// deadLetters are the messages that will not be delivered again.
func (s *site) deadLetters() []broker.DeadLetter {
	s.t.Helper()
	target, err := redisconn.Parse(s.redis.URL(0), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	graves := broker.OpenDeadLetters(target, "")
	defer graves.Close()
	letters, err := graves.List(s.t.Context(), broker.DeadFilter{})
	if err != nil {
		s.t.Fatal(err)
	}
	return letters
}

// cleanEnd ends a node and expects an orderly end.
func cleanEnd(t testing.TB, p *celerytest.Process) {
	t.Helper()
	if status := p.Terminate(); status != exitOK {
		t.Errorf("exit status %d after SIGTERM, want 0", status)
	}
}

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

// gated is an application whose task ends when the test lets it.
const gated = `
import os
import redis
from celery import Celery

app = Celery('gated', broker=os.environ['TEST_BROKER'], backend=os.environ['TEST_BACKEND'])
app.conf.update(task_create_missing_queues=True)


@app.task
def hold(name):
    r = redis.Redis.from_url(os.environ['TEST_BACKEND'], socket_timeout=None)
    r.rpush('note:began on ' + hold.request.hostname, name)
    r.rpush('note:began', name)
    r.blpop('go:' + name)
    r.rpush('note:ended', name + ' ' + os.environ.get('GREETING', 'none'))
`

// gate is a node with that application.
type gate struct {
	*site
	worker *celerytest.Process
}

func newGate(t *testing.T, settings string, args ...string) *gate {
	t.Helper()
	g := &gate{site: newSite(t, "celery-latest")}
	g.write("gated.py", gated)
	g.settings(settings)
	g.worker = g.start(append([]string{"worker", "-A", "gated"}, args...)...)
	return g
}

// settings replaces the file as editors do.
func (g *gate) settings(text string) {
	g.t.Helper()
	if text != "" && !strings.Contains(text, "[admin]") {
		text = "[admin]\nlisten = \"\"\n" + text
	}
	g.write("agensium.toml.new", text)
	if err := os.Rename(filepath.Join(g.dir, "agensium.toml.new"), filepath.Join(g.dir, "agensium.toml")); err != nil {
		g.t.Fatal(err)
	}
}

// has tells whether something has written the file.
func (g *gate) has(name string) bool {
	_, err := os.Stat(filepath.Join(g.dir, name))
	return err == nil
}

func (g *gate) send(queue string, names ...string) {
	g.t.Helper()
	g.script("from gated import hold\nfor name in '" + strings.Join(names, " ") + "'.split(): hold.apply_async((name,), queue='" + queue + "', task_id=name)")
}

// finish lets tasks end.
func (g *gate) finish(names ...string) {
	g.t.Helper()
	for _, name := range names {
		if err := g.results().RPush(g.t.Context(), "go:"+name, 1).Err(); err != nil {
			g.t.Fatal(err)
		}
	}
}

func TestSettingsAreTakenOverWhileTasksRun(t *testing.T) {
	g := newGate(t, "[pool]\nconcurrency = 1\n[broker]\nqueues = ['celery']\n")
	g.printed(g.worker, " ready.")
	g.send("celery", "first")
	g.noted("began", 1)
	g.settings("[pool]\nconcurrency = 3\nmax_tasks_per_child = 1\n[scaling]\nslo = 0\n[broker]\nqueues = ['other', 'celery']\n[tasks]\ntime_limit = '5s'\n[log]\nlevel = 'debug'\n")
	g.printed(g.worker, `key=tasks.time_limit old="\"0s\"" new="\"5s\"" effect=live`)
	g.printed(g.worker, `key=pool.concurrency old=1 new=3 effect=live`)
	g.printed(g.worker, `key=broker.queues old="[\"celery\"]" new="[\"other\", \"celery\"]" effect=live`)
	g.send("other", "second", "third") // beside the first: more slots, and another queue
	g.noted("began", 3)
	celerytest.Eventually(t, "the new limit for the new tasks", func() bool { return g.state("second") == "FAILURE" && g.state("third") == "FAILURE" })
	if state := g.state("first"); state != "" {
		t.Errorf("the task that ran before has the new limit: %s", state)
	}
	g.finish("first")
	celerytest.Eventually(t, "the first task's end", func() bool { return g.state("first") == "SUCCESS" })

	g.settings("[broker]\nqueues = ['other']\n")
	g.printed(g.worker, `key=broker.queues old="[\"other\", \"celery\"]" new="[\"other\"]"`)
	g.send("celery", "left")
	g.send("other", "fourth")
	g.noted("began", 4)
	if began := g.notes("began"); began[3] != "fourth" {
		t.Errorf("began %q: a queue that was left is consumed", began)
	}
	g.finish("fourth")
	cleanEnd(t, g.worker)
}

// What stands in the file was imposed on the application; what it says itself shows when it is imported anew, and is logged all the same.
func TestASettingThatIsTakenAwayIsLogged(t *testing.T) {
	g := newGate(t, "[results]\nexpires = '2h'\n[tasks]\nrate_limit = '9/s'\n")
	g.printed(g.worker, " ready.")
	g.settings("[log]\nargs = true\n")
	g.printed(g.worker, `key=results.expires old="\"2h\"" new="\"1d\"" effect=generation origin="app (result_expires)"`)
	g.printed(g.worker, `key=tasks.rate_limit old="\"9/s\"" new="\"\"" effect=live origin=default`)
	cleanEnd(t, g.worker)
}

func TestABadFileChangesNothing(t *testing.T) {
	g := newGate(t, "[pool]\nconcurrency = 1\n")
	g.printed(g.worker, " ready.")
	for _, bad := range []struct{ text, told string }{
		{"[pool]\nconcurrency = 0\n", `line=4 key=pool.concurrency error="is 0: allowed is`},
		{"[pool]\nconcurency = 2\n", `line=4 key=pool.concurency error="is unknown" hint="did you mean pool.concurrency?"`},
		{"[pool]\nconcurrency = \n", `line=4 key=pool.concurrency error="expected value`},
		{"", "the file is empty"},
	} {
		g.settings(bad.text)
		g.printed(g.worker, bad.told)
	}
	if strings.Contains(g.worker.Output(), "setting changed") {
		t.Error("a bad file changed something")
	}
	g.send("celery", "a")
	g.noted("began", 1)
	g.finish("a")
	g.settings("[pool]\nconcurrency = 2\n")
	g.printed(g.worker, "key=pool.concurrency old=1 new=2")
	cleanEnd(t, g.worker)
}

// Every file that is bad in a way of its own is refused by a node with a task running, and changes nothing; then come many good ones.
func TestBadFilesOfEveryKind(t *testing.T) {
	const good = "[pool]\nconcurrency = 1\n"
	g := newGate(t, good)
	g.printed(g.worker, " ready.")
	g.send("celery", "a")
	g.noted("began", 1)
	bad, err := filepath.Glob("../../supervisor/config/testdata/bad/*.toml")
	if err != nil || len(bad) == 0 {
		t.Fatal(err, bad)
	}
	refused := func(n int) {
		t.Helper()
		celerytest.Eventually(t, "a refusal", func() bool { return lines(g.worker, "reload refused") > n })
	}
	for _, path := range bad {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n := lines(g.worker, "reload refused")
		g.write("agensium.toml.new", string(text))
		if err := os.Rename(filepath.Join(g.dir, "agensium.toml.new"), filepath.Join(g.dir, "agensium.toml")); err != nil {
			t.Fatal(err)
		}
		refused(n)
		g.settings(good)
		g.worker.Signal(syscall.SIGHUP)
	}
	for name, make := range map[string]func(path string) error{
		"a directory":       func(path string) error { return os.Mkdir(path, 0o700) },
		"a link to nowhere": func(path string) error { return os.Symlink("nowhere", path) },
		"nothing":           func(string) error { return nil },
	} {
		n := lines(g.worker, "reload refused")
		path := filepath.Join(g.dir, "agensium.toml")
		if err := errors.Join(os.Remove(path), make(path)); err != nil {
			t.Fatal(name, err)
		}
		g.worker.Signal(syscall.SIGHUP)
		refused(n)
		_ = os.Remove(path)
		g.settings(good)
	}
	if lines(g.worker, "setting changed") > 0 {
		t.Error("a bad file changed something")
	}
	for i := range 50 { // in place, as fast as it goes
		g.write("agensium.toml", fmt.Sprintf("[admin]\nlisten = \"\"\n[pool]\nconcurrency = %d\n", 2+i))
	}
	g.printed(g.worker, "new=51 effect=live")
	g.finish("a")
	celerytest.Eventually(t, "the end of the task that ran all the time", func() bool { return g.state("a") == "SUCCESS" })
	cleanEnd(t, g.worker)
}

func TestANewGenerationTakesOver(t *testing.T) {
	g := newGate(t, "[pool]\nconcurrency = 2\n[scaling]\nmin = 2\n[python.environment]\nGREETING = 'old'\n")
	g.printed(g.worker, " ready.")
	g.send("celery", "first")
	g.noted("began", 1)
	g.settings("[pool]\nconcurrency = 2\n[scaling]\nmin = 2\n[python.environment]\nGREETING = 'new'\n")
	g.printed(g.worker, "key=python.environment.GREETING")
	g.send("celery", "second")
	g.noted("began", 2)
	g.finish("second")
	g.noted("ended", 1)
	if strings.Contains(g.worker.Output(), "old generation ended") {
		t.Error("the old generation ended before its task")
	}
	g.finish("first")
	if ended := g.noted("ended", 2); ended[0] != "second new" || ended[1] != "first old" {
		t.Errorf("ended: %q", ended)
	}
	g.printed(g.worker, "old generation ended")

	g.settings("[pool]\nconcurrency = 1\n[python]\napp = 'gated'\ninclude = ['missing_module']\n")
	g.printed(g.worker, "new generation did not start")
	g.send("celery", "third")
	g.noted("began", 3)
	g.finish("third")
	if ended := g.noted("ended", 3); ended[2] != "third new" {
		t.Errorf("after a generation that did not start: %q", ended)
	}
	if strings.Contains(g.worker.Output(), "key=pool.concurrency") {
		t.Error("a part of the settings was taken over although the new generation did not start")
	}
	cleanEnd(t, g.worker)
}

func TestWhatNeedsARestartIsSaid(t *testing.T) {
	g := newGate(t, "[broker]\nmax_blocked = 4\n")
	g.printed(g.worker, " ready.")
	g.settings("[broker]\nurl = 'redis://localhost:1/0'\nmax_blocked = 4\n[python.environment]\nGREETING = 'new'\n")
	g.printed(g.worker, "key=broker.url")
	g.printed(g.worker, "effect=restart")
	g.printed(g.worker, "old generation ended")
	g.send("celery", "a") // the broker that runs is still the one that counts, also for the new generation
	g.noted("began", 1)
	g.finish("a")
	g.noted("ended", 1)
	cleanEnd(t, g.worker)
}

func TestConsumingCanBeSwitched(t *testing.T) {
	g := newGate(t, "[broker]\nconsume = false\n")
	g.printed(g.worker, "consuming nothing")
	g.send("celery", "a")
	g.settings("[broker]\nconsume = true\n")
	g.printed(g.worker, " ready.")
	g.noted("began", 1)
	g.settings("[broker]\nconsume = false\n")
	g.printed(g.worker, "key=broker.consume old=true new=false")
	g.finish("a")
	celerytest.Eventually(t, "the running task's end", func() bool { return g.state("a") == "SUCCESS" })
	g.printed(g.worker, "target 0")
	g.send("celery", "b")
	if began := g.notes("began"); len(began) != 1 {
		t.Errorf("began %q while nothing is to be consumed", began)
	}
	g.settings("# the defaults\n")
	g.noted("began", 2)
	g.finish("b")
	celerytest.Eventually(t, "the second task's end", func() bool { return g.state("b") == "SUCCESS" })
	cleanEnd(t, g.worker)
}

// Celery starts anew at a HUP, which is how a deployment in place has it take the new code.
func TestAHangupTakesSettingsAndApplicationAnew(t *testing.T) {
	g := newGate(t, "[pool]\nconcurrency = 2\n[scaling]\nmin = 2\n")
	g.printed(g.worker, " ready.")
	g.send("celery", "first")
	g.noted("began", 1)
	deployed := strings.Replace(gated, "'none'", "'deployed'", 1)
	g.write("gated.py", deployed)
	g.worker.Signal(syscall.SIGHUP)
	g.printed(g.worker, `importing the application anew: reason="signal SIGHUP"`)
	g.printed(g.worker, `settings are as they were: reason="signal SIGHUP"`)
	g.send("celery", "second")
	g.noted("began", 2)
	g.finish("second")
	g.noted("ended", 1)
	g.finish("first")
	if ended := g.noted("ended", 2); ended[0] != "second deployed" || ended[1] != "first none" {
		t.Errorf("ended: %q", ended)
	}
	g.printed(g.worker, "old generation ended")

	g.write("gated.py", "import no_such_module")
	g.worker.Signal(syscall.SIGHUP)
	g.printed(g.worker, "new generation did not start")
	g.write("gated.py", deployed) // the client needs it
	g.send("celery", "third")
	g.noted("began", 3)
	g.finish("third")
	if ended := g.noted("ended", 3); ended[2] != "third deployed" {
		t.Errorf("after an application that cannot be imported: %q", ended)
	}
	cleanEnd(t, g.worker)
}

// Who deploys learns whether the new code is in place: from the exit status, which systemd hands on.
func TestReloadWaitsAndTells(t *testing.T) {
	g := newGate(t, "[admin]\nlisten = '127.0.0.1:0'\n[pool]\nconcurrency = 2\n[scaling]\nmin = 2\n")
	g.printed(g.worker, " ready.")
	reload := func() (int, string) {
		t.Helper()
		return told(t, "reload", "--address", g.admin())
	}
	deployed := strings.Replace(gated, "'none'", "'deployed'", 1)
	g.write("gated.py", deployed)
	if status, said := reload(); status != exitOK || !strings.Contains(said, "reloaded: process") {
		t.Fatalf("status %d: %s", status, said)
	}
	g.send("celery", "first") // at once: the new code is in place
	g.noted("began", 1)
	g.finish("first")
	if ended := g.noted("ended", 1); ended[0] != "first deployed" {
		t.Errorf("ended: %q", ended)
	}
	g.write("gated.py", "import no_such_module")
	if status, said := reload(); status != exitError || !strings.Contains(said, "reload refused") || !strings.Contains(said, "no_such_module") {
		t.Errorf("status %d: %s", status, said)
	}
	g.write("gated.py", deployed)
	g.write("agensium.toml", "[admin]\nlisten = '127.0.0.1:0'\n[pool]\nconcurency = 2\n")
	if status, said := reload(); status != exitError || !strings.Contains(said, "did you mean pool.concurrency?") {
		t.Errorf("status %d: %s", status, said)
	}

	// What is refused while the new code of an earlier reload is still imported stays refused.
	g.settings("[admin]\nlisten = '127.0.0.1:0'\n")
	g.printed(g.worker, "key=pool.concurrency old=2 new=4")
	g.write("gated.py", "import os, time\nopen('imports', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.01)\n"+deployed)
	g.worker.Signal(syscall.SIGHUP)
	celerytest.Eventually(t, "the import", func() bool { return g.has("imports") })
	g.settings("[admin]\nlisten = '127.0.0.1:0'\n[pool]\nconcurency = 3\n")
	refusals := func() int { return strings.Count(g.worker.Output(), `reload refused: reason="signal SIGHUP"`) }
	before := refusals()
	said := make(chan string)
	go func() {
		_, out := told(t, "reload", "--address", g.admin())
		said <- out
	}()
	celerytest.Eventually(t, "the reload that was asked for", func() bool { return refusals() > before })
	g.write("go", "")
	if out := <-said; !strings.Contains(out, "did you mean pool.concurrency?") {
		t.Errorf("the second reload: %s", out)
	}

	g.settings("[admin]\nlisten = '127.0.0.1:0'\n")
	g.send("celery", "second")
	g.noted("began", 2)
	address := g.admin()
	g.worker.Signal(syscall.SIGTERM)
	g.printed(g.worker, "draining")
	if status, said := told(t, "reload", "--address", address); status != exitError || !strings.Contains(said, "the node ends") {
		t.Errorf("status %d: %s", status, said)
	}
	g.finish("second")
	cleanEnd(t, g.worker)
}

// A reload that is given up because the node ends is none.
func TestAReloadThatTheEndOvertakesFails(t *testing.T) {
	g := newGate(t, "[admin]\nlisten = '127.0.0.1:0'\n")
	g.printed(g.worker, " ready.")
	g.send("celery", "first")
	g.noted("began", 1)
	g.write("gated.py", "import time\nopen('imports', 'w').close()\ntime.sleep(600)")
	address, said := g.admin(), make(chan string)
	go func() {
		_, out := told(t, "reload", "--address", address)
		said <- out
	}()
	celerytest.Eventually(t, "the import", func() bool { return g.has("imports") })
	g.worker.Signal(syscall.SIGTERM)
	if out := <-said; !strings.Contains(out, "the node ends") {
		t.Error(out)
	}
	g.finish("first")
	cleanEnd(t, g.worker)
}

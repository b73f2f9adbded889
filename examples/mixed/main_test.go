package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

// world is the example as a process of its own, on a Redis of its own.
type world struct {
	python string
	env    []string
	worker *celerytest.Process
}

func start(t *testing.T) *world {
	t.Helper()
	w := &world{python: celerytest.Venv(t, "celery-latest")}
	url := celerytest.StartRedis(t).URL(0)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(os.Environ(), "CELERY_BROKER_URL="+url, "CELERY_RESULT_BACKEND="+url, "PYTHONPATH="+here, "PYTHONDONTWRITEBYTECODE=1",
		"VIRTUAL_ENV="+filepath.Dir(filepath.Dir(w.python)), "STATE_DIRECTORY="+t.TempDir())
	program := filepath.Join(t.TempDir(), "mixed")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	w.worker = celerytest.StartProcess(t, here, w.env, program)
	celerytest.Eventually(t, "the worker is ready", func() bool { return strings.Contains(w.worker.Output(), " ready.") })
	return w
}

// call runs code of a Python client and reads the JSON that it leaves in out.
func (w *world) call(t *testing.T, code string) string {
	t.Helper()
	text := strings.TrimSpace(celerytest.RunPython(t, w.python, "import json, os\nfrom celery import chain, chord, group\nfrom tasks import *\n"+
		"def s(name, *args): return app.signature(name, args)\n"+code+"\nprint('\\n' + json.dumps(out))\n", w.env...))
	var compact json.RawMessage
	if err := json.Unmarshal([]byte(text[strings.LastIndexByte(text, '\n')+1:]), &compact); err != nil {
		t.Fatalf("read what Python printed: %v\n%s", err, text)
	}
	return string(compact)
}

// failing waits for what docs.failed was told.
const failing = `import time
def told(id):
    while True:
        value = app.backend.get("docs.failed:" + id)
        if value:
            return value.decode()
        time.sleep(0.05)
`

// Every case is Celery's canvas, sent by Celery's client, with some of the tasks in Go, in Python and in a program.
func TestCanvas(t *testing.T) {
	w := start(t)
	cases := map[string]struct{ code, want string }{
		"the chord of the example":     {`out = analyse("one two three").apply_async().get(timeout=30)`, `{"bytes": 13, "crc32": 2015744983, "parts": 3, "words": 3}`},
		"a chain out of the chord":     {`out = chain(analyse("a b"), s("docs.title")).apply_async().get(timeout=30)["title"]`, `"2 words"`},
		"group over all three":         {`out = [list(d) for d in group(s("docs.size", "x"), s("docs.words", "x"), s("docs.checksum", "x")).apply_async().get(timeout=30)]`, `[["bytes"], ["words"], ["crc32"]]`},
		"body in Python":               {`out = chord([s("docs.checksum", "a"), s("docs.size", "a")], s("docs.report")).apply_async().get(timeout=30)["bytes"]`, `1`},
		"part in Go fails":             {"r = chord([words.s('a'), s('docs.checksum')], s('docs.report')).apply_async()\nout = type(r.get(timeout=30, propagate=False)).__name__", `"ChordError"`},
		"part that is a program fails": {"r = chord([words.s('a'), s('docs.size')], s('docs.report')).apply_async()\nout = type(r.get(timeout=30, propagate=False)).__name__", `"ChordError"`},
		"errback of a task in Go":      {failing + `s("docs.checksum").apply_async(task_id="e1", link_error=failed.s())` + "\nout = told('e1')", `"TypeError('checksum() missing 1 required positional argument: 1')"`},
		"errback of a program":         {failing + `s("docs.size").apply_async(task_id="e2", link_error=failed.s())` + "\nout = told('e2').split('(')[0]", `"TypeError"`},
		"errback of a chord":           {failing + `r = chord([words.s("a"), s("docs.checksum")], s("docs.report").on_error(failed.s())).apply_async()` + "\nout = told(r.id).split('(')[0]", `"ChordError"`},
		"relations":                    {"r = chain(words.s('a b'), s('docs.title')).apply_async()\nr.get(timeout=30)\nr.parent.get(timeout=30)\nout = [r.parent.children[0].id == r.id, r.state, r.parent.state]", `[true, "SUCCESS", "SUCCESS"]`},
		"all are registered":           {"i = app.control.inspect(timeout=30, limit=1).registered()\nout = sorted(t for n in i.values() for t in n if t.startswith('docs.'))", `["docs.checksum", "docs.failed", "docs.report", "docs.size", "docs.title", "docs.words"]`},
		"revoked before it runs":       {"import time\nr = s('docs.checksum', 'a').apply_async(countdown=3600)\napp.control.revoke(r.id)\ntry:\n  r.get(timeout=30)\nexcept Exception as e:\n  out = type(e).__name__", `"TaskRevokedError"`},
		"unknown to all":               {"r = s('docs.nobody').apply_async()\nout = type(r.get(timeout=30, propagate=False)).__name__", `"NotRegistered"`},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			if got := w.call(t, test.code); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
	w.worker.Signal(syscall.SIGTERM)
	if status := w.worker.Wait(); status != 0 {
		t.Errorf("exit status %d after a drain", status)
	}
}

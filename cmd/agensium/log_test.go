package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

// record is a line of the log in JSON.
type record struct {
	Message string `json:"@message"`
	Level   string `json:"@level"`
	Module  string `json:"@module"`
	Task    string `json:"task"`
	ID      string `json:"id"`
	Slot    int    `json:"slot"`
	PID     int    `json:"pid"`
}

// TestWhatTasksPrintBecomesRecords reads the log in JSON: each line that a task prints or logs is a record that says whose it is, a
// traceback is one record, and what a task returns is not there.
func TestWhatTasksPrintBecomesRecords(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	file := filepath.Join(s.dir, "log.json")
	node := s.logging(file, "-c", "1", "--log-format", "json", "-f", file)
	id := strings.TrimSpace(s.script("import proj; r = proj.talk.delay(); r.get(timeout=60); print(r.id)"))
	cleanEnd(t, node)
	if out := node.Output(); out != "" {
		t.Errorf("said beside the records: %s", out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var records []record
	for line := range strings.Lines(string(text)) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Errorf("not JSON: %s", line)
		}
		records = append(records, r)
	}
	for _, want := range []struct{ text, level string }{
		{"printed by a task", ""}, {"an error line", ""}, {"logged by a task", "warn"}, {"with a traceback", "error"}, {"no newline at the end", ""},
		{"two lines\nat once", ""}, {"a table\nof two rows", "warn"}, {"ValueError: bad\nin two lines", ""}, {`\x1b[31mred`, ""},
	} {
		found := false
		for _, r := range records {
			if !strings.Contains(r.Message, want.text) {
				continue
			}
			found = true
			if r.Task != "proj.talk" || r.ID != id || r.Slot != 1 || r.PID == 0 || want.level != "" && r.Level != want.level {
				t.Errorf("%s: %+v", want.text, r)
			}
			if want.text == "with a traceback" && !strings.Contains(r.Message, "ZeroDivisionError: division by zero") {
				t.Errorf("the traceback is not in one record: %+v", r)
			}
			if want.text == "ValueError: bad\nin two lines" && !strings.HasPrefix(r.Message, "Traceback") {
				t.Errorf("the printed traceback is not in one record: %+v", r)
			}
		}
		if !found {
			t.Errorf("no record of %q in\n%s", want.text, text)
		}
	}
	for _, line := range []string{"Task proj.talk[" + id + "] received", "Task proj.talk[" + id + "] succeeded in "} {
		if !strings.Contains(string(text), line) {
			t.Errorf("%q is not in the log", line)
		}
	}
	if strings.Contains(string(text), "secret") {
		t.Error("the return value is in the log")
	}
}

// TestArgumentsAndResultsAreLoggedIfAsked turns both on.
func TestArgumentsAndResultsAreLoggedIfAsked(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	s.write("agensium.toml", "[admin]\nlisten = \"\"\n[log]\nargs = true\nresults = true\n")
	node := s.node("-c", "1")
	s.script("import proj; proj.echo.delay('an argument').get(timeout=60); proj.talk.delay().get(timeout=60)")
	cleanEnd(t, node)
	for _, want := range []string{"an argument", "the secret return value"} {
		if !strings.Contains(node.Output(), want) {
			t.Errorf("%q is not in the log", want)
		}
	}
}

// logging starts a worker that logs to a file and returns when it is ready.
func (s *site) logging(file string, args ...string) *celerytest.Process {
	s.t.Helper()
	p := s.start(append([]string{"worker", "-A", "proj"}, args...)...)
	celerytest.Eventually(s.t, "the log to say ready", func() bool {
		text, _ := os.ReadFile(file)
		return strings.Contains(string(text), " ready.")
	})
	return p
}

package supervisor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/supervisor/config"
)

// safeBuffer may be written by a timer while the test reads.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.FieldsFunc(s.b.String(), func(r rune) bool { return r == '\n' })
}

func plainLogger(out *safeBuffer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "agensium", Output: out, DisableTime: true})
}

func TestCalmWritesAFewAndThenHowManyItLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out safeBuffer
		c := newCalm(plainLogger(&out))
		l := c.Named("broker").With("node", "w")
		for i := range 100 {
			l.Warn("claim was taken", "queue", fmt.Sprint("q", i))
		}
		l.Error("something else")
		l.Info("never left out")
		if n := len(out.lines()); n != floodLines+2 {
			t.Errorf("%d lines, want %d:\n%s", n, floodLines+2, strings.Join(out.lines(), "\n"))
		}
		<-time.After(2 * floodWindow) // of the bubble
		synctest.Wait()
		lines := out.lines()
		want := `[WARN]  agensium.broker: claim was taken: node=w repeated=95 next="see the first ones"`
		if lines[len(lines)-1] != want {
			t.Errorf("the end of the flood is told as\n%s\nwant\n%s", lines[len(lines)-1], want)
		}
		if c.flood.count() != 95 {
			t.Errorf("%d lines counted, want 95", c.flood.count())
		}
		l.Warn("claim was taken")
		if lines := out.lines(); lines[len(lines)-1] != "[WARN]  agensium.broker: claim was taken: node=w" {
			t.Errorf("afterwards: %s", lines[len(lines)-1])
		}
	})
}

func TestCalmTellsInAFloodThatGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out safeBuffer
		c := newCalm(plainLogger(&out))
		for range 100 { // ten a second
			c.Warn("again")
			<-time.After(time.Second / 10)
		}
		<-time.After(2 * floodWindow)
		synctest.Wait()
		lines := out.lines()
		if len(lines) > 2*floodLines+2 || !strings.Contains(strings.Join(lines, "\n"), "repeated=") {
			t.Errorf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
		}
	})
}

func TestCalmRemembersABoundedNumberOfTexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out safeBuffer
		c := newCalm(plainLogger(&out))
		for i := range 5 * floodTexts {
			c.Error(fmt.Sprint("Task ", i, " failed"))
		}
		if n := len(c.flood.texts); n > floodTexts {
			t.Errorf("%d texts are remembered", n)
		}
		if n := len(out.lines()); n != 5*floodTexts {
			t.Errorf("%d lines of %d different ones were written", n, 5*floodTexts)
		}
		<-time.After(2 * floodWindow)
		c.Error("later")
		if n := len(c.flood.texts); n != 1 {
			t.Errorf("%d texts are remembered after their windows", n)
		}
	})
}

func TestLevelChangesEverywhereAtOnce(t *testing.T) {
	var out safeBuffer
	log, printed := newLoggers(config.Log{Level: "info"}, &out)
	s := &Supervisor{calm: newCalm(log), printed: printed}
	s.log = s.calm
	application := s.printed.Named("python")
	derived := s.log.Named("pool").With("slot", 1)
	task := everyLine(s.log).Named("task")
	derived.Debug("hidden")
	s.setLogLevel("debug")
	derived.Debug("shown")
	task.Debug("shown too")
	s.setLogLevel("error")
	derived.Warn("hidden again")
	application.Debug("shown: it wanted to say that")
	s.setLogLevel("off")
	application.Error("hidden")
	if got := len(out.lines()); got != 3 {
		t.Errorf("%q", out.lines())
	}
}

func TestJournalGetsPrioritiesAndNoTime(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/journal")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", stat.Dev, stat.Ino))
	l, _ := newLoggers(config.Log{Level: "debug"}, file)
	l.Error("bad", "traceback", hclog.Quote("line 1\nline 2"))
	l.Warn("so so")
	l.Info("fine", "text", "two\nlines")
	l.Debug("detail")
	text, _ := os.ReadFile(file.Name())
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if line[0] != '<' || line[2] != '>' {
			t.Errorf("line without a priority: %q", line)
		}
	}
	for _, want := range []string{"<3>[ERROR] agensium: bad", "<4>[WARN]  agensium: so so", "<6>[INFO]  agensium: fine", "<7>[DEBUG] agensium: detail"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	t.Setenv("JOURNAL_STREAM", "1:2") // of somebody above us; our output goes elsewhere
	if toJournal(file, os.Getenv("JOURNAL_STREAM")) {
		t.Error("a file is taken for the journal")
	}
}

func TestALogSteersNoTerminal(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out safeBuffer
		l, _ := newLoggers(config.Log{Level: "info", Format: format}, &out)
		l.Info("Task \x1b[2J\u009b1m\r received", "args", "\x1b]0;x\x07", "traceback", "one\n\ttwo \x00\n")
		text := out.b.String()
		if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 }); i >= 0 {
			t.Errorf("%s: %q", format, text)
		}
		if strings.HasSuffix(text, " \n") {
			t.Errorf("%s ends with an empty line: %q", format, text)
		}
	}
}

func TestJSONHasUnits(t *testing.T) {
	var out safeBuffer
	l, _ := newLoggers(config.Log{Level: "info", Format: "json"}, &out)
	l = l.Named("drain").With("limit", 25*time.Second)
	l.Info("drained", "took", 1500*time.Millisecond, "size", config.Size(1<<20), "ended", 3)
	var got map[string]any
	if err := json.Unmarshal(out.b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "@timestamp")
	want := map[string]any{"@level": "info", "@message": "drained", "@module": "agensium.drain", "limit": "25s", "took": "1.5s", "size": config.Size(1 << 20).String(), "ended": 3.0}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

package python

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
)

func TestRecords(t *testing.T) {
	const prefix = "[2026-11-23 04:24:01,638: WARNING/ForkPoolWorker-1] "
	const more = string(goesOn)
	at := func(lines ...string) []string { // lines that are written at once with what follows
		out := make([]string, len(lines))
		for i, line := range lines {
			out[i] = line + more
		}
		return out
	}
	trace := []string{traceHead, `  File "x.py", line 1, in f`, "    g()", "ValueError: no"}
	for name, test := range map[string]struct {
		lines []string
		want  []string
	}{
		"plain":         {[]string{"one", "two"}, []string{"info one", "info two"}},
		"levels":        {[]string{"ERROR:root:bad", "WARNING  careful", "2026-01-01 10:00:00,1 - app - DEBUG - x", "INFORMATION"}, []string{"error ERROR:root:bad", "warn WARNING  careful", "debug 2026-01-01 10:00:00,1 - app - DEBUG - x", "info INFORMATION"}},
		"celery":        {[]string{prefix + "hello"}, []string{"warn hello"}},
		"json":          {[]string{`{"level": "warning", "event": "slow", "b": 1795424388.25, "a": "x"}`, `{"no": 1}`}, []string{"warn slow a=x b=1795424388.25", `info {"no": 1}`}},
		"json, nested":  {[]string{`{"message": "m", "a": null, "b": {"c": ["<", 1.50, null]}, "d": true}`}, []string{`info m a=null b={"c":["<",1.50,null]} d=true`}},
		"traceback":     {append(append([]string{"before"}, trace...), "after"), []string{"error before\n" + strings.Join(trace, "\n"), "info after"}},
		"chained":       {append(append(append([]string{}, trace...), "", "During handling of the above exception, another exception occurred:", ""), trace...), nil},
		"redirected":    {prefixed(prefix, trace), []string{"warn " + strings.Join(trace, "\n")}},
		"two of celery": {[]string{prefix + "one", prefix + "two"}, []string{"warn one", "warn two"}},
		"long":          {[]string{strings.Repeat("x", maxLine+100), "next"}, []string{"info " + strings.Repeat("x", maxLine) + "… (100 bytes more)", "info next"}},
		"at once":       {[]string{"one" + more, "two" + more, "Traceback of mine", "  indented"}, []string{"info one\ntwo\nTraceback of mine", "info   indented"}},
		"logged":        {append(append(at(prefix+"failed"), at(trace[:3]...)...), "ValueError: no"+more, "really", "  next"), []string{"warn failed\n" + strings.Join(trace, "\n") + "\nreally", "info   next"}},
		"two in a row":  {append(append([]string{}, trace...), trace...), []string{"error " + strings.Join(trace, "\n"), "error " + strings.Join(trace, "\n")}},
		"many lines":    {append(append([]string{}, trace[:3]...), "ValueError: no"+more, "really", "after"), []string{"error " + strings.Join(trace, "\n") + "\nreally", "info after"}},
		"printed chain": {append(append(append([]string{}, trace...), more, links[0]+more, ""), trace...), []string{"error " + strings.Join(trace, "\n") + "\n\n" + links[0] + "\n\n" + strings.Join(trace, "\n")}},
		"group":         {[]string{"  + Exception Group " + traceHead, "  | ExceptionGroup: g", "  +-+----", "after"}, []string{"error   + Exception Group " + traceHead + "\n  | ExceptionGroup: g\n  +-+----", "info after"}},
		"syntax":        {[]string{traceHead, `  File "x.py", line 1`, "    def f(:", "          ^", "SyntaxError: invalid syntax", "after"}, []string{"error " + traceHead + "\n  File \"x.py\", line 1\n    def f(:\n          ^\nSyntaxError: invalid syntax", "info after"}},
		"steering":      {[]string{"\r10%\r", "\x1b[31mred\x00"}, []string{"info 10%", `info \x1b[31mred\x00`}},
		"not text":      {[]string{"a\xff\xfeb"}, []string{"info a\uFFFDb"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			sink := &sinkLines{}
			log := logTo(sink)
			o := readOutput(r, hclog.Info, log, log)
			if _, err := w.WriteString(strings.Join(test.lines, "\n") + "\n"); err != nil {
				t.Fatal(err)
			}
			w.Close()
			<-o.done
			r.Close()
			if test.want == nil {
				test.want = []string{"error " + strings.Join(test.lines, "\n")}
			}
			if diff := cmp.Diff(test.want, sink.lines); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func prefixed(prefix string, lines []string) []string {
	var out []string
	for _, line := range lines {
		out = append(out, prefix+line)
	}
	return out
}

type sinkLines struct{ lines []string }

func (s *sinkLines) Accept(_ string, level hclog.Level, msg string, args ...interface{}) {
	line := level.String() + " " + msg
	for i := 0; i+1 < len(args); i += 2 {
		line += " " + args[i].(string) + "=" + strings.Trim(strings.ReplaceAll(sprint(args[i+1]), "\n", ""), " ")
	}
	s.lines = append(s.lines, line)
}

// TestLinesAreTheTasksThatPrintedThem has one task after the other print, with nobody to read in between.
func TestLinesAreTheTasksThatPrintedThem(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	sink := &sinkLines{}
	log := logTo(sink)
	o := readOutput(r, hclog.Info, log, log)
	var want []string
	for _, id := range []string{"a", "b", "c"} {
		o.begin(&celery.Task{ID: id, Name: "t"})
		if _, err := w.WriteString("one\n" + traceHead + "\n  frame\nError\nhalf a line"); err != nil {
			t.Fatal(err)
		}
		o.end()
		of := " task=t id=" + id
		want = append(want, "error one\n"+traceHead+"\n  frame\nError"+of, "info half a line"+of)
	}
	w.Close()
	<-o.done
	r.Close()
	if diff := cmp.Diff(want, sink.lines); diff != "" {
		t.Error(diff)
	}
}

// Django's LOGGING gives loggers levels of their own; their records reach Celery's handler, whatever -l says.
func TestRecordsBelowTheLevelAreOfLoggersThatHaveTheirOwn(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log, printed := &sinkLines{}, &sinkLines{}
	o := readOutput(r, hclog.Warn, logTo(log), logTo(printed))
	for _, level := range []string{"DEBUG", "INFO", "WARNING", "ERROR"} {
		if _, err := w.WriteString("[2026-11-23 04:24:01,638: " + level + "/ForkPoolWorker-1] said\n"); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	<-o.done
	r.Close()
	if diff := cmp.Diff([]string{"warn said", "error said"}, log.lines); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"debug said", "info said"}, printed.lines); diff != "" {
		t.Error(diff)
	}
}

func logTo(sink hclog.SinkAdapter) hclog.Logger {
	log := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off})
	log.RegisterSink(sink)
	return log
}

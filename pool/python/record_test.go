package python

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

func TestRecords(t *testing.T) {
	const prefix = "[2026-11-23 04:24:01,638: WARNING/ForkPoolWorker-1] "
	trace := []string{traceHead, `  File "x.py", line 1, in f`, "    g()", "ValueError: no"}
	for name, test := range map[string]struct {
		lines []string
		want  []string
	}{
		"plain":         {[]string{"one", "two"}, []string{"info one", "info two"}},
		"levels":        {[]string{"ERROR:root:bad", "WARNING  careful", "2026-01-01 10:00:00,1 - app - DEBUG - x", "INFORMATION"}, []string{"error ERROR:root:bad", "warn WARNING  careful", "debug 2026-01-01 10:00:00,1 - app - DEBUG - x", "info INFORMATION"}},
		"celery":        {[]string{prefix + "hello"}, []string{"warn hello"}},
		"json":          {[]string{`{"level": "warning", "event": "slow", "b": 1, "a": "x"}`, `{"no": 1}`}, []string{"warn slow a=x b=1", `info {"no": 1}`}},
		"traceback":     {append(append([]string{"before"}, trace...), "after"), []string{"error before\n" + strings.Join(trace, "\n"), "info after"}},
		"chained":       {append(append(append([]string{}, trace...), "", "During handling of the above exception, another exception occurred:", ""), trace...), nil},
		"redirected":    {prefixed(prefix, trace), []string{"warn " + strings.Join(trace, "\n")}},
		"two of celery": {[]string{prefix + "one", prefix + "two"}, []string{"warn one", "warn two"}},
		"long":          {[]string{strings.Repeat("x", maxLine+100), "next"}, []string{"info " + strings.Repeat("x", maxLine) + "… (101 bytes more)", "info next"}},
		"not text":      {[]string{"a\xff\xfeb"}, []string{"info a\uFFFDb"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			sink := &sinkLines{}
			log := hclog.NewInterceptLogger(&hclog.LoggerOptions{Level: hclog.Off})
			log.RegisterSink(sink)
			o := readOutput(r, log)
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

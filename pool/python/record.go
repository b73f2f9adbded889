package python

import (
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// record are lines that belong together: one, or several that were written at once, or one with a traceback below it.
type record struct {
	lines  []string
	size   int
	level  hclog.Level // of Celery's prefix; NoLevel if there was none
	trace  traceState
	goesOn bool // the next line was written together with the last
	at     int  // where the lines begin that were written together with the last
	headed bool // a traceback begins in these
	whole  bool // nothing can follow
}

type traceState int

const (
	noTrace   traceState = iota
	inTrace              // the frames
	pastTrace            // the exception was named; another traceback may follow
)

const traceHead = "Traceback (most recent call last):"

// links stand between the tracebacks of a chain.
var links = []string{
	"During handling of the above exception, another exception occurred:",
	"The above exception was the direct cause of the following exception:",
}

func (r *record) empty() bool       { return len(r.lines) == 0 }
func (r *record) inTraceback() bool { return r.trace != noTrace }

// takes tells whether a line belongs to the record. Where standard output is redirected to the log, each line of a
// traceback has Celery's prefix; a level of its own begins another record.
func (r *record) takes(line string, level hclog.Level) bool {
	switch {
	case r.empty():
		return true
	case r.size+len(line) > maxRecord:
		return false
	case r.goesOn:
		return true
	case level != hclog.NoLevel && level != r.level:
		return false
	case r.trace == inTrace:
		return true
	case r.trace == pastTrace && strings.HasSuffix(line, traceHead):
		return slices.Contains(links, r.lastLine())
	case r.trace == pastTrace:
		return line == "" || indented(line) || slices.Contains(links, line)
	}
	return indented(line) || strings.HasSuffix(line, traceHead)
}

// lastLine is the last that is not empty.
func (r *record) lastLine() string {
	for _, line := range slices.Backward(r.lines) {
		if line != "" {
			return line
		}
	}
	return ""
}

// add takes a line; goesOn tells that the next was written together with it.
func (r *record) add(line string, level hclog.Level, goesOn bool) {
	if r.empty() {
		r.level = level
	}
	if !r.goesOn {
		r.at, r.headed = len(r.lines), false
	}
	switch {
	case strings.HasSuffix(line, traceHead):
		r.trace, r.headed = inTrace, true
		if indented(line) { // of an exception group, where every line is
			r.trace = pastTrace
		}
	case r.trace == inTrace && line != "" && !indented(line):
		r.trace = pastTrace
	}
	r.lines, r.size, r.goesOn = append(r.lines, line), r.size+len(line), goesOn
	if !goesOn && r.at < len(r.lines)-1 {
		r.whole = r.trace == noTrace || r.trace == pastTrace && r.headed
	}
}

func indented(line string) bool {
	return strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
}

// celeryPrefix is what Celery's worker_log_format puts before a message.
var celeryPrefix = regexp.MustCompile(`^\[\d{4}-\d\d-\d\d [^\]]*: ([A-Z]+)/[^\]]*\] `)

// cutPrefix takes Celery's prefix off a line.
func cutPrefix(line string) (string, hclog.Level) {
	if m := celeryPrefix.FindStringSubmatch(line); m != nil {
		return line[len(m[0]):], levels[m[1]]
	}
	return line, hclog.NoLevel
}

// parse finds level, message and fields.
func (r *record) parse() (hclog.Level, string, []any) {
	for len(r.lines) > 1 && r.lines[len(r.lines)-1] == "" {
		r.lines = r.lines[:len(r.lines)-1]
	}
	if len(r.lines) == 1 && strings.HasPrefix(r.lines[0], "{") {
		if level, message, fields, ok := parseJSON(r.lines[0]); ok {
			return level, message, fields
		}
	}
	level := r.level
	if level == hclog.NoLevel {
		level = levelOf(r.lines[0])
	}
	if level == hclog.NoLevel {
		level = hclog.Info
		if r.inTraceback() {
			level = hclog.Error
		}
	}
	return level, strings.Join(r.lines, "\n"), nil
}

// levels are the names that Python's logging, structlog and uvicorn use.
var levels = map[string]hclog.Level{
	"TRACE": hclog.Trace, "DEBUG": hclog.Debug, "INFO": hclog.Info, "WARN": hclog.Warn, "WARNING": hclog.Warn,
	"ERROR": hclog.Error, "EXCEPTION": hclog.Error, "CRITICAL": hclog.Error, "FATAL": hclog.Error,
}

// levelOf looks for the name of a level near the start of a line that looks like a log line: one that begins with it,
// with a date or with a bracket.
func levelOf(line string) hclog.Level {
	if line == "" {
		return hclog.NoLevel
	}
	dated := line[0] >= '0' && line[0] <= '9' || line[0] == '['
	head := line[:min(len(line), 80)]
	for i, word := range strings.FieldsFunc(head, func(c rune) bool { return c < 'A' || c > 'Z' && c < 'a' || c > 'z' }) {
		if i > 0 && !dated {
			break
		}
		if level, ok := levels[word]; ok {
			return level
		}
	}
	return hclog.NoLevel
}

// parseJSON reads a line of structured logging. Its own fields keep their names.
func parseJSON(line string) (hclog.Level, string, []any, bool) {
	var object map[string]any
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber() // as they were written, and not 1.795e+09
	if d.Decode(&object) != nil {
		return 0, "", nil, false
	}
	if _, err := d.Token(); err != io.EOF { // more behind it
		return 0, "", nil, false
	}
	level, message := hclog.NoLevel, ""
	for _, key := range []string{"level", "levelname", "severity", "log.level"} {
		if name, ok := object[key].(string); ok && level == hclog.NoLevel {
			if level, ok = levels[strings.ToUpper(name)]; ok {
				delete(object, key)
			}
		}
	}
	for _, key := range []string{"message", "msg", "event"} {
		if text, ok := object[key].(string); ok && message == "" {
			message = text
			delete(object, key)
		}
	}
	if level == hclog.NoLevel && message == "" {
		return 0, "", nil, false
	}
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	for _, key := range []string{"timestamp", "time", "asctime", "@timestamp"} {
		delete(object, key)
	}
	keys := make([]string, 0, len(object))
	for key := range object {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	var fields []any
	for _, key := range keys {
		switch value := object[key].(type) {
		case nil, map[string]any, []any:
			fields = append(fields, key, written{value})
		default:
			fields = append(fields, key, value)
		}
	}
	return level, message, fields, true
}

// written is a value that stays JSON in a log that is text, too.
type written struct{ value any }

func (w written) MarshalJSON() ([]byte, error) { return json.Marshal(w.value) }

func (w written) String() string {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(w.value) // it was read from JSON
	return strings.TrimSuffix(text.String(), "\n")
}

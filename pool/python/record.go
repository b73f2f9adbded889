package python

import (
	"encoding/json"
	"regexp"
	"sort"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
)

// record are lines that belong together: one, or one with a traceback below it.
type record struct {
	lines []string
	size  int
	task  *celery.Task
	level hclog.Level // of Celery's prefix; NoLevel if there was none
	trace traceState
}

type traceState int

const (
	noTrace   traceState = iota
	inTrace              // the frames
	pastTrace            // the exception was named; another traceback may follow
)

const traceHead = "Traceback (most recent call last):"

func (r *record) empty() bool       { return len(r.lines) == 0 }
func (r *record) inTraceback() bool { return r.trace != noTrace }

// takes tells whether a line belongs to the record. Where standard output is redirected to the log, each line of a
// traceback has Celery's prefix; a level of its own begins another record.
func (r *record) takes(line string, level hclog.Level, task *celery.Task) bool {
	switch {
	case r.empty():
		return true
	case level != hclog.NoLevel && level != r.level || r.task != task || r.size+len(line) > maxRecord:
		return false
	case strings.HasSuffix(line, traceHead):
		return true
	case r.trace == inTrace:
		return true
	case r.trace == pastTrace:
		return line == "" || indented(line) || strings.HasPrefix(line, "During handling of the above exception") ||
			strings.HasPrefix(line, "The above exception was the direct cause")
	}
	return indented(line)
}

func (r *record) add(line string, level hclog.Level, task *celery.Task) {
	if r.empty() {
		r.level = level
	}
	switch {
	case strings.HasSuffix(line, traceHead):
		r.trace = inTrace
	case r.trace == inTrace && line != "" && !indented(line):
		r.trace = pastTrace
	}
	r.lines, r.size, r.task = append(r.lines, line), r.size+len(line), task
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
	if json.Unmarshal([]byte(line), &object) != nil {
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
		fields = append(fields, key, object[key])
	}
	return level, message, fields, true
}

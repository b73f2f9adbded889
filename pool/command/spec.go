package command

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/pyjson"
)

// Spec is one [[command]] of the configuration.
type Spec struct {
	Task        string
	Run         []string          // program and arguments; {arg0} is the first positional argument, {name} a keyword's, {{ and }} braces
	Input       string            // json: stdin gets an object with id, name, args, kwargs; none: stdin is empty
	Result      string            // json, text or none: what stdout is
	Directory   string            // empty: ours
	Environment map[string]string // besides ours
	MaxOutput   int64             // bytes of stdout; more fails the task
	RetryOn     []int             // exit statuses that mean: run it again
	RetryAfter  time.Duration
	MaxRetries  int // negative: without end
	Options     celery.TaskOptions
}

// check says what is wrong with a spec.
func (s *Spec) check() error {
	switch {
	case s.Task == "" || len(s.Run) == 0 || s.Run[0] == "":
		return fmt.Errorf("command %q: task and run are required", s.Task)
	case strings.Contains(s.Run[0], "{"):
		return fmt.Errorf("command %s: run[0] is %q, but a task's arguments never choose the program", s.Task, s.Run[0])
	case s.Input != "json" && s.Input != "none":
		return fmt.Errorf("command %s: input is %q, not json or none", s.Task, s.Input)
	case s.Result != "json" && s.Result != "text" && s.Result != "none":
		return fmt.Errorf("command %s: result is %q, not json, text or none", s.Task, s.Result)
	}
	return nil
}

// argv fills the places in Run with the task's arguments. Each stays one argument of the program, whatever is in it.
func (s *Spec) argv(r *celery.Request) ([]string, error) {
	f := filler{spec: s, used: map[string]bool{}}
	var err error
	if f.args, err = pyjson.Elements(nil, r.Args); err != nil {
		return nil, f.refuse("takes a list of arguments: %v", err)
	}
	if f.kwargs, err = pyjson.Members(nil, r.Kwargs); err != nil {
		return nil, f.refuse("takes a mapping of keyword arguments: %v", err)
	}
	argv := make([]string, len(s.Run))
	for i, template := range s.Run {
		if argv[i], err = f.fill(template); err != nil {
			return nil, err
		}
	}
	if s.Input == "none" {
		return argv, f.surplus()
	}
	return argv, nil
}

type filler struct {
	spec   *Spec
	args   []pyjson.Raw
	kwargs []pyjson.Member
	used   map[string]bool
}

func (f *filler) fill(template string) (string, error) {
	var b strings.Builder
	for {
		open := strings.IndexByte(template, '{')
		if open < 0 {
			b.WriteString(strings.ReplaceAll(template, "}}", "}"))
			return b.String(), nil
		}
		b.WriteString(strings.ReplaceAll(template[:open], "}}", "}"))
		template = template[open+1:]
		if strings.HasPrefix(template, "{") {
			b.WriteByte('{')
			template = template[1:]
			continue
		}
		name, rest, ok := strings.Cut(template, "}")
		if !ok || !isName(name) { // a brace of the program's own, as in JSON
			b.WriteByte('{')
			continue
		}
		value, err := f.value(name)
		if err != nil {
			return "", err
		}
		b.WriteString(value)
		template = rest
	}
}

func isName(s string) bool {
	for i, c := range s {
		if c != '_' && !unicode.IsLetter(c) && (i == 0 || !unicode.IsDigit(c)) {
			return false
		}
	}
	return s != ""
}

// value is the text of an argument: a string as it is, anything else as JSON.
func (f *filler) value(name string) (string, error) {
	raw := pyjson.Raw(nil)
	if digits, ok := strings.CutPrefix(name, "arg"); ok {
		if i, err := strconv.Atoi(digits); err == nil && i >= 0 {
			if i >= len(f.args) {
				return "", f.refuse("missing 1 required positional argument: '%s'", name)
			}
			raw = f.args[i]
		}
	}
	for _, m := range f.kwargs {
		if raw == nil && m.Key == name {
			raw = m.Value
		}
	}
	if raw == nil {
		return "", f.refuse("missing 1 required keyword-only argument: '%s'", name)
	}
	f.used[name] = true
	if len(raw) == 0 || raw[0] != '"' {
		return string(raw), nil
	}
	var text string
	if err := pyjson.Decode(raw, &text, nil); err != nil {
		return "", f.refuse("argument %s %v", name, err)
	}
	if strings.IndexByte(text, 0) >= 0 {
		return "", f.refuse("argument %s has a zero byte, which no program can be given", name)
	}
	return text, nil
}

// surplus refuses arguments that would be dropped without a word.
func (f *filler) surplus() error {
	for i := range f.args {
		if !f.used["arg"+strconv.Itoa(i)] {
			return f.refuse("has no place for positional argument %d", i+1)
		}
	}
	for _, m := range f.kwargs {
		if !f.used[m.Key] {
			return f.refuse("got an unexpected keyword argument '%s'", m.Key)
		}
	}
	return nil
}

func (f *filler) refuse(format string, args ...any) error {
	return &celery.BindError{Task: f.spec.Task, Detail: fmt.Sprintf(format, args...)}
}

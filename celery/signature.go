package celery

import (
	"fmt"

	"github.com/agensium/agensium/celery/pyjson"
)

// The kinds of signatures that Celery's canvas treats in a way of its own; subtask_type in messages.
const (
	kindTask  = ""
	kindChain = "chain"
	kindGroup = "group"
	kindChord = "chord"
)

// Signature is a call that has not been sent: a task with arguments and options, or a chain, group or chord of
// signatures. Its JSON is that of Python's Signature, so it may travel in messages in both directions
// (protocol notes A.3, D.2). Building and sending one never changes it.
type Signature struct {
	Task      string
	Args      []pyjson.Raw
	Kwargs    []pyjson.Member
	Options   Options
	Immutable bool         // takes no result of what ran before
	Tasks     []*Signature // of a chain, a group, or the header of a chord
	Body      *Signature   // of a chord

	kind  string
	extra []pyjson.Member // keys that we do not know
	err   error           // of an argument without JSON; told when the signature is sent
}

// S makes a signature as task.s(*args) does in Python.
func S(task string, args ...any) *Signature {
	s := &Signature{Task: task}
	for i, a := range args {
		raw, err := pyjson.Append(nil, a)
		if err != nil {
			s.fail(fmt.Errorf("argument %d of %s: %w", i+1, task, err))
			raw = []byte("null")
		}
		s.Args = append(s.Args, raw)
	}
	return s
}

// SI is S for a signature that takes no result of what ran before, as task.si(*args).
func SI(task string, args ...any) *Signature {
	s := S(task, args...)
	s.Immutable = true
	return s
}

// Kw returns a copy of s with one more keyword argument.
func (s *Signature) Kw(name string, value any) *Signature {
	c := s.clone()
	raw, err := pyjson.Append(nil, value)
	if err != nil {
		c.fail(fmt.Errorf("argument %s of %s: %w", name, s.Task, err))
		return c
	}
	c.Kwargs = append(c.Kwargs, pyjson.Member{Key: name, Value: raw})
	return c
}

// With returns a copy of s with the options that are set in o.
func (s *Signature) With(o Options) *Signature {
	c := s.clone()
	c.Options = c.Options.merge(o)
	return c
}

// Chain makes a signature that runs its steps one after another, each with the result of the one before as its
// first argument. As with | in Python, a group before a step becomes the header of a chord, and what follows a chord
// becomes a part of its body.
func Chain(steps ...*Signature) *Signature {
	var folded []*Signature
	for _, s := range steps {
		inner := []*Signature{s}
		if s.kind == kindChain && s.Options.isZero() && !s.Immutable && len(s.Args) == 0 {
			inner = s.Tasks
		}
		for _, next := range inner {
			folded = fold(folded, next.clone())
		}
	}
	return &Signature{Task: "celery.chain", kind: kindChain, Tasks: folded}
}

// fold appends a step to those of a chain (canvas.py _chain.__or__).
func fold(steps []*Signature, next *Signature) []*Signature {
	if next.kind == kindGroup && len(next.Tasks) == 1 && next.Options.isZero() {
		next = next.Tasks[0]
	}
	if len(steps) == 0 {
		return append(steps, next)
	}
	last := steps[len(steps)-1]
	switch {
	case last.kind == kindChord && last.Body != nil && next.kind != kindChord:
		last.Body = Chain(last.Body, next)
		return steps
	case last.kind == kindGroup && len(last.Tasks) > 0 && next.kind != kindGroup:
		chord := &Signature{Task: "celery.chord", kind: kindChord, Tasks: last.Tasks, Body: next, Options: last.Options, Immutable: last.Immutable}
		if steps = steps[:len(steps)-1]; len(steps) > 0 && steps[len(steps)-1].kind == kindChord {
			before := steps[len(steps)-1]
			before.Body = Chain(before.Body, chord)
			return steps
		}
		return append(steps, chord)
	}
	return append(steps, next)
}

// Group makes a signature that runs its tasks side by side.
func Group(tasks ...*Signature) *Signature {
	return &Signature{Task: "celery.group", kind: kindGroup, Tasks: tasks}
}

// Chord makes a signature that runs the header side by side and then body with the list of their results.
func Chord(header []*Signature, body *Signature) *Signature {
	return &Signature{Task: "celery.chord", kind: kindChord, Tasks: header, Body: body}
}

func (s *Signature) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Err is the first argument's error in s or in what it is made of.
func (s *Signature) Err() error {
	if s == nil || s.err != nil {
		if s == nil {
			return nil
		}
		return s.err
	}
	for _, t := range s.Tasks {
		if err := t.Err(); err != nil {
			return err
		}
	}
	return s.Body.Err()
}

// clone copies s deep enough that freezing the copy leaves s alone.
func (s *Signature) clone() *Signature {
	if s == nil {
		return nil
	}
	c := *s
	c.Args = s.Args[:len(s.Args):len(s.Args)]
	c.Kwargs = s.Kwargs[:len(s.Kwargs):len(s.Kwargs)]
	if s.Tasks != nil {
		c.Tasks = make([]*Signature, len(s.Tasks))
		for i, t := range s.Tasks {
			c.Tasks[i] = t.clone()
		}
	}
	c.Body = s.Body.clone()
	return &c
}

// partial prepends the result of what ran before, unless s is immutable.
func (s *Signature) partial(args []pyjson.Raw) {
	if len(args) > 0 && !s.Immutable {
		s.Args = append(args[:len(args):len(args)], s.Args...)
	}
}

func (s *Signature) link(c *Signature) {
	s.Options.Link = append(s.Options.Link[:len(s.Options.Link):len(s.Options.Link)], c)
}

// linkError adds an errback where Python's link_error does: on each task of a group, on a chord's body.
func (s *Signature) linkError(c *Signature) {
	switch s.kind {
	case kindGroup:
		for _, t := range s.Tasks {
			t.linkError(c)
		}
	case kindChord:
		if s.Body != nil {
			s.Body.linkError(c)
		}
	default:
		s.Options.LinkError = append(s.Options.LinkError[:len(s.Options.LinkError):len(s.Options.LinkError)], c)
	}
}

// MarshalJSON writes s as Python's Signature is written.
func (s *Signature) MarshalJSON() ([]byte, error) { return s.appendJSON(nil) }

func (s *Signature) appendJSON(dst []byte) ([]byte, error) {
	if s.err != nil {
		return dst, s.err
	}
	w := objectWriter{dst: append(dst, '{')}
	w.value("task", s.Task)
	w.key("args")
	w.dst = appendRaws(w.dst, s.Args)
	w.key("kwargs")
	w.dst = append(w.dst, '{')
	switch s.kind {
	case kindChain, kindGroup:
		w.signatures("tasks", emptyNotNil(s.Tasks))
	case kindChord:
		w.raw("kwargs", []byte("{}"))
		if s.Options.TaskID == "" {
			w.signatures("header", emptyNotNil(s.Tasks))
		} else { // frozen: Python would give a plain list another group than its tasks have
			w.signature("header", &Signature{Task: "celery.group", kind: kindGroup, Tasks: s.Tasks, Options: Options{TaskID: s.Options.TaskID}})
		}
		if s.Body == nil {
			w.raw("body", []byte("null"))
		} else {
			w.signature("body", s.Body)
		}
	default:
		for _, m := range s.Kwargs {
			w.raw(m.Key, m.Value)
		}
	}
	w.dst = append(w.dst, '}')
	w.key("options")
	var err error
	if w.dst, err = s.Options.appendJSON(w.dst); err != nil && w.err == nil {
		w.err = err
	}
	w.key("subtask_type")
	if s.kind == kindTask {
		w.dst = append(w.dst, "null"...)
	} else {
		w.dst = pyjson.AppendString(w.dst, s.kind)
	}
	w.value("immutable", s.Immutable)
	for _, m := range s.extra {
		w.raw(m.Key, m.Value)
	}
	return append(w.dst, '}'), w.err
}

func emptyNotNil(list []*Signature) []*Signature {
	if list == nil {
		return []*Signature{}
	}
	return list
}

func appendRaws(dst []byte, raws []pyjson.Raw) []byte {
	dst = append(dst, '[')
	for i, r := range raws {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, r...)
	}
	return append(dst, ']')
}

func appendSignatures(dst []byte, list []*Signature) ([]byte, error) {
	dst = append(dst, '[')
	var err error
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		if dst, err = s.appendJSON(dst); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

// UnmarshalJSON is ParseSignature.
func (s *Signature) UnmarshalJSON(raw []byte) error {
	parsed, err := ParseSignature(raw)
	if err == nil && parsed != nil {
		*s = *parsed
	}
	return err
}

// ParseSignature reads a signature as messages carry it. null gives nil.
func ParseSignature(raw []byte) (*Signature, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	members, err := pyjson.Members(nil, raw)
	if err != nil {
		return nil, fmt.Errorf("read signature: %w", err)
	}
	s := &Signature{}
	var kwargs pyjson.Raw
	for _, m := range members {
		switch m.Key {
		case "task":
			err = pyjson.Decode(m.Value, &s.Task, nil)
		case "args":
			if string(m.Value) != "null" {
				s.Args, err = pyjson.Elements(nil, m.Value)
			}
		case "kwargs":
			kwargs = m.Value
		case "options":
			err = s.parseOptions(m.Value)
		case "subtask_type":
			if string(m.Value) != "null" {
				err = pyjson.Decode(m.Value, &s.kind, nil)
			}
		case "immutable":
			s.Immutable = string(m.Value) == "true"
		default:
			s.extra = append(s.extra, m)
		}
		if err != nil {
			return nil, fmt.Errorf("read %s of a signature: %w", m.Key, err)
		}
	}
	if len(kwargs) > 0 && string(kwargs) != "null" {
		if err := s.parseKwargs(kwargs); err != nil {
			return nil, fmt.Errorf("read signature of %s: %w", s.Task, err)
		}
	}
	if s.Task == "" {
		return nil, fmt.Errorf("read signature: no task in it")
	}
	return s, nil
}

func (s *Signature) parseOptions(raw pyjson.Raw) error {
	if string(raw) == "null" {
		return nil
	}
	members, err := pyjson.Members(nil, raw)
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := s.Options.parse(m.Key, m.Value); err != nil {
			return fmt.Errorf("option %s: %w", m.Key, err)
		}
	}
	s.Options.sortStamps()
	return nil
}

func (s *Signature) parseKwargs(raw pyjson.Raw) error {
	members, err := pyjson.Members(nil, raw)
	if err != nil {
		return err
	}
	if s.kind != kindChain && s.kind != kindGroup && s.kind != kindChord {
		s.Kwargs = members
		return nil
	}
	for _, m := range members {
		switch {
		case m.Key == "body":
			s.Body, err = ParseSignature(m.Value)
		case m.Key == "tasks" || m.Key == "header" && len(m.Value) > 0 && m.Value[0] == '[':
			s.Tasks, err = parseSignatures(m.Value)
		case m.Key == "header": // a frozen header is a group
			var header *Signature
			if header, err = ParseSignature(m.Value); header != nil {
				s.Tasks = header.Tasks
				if s.Options.TaskID == "" {
					s.Options.TaskID = header.Options.TaskID
				}
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Key, err)
		}
	}
	return nil
}

// parseSignatures reads a list of signatures, or one.
func parseSignatures(raw pyjson.Raw) ([]*Signature, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	if len(raw) > 0 && raw[0] == '{' {
		s, err := ParseSignature(raw)
		return []*Signature{s}, err
	}
	elements, err := pyjson.Elements(nil, raw)
	if err != nil {
		return nil, err
	}
	list := make([]*Signature, 0, len(elements))
	for _, e := range elements {
		s, err := ParseSignature(e)
		if err != nil {
			return nil, err
		}
		if s != nil {
			list = append(list, s)
		}
	}
	return list, nil
}

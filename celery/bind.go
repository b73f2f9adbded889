package celery

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/agensium/agensium/celery/pyjson"
)

// BindError says why arguments do not fit a handler. Python sees it as a TypeError.
type BindError struct {
	Task   string
	Detail string
	Err    error
}

func (e *BindError) Error() string { return lastName(e.Task) + "() " + e.Detail }
func (e *BindError) Unwrap() error { return e.Err }

// Call runs the handler with args, an array, and kwargs, an object, and returns the value's JSON. A panic, be it in a
// method that reads an argument or writes the value, comes back as a *PanicError, arguments that do not fit as a *BindError.
func (h *Handler) Call(ctx context.Context, args, kwargs pyjson.Raw) (value pyjson.Raw, err error) {
	defer func() {
		if v := recover(); v != nil {
			value, err = nil, &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	var room [8]reflect.Value
	in := room[:0]
	if h.ctx {
		in = append(in, reflect.ValueOf(ctx))
	}
	if in, err = h.bind(in, args, kwargs); err != nil {
		return nil, err
	}
	out := h.fn.Call(in)
	if h.failure >= 0 {
		if err, _ := out[h.failure].Interface().(error); err != nil {
			probe(err)
			return nil, err
		}
	}
	if h.value < 0 {
		return null, nil
	}
	result := out[h.value].Interface()
	value, err = pyjson.Append(make([]byte, 0, 32), result)
	if _, ok := result.(pyjson.Raw); ok && err == nil {
		err = pyjson.Valid(value) // it went in as it is
	}
	if err != nil {
		return nil, &resultError{h.Name, err}
	}
	return value, nil
}

// resultError says that what a handler returned has no form in a result. Python sees it as an EncodeError.
type resultError struct {
	task string
	err  error
}

func (e *resultError) Error() string { return "result of " + e.task + ": " + e.err.Error() }
func (e *resultError) Unwrap() error { return e.err }

// probe calls the methods of err that whoever records it will call. They are the application's: where they panic, as those
// of a nil pointer in an error do, it is the handler that panics.
func probe(err error) {
	var retry *RetryError
	_ = errors.Is(err, errIgnore) || errors.As(err, &retry)
	_ = err.Error()
}

// bind appends the function's arguments to in.
func (h *Handler) bind(in []reflect.Value, args, kwargs pyjson.Raw) ([]reflect.Value, error) {
	var argRoom [8]pyjson.Raw
	positional, err := pyjson.Elements(argRoom[:0], args)
	if err != nil {
		return in, h.unlike(err, "a list of arguments", args)
	}
	var named []pyjson.Member
	if string(kwargs) != "{}" {
		if named, err = pyjson.Members(nil, kwargs); err != nil {
			return in, h.unlike(err, "a dict of keyword arguments", kwargs)
		}
	}
	fixed := len(h.params)
	if h.variadic || h.extra >= 0 {
		fixed--
	}
	if len(positional) > fixed && !h.variadic {
		return in, h.surplus(fixed, len(positional))
	}
	if !h.variadic && len(named) == 0 && len(positional) == fixed && h.record == nil && h.extra < 0 {
		return h.bindPlain(in, positional)
	}
	return h.bindNamed(in, positional, named, fixed)
}

// bindPlain is the common case: every parameter by position.
func (h *Handler) bindPlain(in []reflect.Value, positional []pyjson.Raw) ([]reflect.Value, error) {
	for i := range h.params {
		v := reflect.New(h.params[i].kind).Elem()
		if err := pyjson.DecodeValue(positional[i], v, h.zone); err != nil {
			return in, h.misfit(err, h.label(i))
		}
		in = append(in, v)
	}
	return in, nil
}

func (h *Handler) bindNamed(in []reflect.Value, positional []pyjson.Raw, named []pyjson.Member, fixed int) ([]reflect.Value, error) {
	values := make([]pyjson.Raw, fixed)
	copy(values, positional)
	var rest []pyjson.Member
	for _, m := range named {
		i := h.find(m.Key, fixed)
		switch {
		case i >= 0 && values[i] != nil:
			return in, h.refuse(nil, "got multiple values for argument '%s'", m.Key)
		case i >= 0:
			values[i] = m.Value
		case h.extra >= 0:
			rest = append(rest, m)
		case h.unnamed():
			return in, h.refuse(nil, "got an unexpected keyword argument '%s': its parameters have no names, give them with celery.Params", m.Key)
		default:
			return in, h.refuse(nil, "got an unexpected keyword argument '%s'", m.Key)
		}
	}
	if err := h.missing(values); err != nil {
		return in, err
	}
	record := reflect.Value{}
	if h.record != nil {
		record = reflect.New(h.record).Elem()
	}
	for i, raw := range values {
		p := &h.params[i]
		if raw == nil {
			raw = p.fallback
		}
		var v reflect.Value
		if h.record == nil {
			v = reflect.New(p.kind).Elem()
			in = append(in, v)
		} else if raw != nil {
			v = pyjson.FieldAt(record, p.index)
		}
		if raw == nil {
			continue
		}
		if err := pyjson.DecodeValue(raw, v, h.zone); err != nil {
			return in, h.misfit(err, h.label(i))
		}
	}
	switch {
	case h.pointer:
		in = append(in, record.Addr())
	case h.record != nil:
		in = append(in, record)
	}
	return h.bindRest(in, positional, rest, fixed)
}

// bindRest binds a variadic parameter or the one with **.
func (h *Handler) bindRest(in []reflect.Value, positional []pyjson.Raw, rest []pyjson.Member, fixed int) ([]reflect.Value, error) {
	if h.variadic {
		kind := h.params[len(h.params)-1].kind.Elem()
		for i := fixed; i < len(positional); i++ {
			v := reflect.New(kind).Elem()
			if err := pyjson.DecodeValue(positional[i], v, h.zone); err != nil {
				return in, h.misfit(err, strconv.Itoa(i+1))
			}
			in = append(in, v)
		}
	}
	if h.extra >= 0 {
		object, _ := pyjson.Append(nil, rest) // checked members
		if rest == nil {
			object = []byte("{}")
		}
		v := reflect.New(h.params[h.extra].kind).Elem()
		if err := pyjson.DecodeValue(object, v, h.zone); err != nil {
			return in, h.misfit(err, "**"+h.params[h.extra].name)
		}
		in = append(in, v)
	}
	return in, nil
}

func (h *Handler) find(name string, fixed int) int {
	for i := range fixed {
		if h.params[i].name == name && name != "" {
			return i
		}
	}
	return -1
}

func (h *Handler) unnamed() bool {
	for _, p := range h.params {
		if p.name != "" {
			return false
		}
	}
	return len(h.params) > 0
}

// missing names the arguments that were not given, in Python's words.
func (h *Handler) missing(values []pyjson.Raw) error {
	var labels []string
	for i, raw := range values {
		if raw == nil && h.params[i].fallback == nil && !h.params[i].optional {
			labels = append(labels, h.label(i))
		}
	}
	switch n := len(labels); n {
	case 0:
		return nil
	case 1:
		return h.refuse(nil, "missing 1 required positional argument: %s", labels[0])
	default:
		list := strings.Join(labels[:n-1], ", ")
		if n > 2 {
			list += ","
		}
		return h.refuse(nil, "missing %d required positional arguments: %s and %s", n, list, labels[n-1])
	}
}

func (h *Handler) label(i int) string {
	if name := h.params[i].name; name != "" {
		return "'" + name + "'"
	}
	return strconv.Itoa(i + 1)
}

// unlike says what was given in the place of what it takes.
func (h *Handler) unlike(err error, takes string, raw pyjson.Raw) error {
	if pyjson.Valid(raw) != nil {
		return h.refuse(err, "takes %s: %v", takes, err)
	}
	return h.refuse(err, "takes %s, not %s", takes, pyjson.TypeOf(raw))
}

// misfit says which argument does not fit, and where in it.
func (h *Handler) misfit(err error, label string) error {
	var m *pyjson.MismatchError
	if errors.As(err, &m) && m.Path != "" {
		return h.refuse(err, "argument %s%v", label, err)
	}
	return h.refuse(err, "argument %s %v", label, err)
}

// surplus counts in Python's words.
func (h *Handler) surplus(fixed, given int) error {
	required := 0
	for i := range fixed {
		if h.params[i].fallback == nil && !h.params[i].optional {
			required++
		}
	}
	takes := fmt.Sprintf("%d positional argument%s", fixed, plural(fixed))
	if required < fixed {
		takes = fmt.Sprintf("from %d to %d positional argument%s", required, fixed, plural(fixed))
	}
	return h.refuse(nil, "takes %s but %d %s given", takes, given, were(given))
}

func (h *Handler) refuse(err error, format string, args ...any) error {
	return &BindError{Task: h.Name, Detail: fmt.Sprintf(format, args...), Err: err}
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func were(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

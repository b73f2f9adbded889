package celery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/agensium/agensium/celery/pyjson"
)

// Mux is the registry of the tasks that run in this process. Register everything before it is served; from then on
// it is read only.
type Mux struct {
	handlers map[string]*Handler
	Zone     *time.Location // of arguments that are times without offset; nil: UTC. Set it before the first Handle
}

// NewMux returns an empty registry.
func NewMux() *Mux { return &Mux{handlers: map[string]*Handler{}} }

// Handler is one registered task.
type Handler struct {
	Name       string
	Options    TaskOptions
	MaxRetries int           // -1: without end
	RetryDelay time.Duration // between retries, if the handler does not say
	Expires    time.Duration // of messages for the task whose sender does not say; 0: never

	fn       reflect.Value
	ctx      bool         // the function takes a context first
	params   []param      // of the function, in its order
	variadic bool         // the last parameter takes what is left of args
	extra    int          // index in params of the one that takes what is left of kwargs; -1: none
	record   reflect.Type // the struct whose fields are the params; nil: they are the function's own
	pointer  bool         // the function takes a pointer to the record
	value    int          // index of the value among the results; -1: none
	failure  int          // index of the error among the results; -1: none
	zone     *time.Location
}

// Option sets something about a task that is being registered.
type Option func(*Handler)

// Params names the parameters, so that callers can give them as keywords: Params("x", "y=10", "**rest"). What stands
// behind = is the default, as JSON: text needs quotes. A last name with ** is a map that takes the keywords that no
// parameter has. There are as many names as parameters, the context not counted; a variadic one takes no keyword.
func Params(names ...string) Option { return func(h *Handler) { h.name(names) } }

// AcksLate acknowledges the message after the task has run: it runs again if the process dies.
func AcksLate() Option { return func(h *Handler) { h.Options.AcksLate = true } }

// RejectOnWorkerLost puts the message back, and does not fail the task, if the process dies; with AcksLate only.
func RejectOnWorkerLost() Option { return func(h *Handler) { h.Options.RejectOnWorkerLost = true } }

// TrackStarted stores STARTED when the task begins.
func TrackStarted() Option { return func(h *Handler) { h.Options.TrackStarted = true } }

// IgnoreResult stores no result; follow-ups (callbacks, the next step of a chain, the part of a chord) get it all the same.
// Unlike the workers of Celery 5.7, ours store none either for a message with ignore_result=False: clients before 5.7 write that
// into all messages for tasks that they do not know.
func IgnoreResult() Option { return func(h *Handler) { h.Options.IgnoreResult = true } }

// Limits sets the soft and hard time limits; 0 means what the configuration says for all tasks. At the soft one the
// handler's context is cancelled with the cause [ErrSoftLimit]. At the hard one the task fails with TimeLimitExceeded; its
// slot stays taken until the handler returns, since nothing can end a goroutine. The message's own limits are stronger.
func Limits(soft, hard time.Duration) Option {
	return func(h *Handler) { h.Options.SoftTimeLimit, h.Options.TimeLimit = soft, hard }
}

// RateLimit bounds how often the task starts on a node, as Celery writes it: "10/m" is ten in a minute, "0.5/s" one in
// two seconds, "100/h" a hundred in an hour. "" is no limit.
func RateLimit(rate string) Option { return func(h *Handler) { h.Options.RateLimit = rate } }

// Expires is after how long a message for the task is not run any more, if whoever sends it does not say. As in Celery
// it is the sender that writes it into the message: a client with this Mux in its options, and a worker that sends the
// task as a callback or as the next step of a chain.
func Expires(after time.Duration) Option { return func(h *Handler) { h.Expires = after } }

// MaxRetries bounds [Retry]; negative means without end. The default is 3.
func MaxRetries(n int) Option { return func(h *Handler) { h.MaxRetries = n } }

// RetryDelay is the delay of a [Retry] that gives a negative one. The default is three minutes.
func RetryDelay(d time.Duration) Option { return func(h *Handler) { h.RetryDelay = d } }

// Handle registers fn as the task name. fn takes an optional context, then any number of arguments of types that
// [pyjson.Decode] knows, the last of which may be variadic; it returns nothing, a value, an error, or a value and an
// error. Its context carries the request ([RequestFrom]) and is cancelled at the soft time limit, or when the task is told
// to end. It may be called from many goroutines at once.
//
// A single argument that is a struct, or a pointer to one, stands for the parameters themselves: its fields, under their
// json names, in their order; pointers, omitempty fields and those with a tag default:"JSON" may be left out. With
// Params such a struct is an argument like any other: a dict, read as encoding/json does, without defaults.
//
// Handle panics if fn is no such function, an option makes no sense or the name is taken: all are mistakes in the program.
// It must not be called any more when mux is served.
func Handle(mux *Mux, name string, fn any, options ...Option) {
	if mux == nil {
		panic("celery: handle " + name + ": there is no mux: celery.NewMux makes one")
	}
	h := &Handler{Name: name, MaxRetries: 3, RetryDelay: 3 * time.Minute, fn: reflect.ValueOf(fn), extra: -1, value: -1, failure: -1, zone: mux.Zone}
	h.Options.AcksOnFailureOrTimeout = true
	if err := h.inspect(); err != nil {
		panic(fmt.Sprintf("celery: handle %s: %v", name, err))
	}
	for _, o := range options {
		o(h)
	}
	if h.record == nil && len(h.params) == 1 && h.params[0].name == "" && isRecord(h.params[0].kind) {
		h.useRecord(h.params[0].kind)
	}
	if err := h.check(); err != nil {
		panic(fmt.Sprintf("celery: handle %s: %v", name, err))
	}
	if mux.handlers == nil {
		mux.handlers = map[string]*Handler{}
	}
	if mux.handlers[name] != nil {
		panic("celery: handle " + name + ": the name is taken")
	}
	mux.handlers[name] = h
}

var rateForm = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(/[smh])?)?$`)

// check finds what no call could ever do right.
func (h *Handler) check() error {
	o := h.Options
	switch {
	case h.Name == "":
		return errors.New("a task needs a name")
	case !rateForm.MatchString(o.RateLimit):
		return fmt.Errorf("rate limit %q is not like 10/s, 10/m or 10/h", o.RateLimit)
	case o.SoftTimeLimit < 0 || o.TimeLimit < 0 || h.Expires < 0 || h.RetryDelay < 0:
		return errors.New("a time below 0")
	case o.TimeLimit > 0 && o.SoftTimeLimit > o.TimeLimit:
		return fmt.Errorf("soft time limit %s above the hard one, %s", o.SoftTimeLimit, o.TimeLimit)
	}
	for i, p := range h.params {
		if p.kind == contextType {
			return errors.New("a context is the first parameter or none")
		}
		if err := pyjson.Readable(p.kind); err != nil {
			return fmt.Errorf("argument %s: %w", h.label(i), err)
		}
	}
	if h.value >= 0 {
		if err := pyjson.Writable(h.fn.Type().Out(h.value)); err != nil {
			return fmt.Errorf("result: %w", err)
		}
	}
	return nil
}

// Lookup returns the handler of a task, or nil.
func (m *Mux) Lookup(name string) *Handler {
	if m == nil {
		return nil
	}
	return m.handlers[name]
}

// Names lists the tasks in alphabetical order.
func (m *Mux) Names() []string { return slices.Sorted(maps.Keys(m.handlers)) }

// param is one parameter of a task.
type param struct {
	name     string // "" if callers cannot name it
	kind     reflect.Type
	index    []int // of a record's field
	fallback pyjson.Raw
	optional bool // may be left out without a fallback: stays zero
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

func (h *Handler) inspect() error {
	if h.fn.Kind() != reflect.Func || h.fn.IsNil() {
		return errors.New("not a function")
	}
	t := h.fn.Type()
	for i := range t.NumIn() {
		in := t.In(i)
		if i == 0 && in == contextType {
			h.ctx = true
			continue
		}
		h.params = append(h.params, param{kind: in})
	}
	h.variadic = t.IsVariadic()
	for i := range t.NumOut() {
		switch out := t.Out(i); {
		case out == errorType && i == t.NumOut()-1:
			h.failure = i
		case out.Implements(errorType): // it would be stored as the value of a task that succeeded
			return fmt.Errorf("returns %s: an error is the last result, and of type error", out)
		case i == 0:
			h.value = i
		default:
			return errors.New("returns more than a value and an error")
		}
	}
	return nil
}

// name is Params.
func (h *Handler) name(names []string) {
	refuse := func(format string, args ...any) {
		panic("celery: handle " + h.Name + ": " + fmt.Sprintf(format, args...))
	}
	if len(names) != len(h.params) {
		refuse("%d names for %d parameter%s", len(names), len(h.params), plural(len(h.params)))
	}
	for i, n := range names {
		name, fallback, has := strings.Cut(n, "=")
		p := &h.params[i]
		last := i == len(names)-1
		rest, takesNames := strings.CutPrefix(name, "**")
		name = strings.TrimPrefix(rest, "*")
		switch {
		case takesNames && (!last || p.kind.Kind() != reflect.Map || p.kind.Key().Kind() != reflect.String):
			refuse("**%s must be last and a map with string keys", name)
		case name != rest && !(last && h.variadic):
			refuse("*%s must be last and a variadic parameter", name)
		case name == "":
			refuse("parameter %d has no name", i+1)
		case h.find(name, i) >= 0:
			refuse("two parameters named %s", name)
		case has && (takesNames || last && h.variadic):
			refuse("%s takes what is left and has no default", name)
		}
		if takesNames {
			h.extra = i
		}
		p.name = name
		if has {
			h.setDefault(p, fallback)
		}
	}
}

func (h *Handler) setDefault(p *param, text string) {
	p.fallback = pyjson.Raw(text)
	err := pyjson.Valid(p.fallback)
	if err != nil {
		err = fmt.Errorf("%s is not JSON, which has text in quotes: %w", text, err)
	} else {
		err = pyjson.DecodeValue(p.fallback, reflect.New(p.kind).Elem(), h.zone)
	}
	if err != nil {
		panic(fmt.Sprintf("celery: handle %s: default of %s: %v", h.Name, p.name, err))
	}
}

// isRecord tells whether a lone argument of type t stands for the parameters.
func isRecord(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Struct && !pyjson.IsScalar(t)
}

func (h *Handler) useRecord(t reflect.Type) {
	if h.pointer = t.Kind() == reflect.Pointer; h.pointer {
		t = t.Elem()
	}
	h.record, h.params = t, nil
	for _, f := range pyjson.FieldsOf(t) {
		p := param{name: f.Name, kind: f.Type, index: f.Index, optional: f.OmitEmpty || f.OmitZero || f.Type.Kind() == reflect.Pointer}
		if fallback, ok := f.Tag.Lookup("default"); ok {
			h.setDefault(&p, fallback)
		}
		h.params = append(h.params, p)
	}
}

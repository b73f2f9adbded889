package celery

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agensium/agensium/celery/pyjson"
)

// Options say how one call is sent and run: the keyword arguments of Python's apply_async. Zero fields are not sent.
type Options struct {
	TaskID        string
	Queue         string // routing key of the anonymous exchange; empty: the sender's route for the task
	Priority      int    // on Redis 0 is the most urgent
	ETA           time.Time
	Countdown     time.Duration // wins over ETA
	Expires       time.Time
	ExpiresIn     time.Duration // wins over Expires
	TimeLimit     time.Duration // hard
	SoftTimeLimit time.Duration
	Retries       int
	Headers       map[string]any
	Link          []*Signature // run with the result
	LinkError     []*Signature // run with the task id, or (request, exc, traceback) by Python
	Shadow        string       // what logs and events show instead of the name
	Serializer    string       // json (default), msgpack, yaml
	IgnoreResult  bool
	ReplyTo       string
	RootID        string // of the workflow; canvas and the worker set these
	ParentID      string
	GroupID       string

	groupIndex *int
	chord      *Signature
	chain      []*Signature // the last runs next
	stamps     []pyjson.Member
	stamped    pyjson.Raw      // list of the keys of stamps
	headers    []pyjson.Member // of a retry, as they came
	origin     string          // of a retry
	nesting    int             // replaced_task_nesting
	extra      []pyjson.Member // options that we do not know, kept for whoever does
}

// merge returns o with what is set in over, as Signature._merge does: the group of a signature is never replaced.
func (o Options) merge(over Options) Options {
	set(&o.TaskID, over.TaskID)
	set(&o.Queue, over.Queue)
	set(&o.Priority, over.Priority)
	set(&o.Countdown, over.Countdown)
	set(&o.ExpiresIn, over.ExpiresIn)
	set(&o.TimeLimit, over.TimeLimit)
	set(&o.SoftTimeLimit, over.SoftTimeLimit)
	set(&o.Retries, over.Retries)
	set(&o.Shadow, over.Shadow)
	set(&o.Serializer, over.Serializer)
	set(&o.IgnoreResult, over.IgnoreResult)
	set(&o.ReplyTo, over.ReplyTo)
	set(&o.RootID, over.RootID)
	set(&o.ParentID, over.ParentID)
	set(&o.origin, over.origin)
	set(&o.nesting, over.nesting)
	set(&o.chord, over.chord)
	if !over.ETA.IsZero() {
		o.ETA = over.ETA
	}
	if !over.Expires.IsZero() {
		o.Expires = over.Expires
	}
	if o.GroupID == "" {
		o.GroupID = over.GroupID
	}
	if over.groupIndex != nil {
		o.groupIndex = over.groupIndex
	}
	if over.Headers != nil {
		o.Headers = over.Headers
	}
	if over.headers != nil {
		o.headers = over.headers
	}
	if over.Link != nil {
		o.Link = over.Link
	}
	if over.LinkError != nil {
		o.LinkError = over.LinkError
	}
	if over.chain != nil {
		o.chain = over.chain
	}
	if o.stamped == nil {
		o.stamped, o.stamps = over.stamped, over.stamps
	}
	o.extra = append(o.extra[:len(o.extra):len(o.extra)], over.extra...)
	return o
}

// isZero tells whether nothing is set.
func (o *Options) isZero() bool { return reflect.ValueOf(o).Elem().IsZero() }

func set[T comparable](field *T, value T) {
	var zero T
	if value != zero {
		*field = value
	}
}

// appendJSON appends the options of a signature in the order in which Celery sets them.
func (o *Options) appendJSON(dst []byte) ([]byte, error) {
	w := objectWriter{dst: append(dst, '{')}
	w.text("queue", o.Queue)
	if o.Priority != 0 {
		w.raw("priority", strconv.AppendInt(nil, int64(o.Priority), 10))
	}
	w.seconds("countdown", o.Countdown)
	w.time("eta", o.ETA)
	w.time("expires", o.Expires)
	w.seconds("expires", o.ExpiresIn)
	w.seconds("time_limit", o.TimeLimit)
	w.seconds("soft_time_limit", o.SoftTimeLimit)
	if o.Retries != 0 {
		w.raw("retries", strconv.AppendInt(nil, int64(o.Retries), 10))
	}
	w.text("shadow", o.Shadow)
	w.text("serializer", o.Serializer)
	if o.IgnoreResult {
		w.raw("ignore_result", []byte("true"))
	}
	if len(o.Headers) > 0 {
		w.value("headers", o.Headers)
	} else if len(o.headers) > 0 {
		w.value("headers", o.headers)
	}
	for _, m := range o.stamps {
		w.raw(m.Key, m.Value)
	}
	if o.stamped != nil {
		w.raw("stamped_headers", o.stamped)
	}
	for _, m := range o.extra {
		w.raw(m.Key, m.Value)
	}
	w.signatures("link", o.Link)
	w.signatures("link_error", o.LinkError)
	w.text("task_id", o.TaskID)
	w.text("root_id", o.RootID)
	w.text("parent_id", o.ParentID)
	w.text("reply_to", o.ReplyTo)
	w.text("group_id", o.GroupID)
	if o.chain != nil {
		w.signatures("chain", o.chain)
	}
	if o.chord != nil {
		w.signature("chord", o.chord)
	}
	if o.groupIndex != nil {
		w.raw("group_index", strconv.AppendInt(nil, int64(*o.groupIndex), 10))
	}
	return append(w.dst, '}'), w.err
}

// parse reads one option of a signature.
func (o *Options) parse(key string, raw pyjson.Raw) error {
	if string(raw) == "null" {
		return nil
	}
	var err error
	switch key {
	case "task_id":
		err = pyjson.Decode(raw, &o.TaskID, nil)
	case "queue", "routing_key":
		if key == "queue" || o.Queue == "" {
			if err = pyjson.Decode(raw, &o.Queue, nil); err != nil {
				o.extra, err = append(o.extra, pyjson.Member{Key: key, Value: raw}), nil // a Queue object of kombu
			}
		}
	case "priority":
		err = pyjson.Decode(raw, &o.Priority, nil)
	case "countdown":
		err = pyjson.Decode(raw, &o.Countdown, nil)
	case "eta":
		err = pyjson.Decode(raw, &o.ETA, nil)
	case "expires":
		if err = pyjson.Decode(raw, &o.Expires, nil); err != nil {
			err = pyjson.Decode(raw, &o.ExpiresIn, nil)
		}
	case "time_limit":
		err = pyjson.Decode(raw, &o.TimeLimit, nil)
	case "soft_time_limit":
		err = pyjson.Decode(raw, &o.SoftTimeLimit, nil)
	case "retries":
		err = pyjson.Decode(raw, &o.Retries, nil)
	case "headers":
		o.headers, err = pyjson.Members(nil, raw)
	case "link":
		o.Link, err = parseSignatures(raw)
	case "link_error":
		o.LinkError, err = parseSignatures(raw)
	case "shadow":
		err = pyjson.Decode(raw, &o.Shadow, nil)
	case "serializer":
		err = pyjson.Decode(raw, &o.Serializer, nil)
	case "ignore_result":
		err = pyjson.Decode(raw, &o.IgnoreResult, nil)
	case "reply_to":
		err = pyjson.Decode(raw, &o.ReplyTo, nil)
	case "root_id":
		err = pyjson.Decode(raw, &o.RootID, nil)
	case "parent_id":
		err = pyjson.Decode(raw, &o.ParentID, nil)
	case "group_id":
		err = pyjson.Decode(raw, &o.GroupID, nil)
	case "group_index":
		err = pyjson.Decode(raw, &o.groupIndex, nil)
	case "chord":
		o.chord, err = ParseSignature(raw)
	case "chain":
		o.chain, err = parseSignatures(raw)
	case "stamped_headers":
		o.stamped = raw
	case "exchange":
	default:
		o.extra = append(o.extra, pyjson.Member{Key: key, Value: raw})
	}
	return err
}

// sortStamps moves the stamps out of extra, where they lie among the other unknown options.
func (o *Options) sortStamps() {
	if o.stamped == nil {
		return
	}
	var names []string
	_ = pyjson.Decode(o.stamped, &names, nil) // no list of strings: then there are no stamps
	rest := o.extra[:0]
	for _, m := range o.extra {
		if slices.Contains(names, m.Key) {
			o.stamps = append(o.stamps, m)
		} else {
			rest = append(rest, m)
		}
	}
	o.extra = rest
}

// appendSeconds appends a duration as Python's client writes one: an integer if it is one.
func appendSeconds(dst []byte, d time.Duration) []byte {
	if d%time.Second == 0 {
		return strconv.AppendInt(dst, int64(d/time.Second), 10)
	}
	return pyjson.AppendFloat(dst, d.Seconds())
}

// objectWriter appends members to an object and keeps the first error.
type objectWriter struct {
	dst []byte
	err error
}

func (w *objectWriter) key(key string) {
	if w.dst[len(w.dst)-1] != '{' {
		w.dst = append(w.dst, ", "...)
	}
	w.dst = append(pyjson.AppendString(w.dst, key), ": "...)
}

func (w *objectWriter) raw(key string, value []byte) {
	w.key(key)
	w.dst = append(w.dst, value...)
}

func (w *objectWriter) text(key, value string) {
	if value != "" {
		w.key(key)
		w.dst = pyjson.AppendString(w.dst, value)
	}
}

func (w *objectWriter) seconds(key string, d time.Duration) {
	if d != 0 {
		w.key(key)
		w.dst = appendSeconds(w.dst, d)
	}
}

func (w *objectWriter) time(key string, t time.Time) {
	if !t.IsZero() {
		w.key(key)
		w.dst = append(pyjson.AppendISO(append(w.dst, '"'), t), '"')
	}
}

func (w *objectWriter) value(key string, v any) {
	w.key(key)
	var err error
	if w.dst, err = pyjson.Append(w.dst, v); err != nil && w.err == nil {
		w.err = err
	}
}

func (w *objectWriter) signature(key string, s *Signature) {
	w.key(key)
	var err error
	if w.dst, err = s.appendJSON(w.dst); err != nil && w.err == nil {
		w.err = err
	}
}

func (w *objectWriter) signatures(key string, list []*Signature) {
	if list == nil {
		return
	}
	w.key(key)
	var err error
	if w.dst, err = appendSignatures(w.dst, list); err != nil && w.err == nil {
		w.err = err
	}
}

// lastName is what stands behind the last dot: the function's name in a task's.
func lastName(task string) string { return task[strings.LastIndexByte(task, '.')+1:] }

package celery

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Cause says in a word why a message cannot become a task. The words are those of dead letters, logs and metrics.
type Cause string

// The causes. Celery deletes all such messages with a line in its log; we bury them.
const (
	CauseUndecodable Cause = "undecodable" // not JSON, not base64, compressed badly
	CauseNotATask    Cause = "not_a_task"  // a message, but of something else: no task name or no id
	CauseBadETA      Cause = "bad_eta"
	CauseBadExpires  Cause = "bad_expires"
)

// DecodeError is a message that no executor can run.
type DecodeError struct {
	Cause  Cause
	Detail string // one sentence for the log; nothing of the arguments
	ID     string // of the task, if that much could be read
	Task   string // its name, likewise
}

func (e *DecodeError) Error() string { return "decode message: " + e.Detail }

// headers is where the headers of protocol 2, or the body's members of protocol 1, lie (protocol notes A.2, A.4).
type headers struct {
	task, id, shadow, eta, expires, group, groupIndex, retries, timelimit, rootID, parentID          span
	argsrepr, kwargsrepr, origin, ignoreResult, stamps, compression, redelivered, deliveries, parked span
}

func (h *headers) member(key []byte) (*span, noter) {
	switch string(key) {
	case "task":
		return &h.task, nil
	case "id":
		return &h.id, nil
	case "shadow":
		return &h.shadow, nil
	case "eta":
		return &h.eta, nil
	case "expires":
		return &h.expires, nil
	case "group":
		return &h.group, nil
	case "group_index":
		return &h.groupIndex, nil
	case "retries":
		return &h.retries, nil
	case "timelimit":
		return &h.timelimit, nil
	case "root_id":
		return &h.rootID, nil
	case "parent_id":
		return &h.parentID, nil
	case "argsrepr":
		return &h.argsrepr, nil
	case "kwargsrepr":
		return &h.kwargsrepr, nil
	case "origin":
		return &h.origin, nil
	case "ignore_result":
		return &h.ignoreResult, nil
	case "stamps":
		return &h.stamps, nil
	case "compression":
		return &h.compression, nil
	case "redelivered":
		return &h.redelivered, nil
	case HeaderDeliveries:
		return &h.deliveries, nil
	case HeaderParked:
		return &h.parked, nil
	}
	return nil, nil
}

// bodyHeaders are the headers of protocol 1: the body is one object, with arguments in it.
type bodyHeaders struct {
	headers
	args, kwargs, taskset span
}

func (h *bodyHeaders) member(key []byte) (*span, noter) {
	switch string(key) {
	case "args":
		return &h.args, nil
	case "kwargs":
		return &h.kwargs, nil
	case "taskset":
		return &h.taskset, nil
	}
	return h.headers.member(key)
}

// Decode reads a message of protocol 2 or 1. It keeps raw, which must not change any more. loc is where an eta or expires
// without an offset is at home; nil is UTC, which is what Celery 5 takes it for, whatever its `timezone` says
// (celery/utils/time.py maybe_make_aware). A message that Python could not run either gives a [*DecodeError].
//
// The body stays closed, but in protocol 1, where all that is known of the task lies in it. If we cannot open that
// (pickle, say) the task is Opaque and only Python can tell what it is.
func Decode(raw []byte, loc *time.Location) (*Task, error) {
	l, err := survey(raw)
	if err != nil {
		return nil, err
	}
	defer layouts.Put(l)
	r := newReader(raw, l.headersAt)
	t := &Task{
		Protocol:        2,
		ContentType:     word(raw, l.contentType),
		ContentEncoding: word(raw, l.contentEncoding),
		Compression:     r.string(l.headers.compression),
		Redelivered:     isTrue(raw, l.headers.redelivered) || isTrue(raw, l.properties.info.redelivered),
		Deliveries:      r.count(l.headers.deliveries),
		Parked:          r.string(l.headers.parked),
		Raw:             raw,
		body:            l.body,
		encoding:        word(raw, l.properties.bodyEncoding),
	}
	t.readProperties(raw, l)
	switch {
	case l.headers.task.found():
		err = t.readHeaders(r, &l.headers, loc)
	case l.headersAt.found() && !isObject(raw, l.headersAt) && !isNull(raw, l.headersAt):
		err = &DecodeError{Cause: CauseNotATask, Detail: "its headers are not a JSON object", ID: t.CorrelationID}
	default:
		err = t.readProtocol1(l, loc)
	}
	if err != nil {
		return nil, err
	}
	return t, nil
}

// readHeaders takes from headers, or from the body of protocol 1, what a task is.
func (t *Task) readHeaders(r reader, h *headers, loc *time.Location) error {
	t.ID, t.Name = r.id(h.id), r.string(h.task)
	refuse := func(cause Cause, format string, args ...any) error {
		return &DecodeError{Cause: cause, Detail: fmt.Sprintf(format, args...), ID: t.ID, Task: t.Name}
	}
	if t.Name == "" {
		return refuse(CauseNotATask, "its task name is not a string, or empty")
	}
	if t.ID == "" {
		return refuse(CauseNotATask, "it has no task id")
	}
	t.Shadow, t.Origin = r.string(h.shadow), r.string(h.origin)
	t.RootID, t.ParentID, t.Group = r.id(h.rootID), r.id(h.parentID), r.id(h.group)
	t.ArgsRepr, t.KwargsRepr = r.string(h.argsrepr), r.string(h.kwargsrepr)
	t.IgnoreResult = isTrue(r.text, h.ignoreResult)
	t.Retries = r.count(h.retries)
	t.GroupIndex = -1
	if n, ok := integer(r.text, h.groupIndex); ok {
		t.GroupIndex = n
	}
	t.TimeLimit, t.SoftTimeLimit = r.limits(h.timelimit)
	if isObject(r.text, h.stamps) && len(h.stamps.of(r.text)) > len("{}") {
		t.Stamps = h.stamps.of(r.text)
	}
	var ok bool
	if t.ETA, ok = r.time(h.eta, loc); !ok {
		return refuse(CauseBadETA, "its eta %s is not a time", short(h.eta.of(r.text)))
	}
	if t.Expires, ok = r.time(h.expires, loc); !ok {
		return refuse(CauseBadExpires, "its expires %s is not a time", short(h.expires.of(r.text)))
	}
	return nil
}

// readProtocol1 opens the body. Celery makes headers of it (celery/worker/strategy.py proto1_to_proto2).
func (t *Task) readProtocol1(l *layout, loc *time.Location) error {
	t.Protocol, t.GroupIndex = 1, -1
	refuse := func(cause Cause, detail string) error {
		return &DecodeError{Cause: cause, Detail: detail, ID: t.CorrelationID}
	}
	body, err := l.openBody(t.Raw)
	var unsupported *UnsupportedError
	var bad *DecodeError
	switch {
	case errors.As(err, &unsupported), err == nil && t.ContentType != "application/json":
		t.Opaque, t.ID = true, t.CorrelationID
		return nil
	case errors.As(err, &bad):
		return refuse(bad.Cause, bad.Detail)
	case err != nil:
		return refuse(CauseUndecodable, err.Error())
	}
	s := scanner{text: body}
	var h bodyHeaders
	_, ok := s.value(&h)
	if s.space(); !ok || s.pos != len(body) || !utf8.Valid(body) {
		return refuse(CauseUndecodable, "its body is not JSON")
	}
	if !h.task.found() {
		return refuse(CauseNotATask, "it names no task, neither in its headers nor in its body")
	}
	if h.taskset.found() {
		h.group = h.taskset
	}
	r := newReader(body, span{0, len(body)})
	if err := t.readHeaders(r, &h.headers, loc); err != nil {
		return err
	}
	t.ArgsRepr, t.KwargsRepr = short(h.args.of(body)), short(h.kwargs.of(body))
	return nil
}

func (t *Task) readProperties(raw []byte, l *layout) {
	r := newReader(raw, l.propsAt)
	t.CorrelationID, t.ReplyTo, t.DeliveryTag = r.id(l.properties.correlationID), r.string(l.properties.replyTo), r.id(l.properties.deliveryTag)
	t.Exchange, t.RoutingKey = r.string(l.properties.info.exchange), r.string(l.properties.info.routingKey)
	t.Priority, _ = integer(raw, l.properties.priority)
}

// word reads a content type or encoding, the usual ones without a copy.
func word(raw []byte, v span) string {
	switch string(v.of(raw)) {
	case `"application/json"`:
		return "application/json"
	case `"utf-8"`:
		return "utf-8"
	case `"base64"`:
		return "base64"
	}
	return newReader(raw, v).string(v)
}

// short is a piece of the message for a log line.
func short(b []byte) string {
	const most = 1024 // as Celery's argsrepr
	if len(b) > most {
		return strings.ToValidUTF8(string(b[:most-3]), "") + "..."
	}
	return string(b)
}

package celery

import (
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/celery/serial"
)

// Message is a task's message, ready to be pushed to the list of its queue and priority.
type Message struct {
	ID       string
	Task     string
	Queue    string
	Priority int
	Raw      []byte // the list element
}

// Sender is what every message of one sender has in common. It is read only once it is in use.
type Sender struct {
	ReplyTo string                   // the sender's own id, a uuid; only the rpc backend of Celery uses it
	Origin  string                   // gen<pid>@<host>
	Queue   string                   // where tasks go that no route and no option sends elsewhere; default celery
	Route   func(task string) string // queue of a task, or empty; nil: none
	Tasks   *Mux                     // handlers whose [Expires] and [IgnoreResult] hold for messages that do not say; nil: none
	Now     func() time.Time         // nil: time.Now

	InheritPriority bool // what a task sends has its priority: task_inherit_parent_priority
}

// NewSender returns a sender of this process.
func NewSender() *Sender {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return &Sender{ReplyTo: uuid.NewString(), Origin: fmt.Sprintf("gen%d@%s", os.Getpid(), host), Queue: "celery"}
}

func (s *Sender) now() time.Time {
	if s.Now != nil {
		return s.Now().UTC()
	}
	return time.Now().UTC()
}

func (s *Sender) queue(task, option string) string {
	if option != "" {
		return option
	}
	if s.Route != nil {
		if q := s.Route(task); q != "" {
			return q
		}
	}
	if s.Queue == "" {
		return "celery"
	}
	return s.Queue
}

// message builds the message of a plain signature whose options are complete, as celery/app/amqp.py as_task_v2
// and kombu's Channel.prepare_message do. Keys and their order are Celery 5.6's.
func (s *Sender) message(sig *Signature) (Message, error) {
	o := &sig.Options
	m := Message{ID: o.TaskID, Task: sig.Task, Queue: s.queue(sig.Task, o.Queue), Priority: o.Priority}
	body := make([]byte, 0, 256)
	body = append(appendRaws(append(body, '['), sig.Args), ", "...)
	body, _ = pyjson.Append(body, emptyMembers(sig.Kwargs))
	embed := objectWriter{dst: append(body, ", {"...)}
	for _, list := range [...]struct {
		key  string
		sigs []*Signature
	}{{"callbacks", o.Link}, {"errbacks", o.LinkError}, {"chain", o.chain}} {
		if list.sigs == nil {
			embed.raw(list.key, null)
		} else {
			embed.signatures(list.key, list.sigs)
		}
	}
	if o.chord == nil {
		embed.raw("chord", null)
	} else {
		embed.signature("chord", o.chord)
	}
	if embed.err != nil {
		return m, fmt.Errorf("write message of %s: %w", sig.Task, embed.err)
	}
	body = append(embed.dst, '}', ']')
	format, ok := serial.ByName(o.Serializer)
	if !ok {
		return m, fmt.Errorf("write message of %s: unknown serializer %q", sig.Task, o.Serializer)
	}
	body, err := format.Encode(body)
	if err != nil {
		return m, fmt.Errorf("write message of %s as %s: %w", sig.Task, format.Name, err)
	}
	m.Raw, err = s.envelope(sig, &m, format, body)
	return m, err
}

var null = []byte("null")

func emptyMembers(m []pyjson.Member) []pyjson.Member {
	if m == nil {
		return []pyjson.Member{}
	}
	return m
}

func (s *Sender) envelope(sig *Signature, m *Message, format serial.Format, body []byte) ([]byte, error) {
	o := &sig.Options
	expires := o.Expires
	if o.ExpiresIn != 0 {
		expires = s.now().Add(o.ExpiresIn)
	}
	w := objectWriter{dst: make([]byte, 0, base64.StdEncoding.EncodedLen(len(body))+1024)}
	w.dst = append(w.dst, `{"body": "`...)
	w.dst = base64.StdEncoding.AppendEncode(w.dst, body)
	w.dst = append(w.dst, `", "content-encoding": "`...)
	w.dst = append(w.dst, format.Encoding...)
	w.dst = append(w.dst, `", "content-type": "`...)
	w.dst = append(w.dst, format.ContentType...)
	w.dst = append(w.dst, `", "headers": {"lang": "py"`...)
	s.headers(&w, sig, expires)
	w.dst = append(w.dst, `}, "properties": {`...)
	w.textOrNull("correlation_id", o.TaskID)
	w.text("reply_to", first(o.ReplyTo, s.ReplyTo))
	w.text("origin", o.origin)
	w.raw("delivery_mode", []byte("2"))
	if !expires.IsZero() {
		ms := max(0, expires.Sub(s.now()).Milliseconds())
		if o.ExpiresIn != 0 {
			ms = max(0, o.ExpiresIn.Milliseconds())
		}
		w.text("expiration", strconv.FormatInt(ms, 10))
	}
	w.dst = append(w.dst, `, "delivery_info": {"exchange": "", "routing_key": `...)
	w.dst = append(pyjson.AppendString(w.dst, m.Queue), '}')
	w.key("priority")
	w.dst = strconv.AppendInt(w.dst, int64(o.Priority), 10)
	w.text("body_encoding", "base64")
	w.key("delivery_tag")
	w.dst = append(appendUUIDText(append(w.dst, '"'), uuid.New()), '"')
	w.dst = append(w.dst, '}', '}')
	if w.err != nil {
		return nil, fmt.Errorf("write message of %s: %w", sig.Task, w.err)
	}
	return w.dst, nil
}

// headers appends the headers of protocol 2 (protocol notes A.2).
func (s *Sender) headers(w *objectWriter, sig *Signature, expires time.Time) {
	o := &sig.Options
	w.value("task", sig.Task)
	w.value("id", o.TaskID)
	w.textOrNull("shadow", o.Shadow)
	eta := o.ETA
	if o.Countdown != 0 {
		eta = s.now().Add(o.Countdown)
	}
	w.timeOrNull("eta", eta)
	w.timeOrNull("expires", expires)
	w.textOrNull("group", o.GroupID)
	if o.groupIndex == nil {
		w.raw("group_index", null)
	} else {
		w.key("group_index")
		w.dst = strconv.AppendInt(w.dst, int64(*o.groupIndex), 10)
	}
	w.key("retries")
	w.dst = strconv.AppendInt(w.dst, int64(o.Retries), 10)
	w.key("timelimit")
	w.dst = append(appendLimit(append(w.dst, '['), o.TimeLimit), ", "...)
	w.dst = append(appendLimit(w.dst, o.SoftTimeLimit), ']')
	w.text("root_id", first(o.RootID, o.TaskID))
	w.textOrNull("parent_id", o.ParentID)
	w.text("argsrepr", pyjson.TupleOf(sig.Args))
	w.text("kwargsrepr", pyjson.DictOf(sig.Kwargs))
	w.text("origin", first(o.origin, s.Origin))
	if !o.IgnoreResult && s.Tasks.Lookup(sig.Task) == nil {
		w.raw("ignore_result", null) // the task's own option counts, which only its worker knows; since Celery 5.7 false would overrule it
	} else {
		w.value("ignore_result", s.ignores(sig))
	}
	w.key("replaced_task_nesting")
	w.dst = strconv.AppendInt(w.dst, int64(o.nesting), 10)
	if o.stamped == nil {
		w.raw("stamped_headers", null)
	} else {
		w.raw("stamped_headers", o.stamped)
	}
	w.value("stamps", emptyMembers(o.stamps))
	for _, m := range o.headers {
		w.raw(m.Key, m.Value)
	}
	if len(o.Headers) > 0 {
		custom := objectWriter{}
		custom.dst, custom.err = pyjson.Append(nil, o.Headers)
		if custom.err != nil {
			w.err = custom.err
			return
		}
		w.dst = append(append(w.dst, ", "...), custom.dst[1:len(custom.dst)-1]...)
	}
}

// ignores tells whether nobody will store the result of a plain signature, as far as it is known here.
func (s *Sender) ignores(sig *Signature) bool {
	h := s.Tasks.Lookup(sig.Task)
	return sig.Options.IgnoreResult || h != nil && h.Options.IgnoreResult
}

func (w *objectWriter) textOrNull(key, value string) {
	if value == "" {
		w.raw(key, null)
		return
	}
	w.text(key, value)
}

func (w *objectWriter) timeOrNull(key string, t time.Time) {
	if t.IsZero() {
		w.raw(key, null)
		return
	}
	w.time(key, t)
}

func appendLimit(dst []byte, d time.Duration) []byte {
	if d == 0 {
		return append(dst, null...)
	}
	return appendSeconds(dst, d)
}

func appendUUIDText(dst []byte, id uuid.UUID) []byte {
	text, _ := id.MarshalText() // cannot fail
	return append(dst, text...)
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

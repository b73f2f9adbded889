package celery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/celery/serial"
)

// Request is a task that runs in this process: its message, its opened body and what it has sent. Of the embedded [Task] are
// ID, Name, Retries, RootID, ParentID, Group, ETA, Expires and the limits; the application's own headers are among [Request.Headers].
// A handler gets it from its context ([RequestFrom]) and may read it from any goroutine; the fields are not for it to change.
type Request struct {
	*Task
	Queue    string    // name of the queue that it came from
	Node     string    // name of the worker, as in w1@host
	Deadline time.Time // of the hard limit; zero if none
	Args     pyjson.Raw
	Kwargs   pyjson.Raw

	callbacks, errbacks, chain []*Signature
	chord                      *Signature

	mu    sync.Mutex
	trail []*Ref // what it has sent, for children of its result
}

type requestKey struct{}

// RequestFrom returns the request of the task that runs under ctx, or nil outside of one.
func RequestFrom(ctx context.Context) *Request {
	r, _ := ctx.Value(requestKey{}).(*Request)
	return r
}

// WithRequest returns a context that carries r. Executors call it.
func WithRequest(ctx context.Context, r *Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// Root is the id of the first task of the workflow.
func (r *Request) Root() string { return first(r.RootID, r.ID) }

// Sent records what the task has sent: it becomes one of the children in its result. The client calls it.
func (r *Request) Sent(ref *Ref) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trail = append(r.trail, ref)
}

// Children are the references of what the task has sent.
func (r *Request) Children() []*Ref {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.trail)
}

func (r *Request) appendChildren(dst []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return appendTuples(dst, r.trail)
}

// Callbacks are the signatures to run with the result.
func (r *Request) Callbacks() []*Signature { return r.callbacks }

// Errbacks are the signatures to run if the task fails.
func (r *Request) Errbacks() []*Signature { return r.errbacks }

// Chain is the steps that follow, in reverse.
func (r *Request) Chain() []*Signature { return r.chain }

// Chord is the body of the chord that the task is a part of, or nil.
func (r *Request) Chord() *Signature { return r.chord }

// Headers are all headers of the message, the application's own among them. They are read from the message at each
// call; the error is that of a message that is malformed.
func (r *Request) Headers() (map[string]any, error) {
	envelope, err := pyjson.Members(nil, r.Raw)
	if err != nil {
		return nil, fmt.Errorf("read headers: %w", err)
	}
	for _, m := range envelope {
		if m.Key == "headers" {
			var headers map[string]any
			err := pyjson.Decode(m.Value, &headers, nil)
			return headers, err
		}
	}
	return nil, nil
}

// ErrNotAccepted says that a body is in a serializer that is not accepted here.
var ErrNotAccepted = errors.New("content type is not accepted here")

// Open opens the body of a task: body is what [Body] returned for its message. accept names the content types that
// may be read; nil means JSON only. Queue is the queue that the message came from.
func Open(t *Task, body []byte, queue string, accept []string) (*Request, error) {
	r := &Request{Task: t, Queue: queue}
	text, err := openBody(t, body, accept)
	if err != nil {
		return nil, fmt.Errorf("open body of %s: %w", t.Name, err)
	}
	if len(text) > 0 && text[0] == '{' {
		err = r.openV1(text)
	} else {
		err = r.openV2(text)
	}
	if err != nil {
		return nil, fmt.Errorf("open body of %s: %w", t.Name, err)
	}
	return r, nil
}

func openBody(t *Task, body []byte, accept []string) ([]byte, error) {
	if t.ContentType == "application/json" || t.ContentType == "" {
		if !utf8.Valid(body) {
			return nil, errors.New("it is not UTF-8")
		}
		return body, nil // Elements and Members check the rest
	}
	format, err := serial.ByContentType(t.ContentType)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAccepted, err)
	}
	for _, a := range accept {
		if a == format.Name || a == format.ContentType {
			return format.Decode(body)
		}
	}
	return nil, fmt.Errorf("%w: %s, which accept_content does not have", ErrNotAccepted, t.ContentType)
}

// plainEmbed is the embed of a task without canvas, as json.dumps writes it.
const plainEmbed = `{"callbacks": null, "errbacks": null, "chain": null, "chord": null}`

func (r *Request) openV2(text []byte) error {
	var room [3]pyjson.Raw
	parts, err := pyjson.Elements(room[:0], text)
	if err != nil {
		return err
	}
	if len(parts) != 3 {
		return fmt.Errorf("a list of %d instead of args, kwargs and embed", len(parts))
	}
	r.Args, r.Kwargs = parts[0], parts[1]
	if string(parts[2]) == plainEmbed || string(parts[2]) == "null" {
		return nil
	}
	embed, err := pyjson.Members(nil, parts[2])
	if err != nil {
		return err
	}
	return r.openEmbed(embed)
}

// openV1 opens a body of protocol 1: one object (protocol notes A.4).
func (r *Request) openV1(text []byte) error {
	members, err := pyjson.Members(nil, text)
	if err != nil {
		return err
	}
	r.Args, r.Kwargs = pyjson.Raw("[]"), pyjson.Raw("{}")
	for _, m := range members {
		switch {
		case m.Key == "args" && string(m.Value) != "null":
			r.Args = m.Value
		case m.Key == "kwargs" && string(m.Value) != "null":
			r.Kwargs = m.Value
		}
	}
	return r.openEmbed(members)
}

func (r *Request) openEmbed(embed []pyjson.Member) error {
	var err error
	for _, m := range embed {
		switch m.Key {
		case "callbacks":
			r.callbacks, err = parseSignatures(m.Value)
		case "errbacks":
			r.errbacks, err = parseSignatures(m.Value)
		case "chain":
			r.chain, err = parseSignatures(m.Value)
		case "chord":
			r.chord, err = ParseSignature(m.Value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.Key, err)
		}
	}
	return nil
}

// pid is the process id in STARTED documents.
var pid = os.Getpid()

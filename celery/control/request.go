package control

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// request is a decoded control message (kombu/pidbox.py Mailbox._publish, protocol notes E.1).
type request struct {
	method    string
	arguments Arguments
	ticket    json.RawMessage
	replyTo   *address  // nil: nobody waits for an answer
	clock     int64     // of the sender; 0 if it has none
	expires   time.Time // until when the sender waits; zero if it does not say
	to        audience
	refusal   error // answered instead of the command's value; nil: the command is run
	content   content
}

type address struct {
	Exchange   string `json:"exchange"`
	RoutingKey string `json:"routing_key"`
}

// audience says which nodes a request is for.
type audience struct {
	destination json.RawMessage
	pattern     string
	matcher     string
}

// decodeRequest reads a message of the pidbox channel, all but a body that is not JSON: that is for [request.read]. An error
// means that the message is useless, never that we are.
func decodeRequest(raw []byte) (*request, error) {
	headers, c, err := open(raw)
	if err != nil {
		return nil, err
	}
	r := &request{content: c}
	r.clock, r.expires = requestHeaders(headers)
	if r.sealed() {
		return r, nil
	}
	return r, r.read(c.body)
}

// sealed tells whether the body has not been read: it is of another serializer.
func (r *request) sealed() bool { return r.method == "" && r.content.kind != jsonType }

// read reads the body, as JSON.
func (r *request) read(body []byte) error {
	var b struct {
		Method      string          `json:"method"`
		Arguments   json.RawMessage `json:"arguments"`
		Destination json.RawMessage `json:"destination"`
		Pattern     *string         `json:"pattern"`
		Matcher     *string         `json:"matcher"`
		Ticket      json.RawMessage `json:"ticket"`
		ReplyTo     *address        `json:"reply_to"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return fmt.Errorf("decode control request: %w", err)
	}
	if b.Method == "" {
		return errors.New("decode control request: it names no method")
	}
	r.content.body = nil
	r.method, r.ticket, r.replyTo, r.to = b.Method, b.Ticket, b.ReplyTo, audience{destination: b.Destination}
	if b.Pattern != nil && b.Matcher != nil {
		r.to.pattern, r.to.matcher = *b.Pattern, *b.Matcher
	}
	if truthy(b.Arguments) {
		if err := json.Unmarshal(b.Arguments, &r.arguments); err != nil {
			return fmt.Errorf("decode arguments of control request %q: %w", b.Method, err)
		}
	}
	return nil
}

// requestHeaders reads clock and expires. Both only help: what cannot be read is left out.
func requestHeaders(raw json.RawMessage) (clock int64, expires time.Time) {
	var headers map[string]json.RawMessage
	if json.Unmarshal(raw, &headers) != nil {
		return 0, time.Time{}
	}
	if json.Unmarshal(headers["clock"], &clock) != nil || clock < 0 {
		clock = 0
	}
	var seconds float64
	if json.Unmarshal(headers["expires"], &seconds) == nil && seconds > 0 && seconds < math.MaxInt32*2 {
		expires = time.UnixMilli(int64(seconds * 1000))
	}
	return clock, expires
}

// includes tells whether the node is meant: by name, else by pattern, else everyone is
// (kombu/pidbox.py Node.handle_message).
func (a audience) includes(node string) (bool, error) {
	if truthy(a.destination) {
		var names []any
		if json.Unmarshal(a.destination, &names) == nil {
			return slices.Contains(names, any(node)), nil
		}
		var text string
		if json.Unmarshal(a.destination, &text) == nil {
			return strings.Contains(text, node), nil // Python's `in`, as the original has it
		}
		return false, fmt.Errorf("destination %.80s is neither a list nor a string", a.destination)
	}
	if a.pattern != "" && a.matcher != "" {
		return match(a.matcher, a.pattern, node)
	}
	return true, nil
}

// truthy tells whether Python would call this JSON value true.
func truthy(raw json.RawMessage) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", "false", "0", "0.0", `""`, "[]", "{}":
		return false
	}
	return true
}

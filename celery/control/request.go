package control

import (
	"bytes"
	"encoding/json"
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

// decodeRequest reads a message of the pidbox channel. An error means that the message is useless, never that we are.
func decodeRequest(raw []byte) (*request, error) {
	headers, contentType, body, err := open(raw)
	if err != nil {
		return nil, err
	}
	if contentType != "application/json" {
		return nil, fmt.Errorf("content type %q: %w", contentType, errContentType)
	}
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
		return nil, fmt.Errorf("decode control request: %w", err)
	}
	if b.Method == "" {
		return nil, fmt.Errorf("decode control request: it names no method")
	}
	r := &request{method: b.Method, ticket: b.Ticket, replyTo: b.ReplyTo, to: audience{destination: b.Destination}}
	if b.Pattern != nil && b.Matcher != nil {
		r.to.pattern, r.to.matcher = *b.Pattern, *b.Matcher
	}
	if truthy(b.Arguments) {
		if err := json.Unmarshal(b.Arguments, &r.arguments); err != nil {
			return nil, fmt.Errorf("decode arguments of control request %q: %w", b.Method, err)
		}
	}
	r.clock, r.expires = requestHeaders(headers)
	return r, nil
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

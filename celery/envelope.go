package celery

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/agensium/agensium/celery/pyjson"
)

// layout is where the parts of a message lie that we look at (protocol notes A.1).
type layout struct {
	body, contentType, contentEncoding span

	headersAt  span
	headers    headers
	propsAt    span
	properties properties
}

func (l *layout) member(key []byte) (*span, noter) {
	switch string(key) {
	case "body":
		return &l.body, nil
	case "content-type":
		return &l.contentType, nil
	case "content-encoding":
		return &l.contentEncoding, nil
	case "headers":
		l.headers = headers{}
		return &l.headersAt, &l.headers
	case "properties":
		l.properties = properties{}
		return &l.propsAt, &l.properties
	}
	return nil, nil
}

type properties struct {
	correlationID, replyTo, priority, bodyEncoding, deliveryTag span

	infoAt span
	info   deliveryInfo
}

func (p *properties) member(key []byte) (*span, noter) {
	switch string(key) {
	case "correlation_id":
		return &p.correlationID, nil
	case "reply_to":
		return &p.replyTo, nil
	case "priority":
		return &p.priority, nil
	case "body_encoding":
		return &p.bodyEncoding, nil
	case "delivery_tag":
		return &p.deliveryTag, nil
	case "delivery_info":
		p.info = deliveryInfo{}
		return &p.infoAt, &p.info
	}
	return nil, nil
}

type deliveryInfo struct {
	exchange, routingKey, redelivered span
}

func (i *deliveryInfo) member(key []byte) (*span, noter) {
	switch string(key) {
	case "exchange":
		return &i.exchange, nil
	case "routing_key":
		return &i.routingKey, nil
	case "redelivered":
		return &i.redelivered, nil
	}
	return nil, nil
}

// layouts are used again: one is larger than most messages.
var layouts = sync.Pool{New: func() any { return new(layout) }}

// survey finds the parts of a message; who is done with them may put the layout back. Only what Python cannot read either is an error.
func survey(raw []byte) (*layout, error) {
	if !utf8.Valid(raw) {
		return nil, &DecodeError{Cause: CauseUndecodable, Detail: "the message is not UTF-8"}
	}
	l := layouts.Get().(*layout)
	*l = layout{}
	s := scanner{text: raw}
	ok := s.object(l)
	if s.space(); !ok || s.pos != len(raw) {
		return nil, &DecodeError{Cause: CauseUndecodable, Detail: "the message is not a JSON object: byte " + strconv.Itoa(s.pos)}
	}
	return l, nil
}

// Redelivered returns the message marked as delivered before, as kombu marks what it puts back (protocol notes B.6):
// headers.redelivered and properties.delivery_info.redelivered become true and, if count > 0, headers
// [HeaderDeliveries] becomes count. All other bytes stay as they are. What is absent is added. The error is a
// [*DecodeError], for a message that is not a JSON object.
func Redelivered(raw []byte, count int) ([]byte, error) {
	l, err := survey(raw)
	if err != nil {
		return nil, err
	}
	edit := editor{text: raw}
	headers := []member{{"redelivered", "true", l.headers.redelivered}}
	if count > 0 {
		headers = append(headers, member{HeaderDeliveries, strconv.Itoa(count), l.headers.deliveries})
	}
	info := []member{{"redelivered", "true", l.properties.info.redelivered}}
	root := span{bytes.IndexByte(raw, '{'), bytes.LastIndexByte(raw, '}') + 1}

	edit.set(root, "headers", l.headersAt, headers)
	if isObject(raw, l.propsAt) {
		edit.set(l.propsAt, "delivery_info", l.properties.infoAt, info)
	} else {
		edit.set(root, "properties", l.propsAt, []member{{"delivery_info", object(info), span{}}})
	}
	return edit.apply(), nil
}

// ParkedFor returns the message with its header [HeaderParked] set. All other bytes stay as they are. The error is a
// [*DecodeError], for a message that is not a JSON object.
func ParkedFor(raw []byte, why string) ([]byte, error) {
	l, err := survey(raw)
	if err != nil {
		return nil, err
	}
	edit := editor{text: raw}
	root := span{bytes.IndexByte(raw, '{'), bytes.LastIndexByte(raw, '}') + 1}
	edit.set(root, "headers", l.headersAt, []member{{HeaderParked, string(pyjson.AppendString(nil, why)), l.headers.parked}})
	return edit.apply(), nil
}

// Deliveries returns the count that Redelivered wrote last, 0 if there is none.
func Deliveries(raw []byte) int {
	l, err := survey(raw)
	if err != nil {
		return 0
	}
	n, _ := integer(raw, l.headers.deliveries)
	return max(n, 0)
}

// member is a member of an object, and where its value lies if it has one already.
type member struct {
	key, value string
	at         span
}

func object(members []member) string {
	s := "{"
	for i, m := range members {
		if i > 0 {
			s += ", "
		}
		s += `"` + m.key + `": ` + m.value
	}
	return s + "}"
}

// editor gathers replacements and insertions in a text.
type editor struct {
	text  []byte
	edits []edit
}

type edit struct {
	span
	text string
}

// set gives the object at `at`, the value of key in parent, the members. If there is no such object it is made.
func (ed *editor) set(parent span, key string, at span, members []member) {
	switch {
	case isObject(ed.text, at):
		var added []member
		for _, m := range members {
			if m.at.found() {
				ed.edits = append(ed.edits, edit{m.at, m.value})
			} else {
				added = append(added, m)
			}
		}
		ed.append(at, added)
	case at.found():
		ed.edits = append(ed.edits, edit{at, object(members)})
	default:
		ed.append(parent, []member{{key: key, value: object(members)}})
	}
}

// append adds members at the end of an object.
func (ed *editor) append(at span, members []member) {
	end := at.hi - 1
	for _, m := range members {
		text := `"` + m.key + `": ` + m.value
		if len(bytes.TrimSpace(ed.text[at.lo+1:end])) > 0 || ed.appendedAt(end) {
			text = ", " + text
		}
		ed.edits = append(ed.edits, edit{span{end, end}, text})
	}
}

func (ed *editor) appendedAt(pos int) bool {
	for _, e := range ed.edits {
		if e.lo == pos && e.hi == pos {
			return true
		}
	}
	return false
}

// apply returns the edited text. Insertions at one place keep their order.
func (ed *editor) apply() []byte {
	slices.SortStableFunc(ed.edits, func(a, b edit) int { return cmp.Compare(a.lo, b.lo) })
	size := len(ed.text)
	for _, e := range ed.edits {
		size += len(e.text) - (e.hi - e.lo)
	}
	out := make([]byte, 0, size)
	pos := 0
	for _, e := range ed.edits {
		out = append(append(out, ed.text[pos:e.lo]...), e.text...)
		pos = e.hi
	}
	return append(out, ed.text[pos:]...)
}

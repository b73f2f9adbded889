package celery

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// envelope is where the parts of a message lie (protocol notes A.1).
type envelope struct {
	body, contentType, contentEncoding, headers, properties span
}

func (e *envelope) slot(key []byte) *span {
	switch string(key) {
	case "body":
		return &e.body
	case "content-type":
		return &e.contentType
	case "content-encoding":
		return &e.contentEncoding
	case "headers":
		return &e.headers
	case "properties":
		return &e.properties
	}
	return nil
}

// open finds the parts of a message. Only what Python cannot read either is an error.
func open(raw []byte) (envelope, error) {
	var e envelope
	if !utf8.Valid(raw) {
		return e, &DecodeError{Cause: CauseUndecodable, Detail: "the message is not UTF-8"}
	}
	if at, ok := document(raw, e.slot); !ok {
		return e, &DecodeError{Cause: CauseUndecodable, Detail: "the message is not a JSON object: byte " + strconv.Itoa(at)}
	}
	return e, nil
}

// marks are the members that Redelivered sets.
type marks struct {
	headers, properties, info        span
	headerFlag, deliveries, infoFlag span
}

func findMarks(raw []byte, e envelope) marks {
	m := marks{headers: e.headers, properties: e.properties}
	members(raw, e.headers, func(key []byte) *span {
		switch string(key) {
		case "redelivered":
			return &m.headerFlag
		case HeaderDeliveries:
			return &m.deliveries
		}
		return nil
	})
	members(raw, e.properties, func(key []byte) *span {
		if string(key) == "delivery_info" {
			return &m.info
		}
		return nil
	})
	members(raw, m.info, func(key []byte) *span {
		if string(key) == "redelivered" {
			return &m.infoFlag
		}
		return nil
	})
	return m
}

// Redelivered returns the message marked as delivered before, as kombu marks what it puts back (protocol notes B.6):
// headers.redelivered and properties.delivery_info.redelivered become true and, if count > 0, headers
// [HeaderDeliveries] becomes count. All other bytes stay as they are. What is absent is added. The error is a
// [*DecodeError], for a message that is not a JSON object.
func Redelivered(raw []byte, count int) ([]byte, error) {
	e, err := open(raw)
	if err != nil {
		return nil, err
	}
	m := findMarks(raw, e)
	edit := editor{text: raw}
	headers := []member{{"redelivered", "true", m.headerFlag}}
	if count > 0 {
		headers = append(headers, member{HeaderDeliveries, strconv.Itoa(count), m.deliveries})
	}
	info := []member{{"redelivered", "true", m.infoFlag}}
	root := span{bytes.IndexByte(raw, '{'), bytes.LastIndexByte(raw, '}') + 1}

	edit.set(root, "headers", m.headers, headers)
	switch {
	case isObject(raw, m.properties):
		edit.set(m.properties, "delivery_info", m.info, info)
	default:
		edit.set(root, "properties", m.properties, []member{{"delivery_info", object(info), span{}}})
	}
	return edit.apply(), nil
}

// Deliveries returns the count that Redelivered wrote last, 0 if there is none.
func Deliveries(raw []byte) int {
	e, err := open(raw)
	if err != nil {
		return 0
	}
	n, _ := integer(raw, findMarks(raw, e).deliveries)
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

package pyjson

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// ReprLimit is the length in characters of the reprs in messages, events and logs (celery/app/amqp.py).
const ReprLimit = 1024

// Tuple returns the repr of args, an array, as Celery's saferepr prints the tuple of it: cut at ReprLimit, three
// levels deep. It is the header argsrepr.
func Tuple(args Raw) string {
	elements, err := Elements(nil, args)
	if err != nil {
		return string(args)
	}
	return TupleOf(elements)
}

// TupleOf is Tuple of elements that have been taken apart already.
func TupleOf(elements []Raw) string {
	r := repr{left: ReprLimit}
	r.sequence(elements, "(", ")", len(elements) == 1)
	return string(r.out)
}

// DictOf is Repr of an object that has been taken apart already.
func DictOf(members []Member) string {
	if len(members) == 0 {
		return "{}"
	}
	r := repr{left: ReprLimit}
	r.members(members)
	return string(r.out)
}

// Repr returns the repr of a value as saferepr prints it, cut at ReprLimit. It is the header kwargsrepr.
func Repr(raw Raw) string {
	r := repr{left: ReprLimit}
	r.value(raw)
	return string(r.out)
}

type repr struct {
	out   []byte
	left  int // characters until the cut
	level int
	cut   bool
	depth int // containers that began after the cut
}

type tokenKind int8

const (
	text tokenKind = iota
	opening
	closing
)

// emit is celery/utils/saferepr.py _saferepr for one token: after the cut only closing brackets come through.
func (r *repr) emit(s string, kind tokenKind) {
	if !r.cut && r.left <= 0 {
		if kind == closing {
			r.out = append(r.out, s...)
			return
		}
		r.out = append(r.out, ", ..."...)
		r.cut = true
	}
	if !r.cut {
		r.out = append(r.out, s...)
		r.left -= utf8.RuneCountInString(s)
		return
	}
	switch kind {
	case opening:
		r.depth++
	case closing:
		if r.depth--; r.depth < 0 {
			r.depth = 0
			r.out = append(r.out, s...)
		}
	}
}

func (r *repr) value(raw Raw) {
	raw = trim(raw)
	if len(raw) == 0 {
		return
	}
	switch raw[0] {
	case 'n':
		r.emit("None", text)
	case 't':
		r.emit("True", text)
	case 'f':
		r.emit("False", text)
	case 'N':
		r.emit("nan", text)
	case 'I':
		r.emit("inf", text)
	case '"':
		r.emit(quoted(unquote(raw), r.left), text)
	case '[':
		elements, err := Elements(nil, raw)
		if err != nil {
			r.emit(string(raw), text)
			return
		}
		r.sequence(elements, "[", "]", false)
	case '{':
		if kind, value, ok := typed(raw); ok {
			r.emit(typedRepr(kind, value), text)
			return
		}
		r.dict(raw)
	default:
		if string(raw) == "-Infinity" {
			raw = Raw("-inf")
		}
		r.emit(string(raw), text)
	}
}

func (r *repr) sequence(elements []Raw, open, end string, single bool) {
	if r.level >= 3 {
		r.emit(open+"..."+end, text)
		return
	}
	r.level++
	r.emit(open, opening)
	for i, e := range elements {
		if i > 0 {
			r.emit(", ", text)
		}
		if r.cut && r.depth == 0 {
			break // nothing after the cut shows but our own bracket
		}
		r.value(e)
	}
	if single {
		end = "," + end
	}
	r.emit(end, closing)
	r.level--
}

func (r *repr) dict(raw Raw) {
	members, err := Members(nil, raw)
	if err != nil {
		r.emit(string(raw), text)
		return
	}
	r.members(members)
}

func (r *repr) members(members []Member) {
	if r.level >= 3 {
		r.emit("{...}", text)
		return
	}
	r.level++
	r.emit("{", opening)
	for i, m := range members {
		if i > 0 {
			r.emit(", ", text)
		}
		if r.cut && r.depth == 0 {
			break
		}
		r.emit(quoted(m.Key, r.left), text)
		r.emit(": ", text)
		r.value(m.Value)
	}
	r.emit("}", closing)
	r.level--
}

// quoted is saferepr's form of a string: single quotes, nothing else escaped, cut at limit on a word.
func quoted(s string, limit int) string {
	if utf8.RuneCountInString(s) > limit && limit > 0 {
		cut := 0
		for range limit {
			_, size := utf8.DecodeRuneInString(s[cut:])
			cut += size
		}
		s = s[:cut]
		if i := strings.LastIndexByte(s, ' '); i >= 0 {
			s = s[:i]
		}
		s += "..."
	}
	return "'" + strings.ReplaceAll(s, "'", `\'`) + "'"
}

func typedRepr(kind string, value Raw) string {
	d := decoder{}
	x, err := d.revive(kind, value)
	if err != nil {
		return fmt.Sprintf("{'__type__': '%s', '__value__': %s}", kind, Repr(value))
	}
	switch x := x.(type) {
	case uuid.UUID:
		return "UUID('" + x.String() + "')"
	case Decimal:
		return "Decimal('" + string(x) + "')"
	case Date:
		return fmt.Sprintf("datetime.date(%d, %d, %d)", x.Year, x.Month, x.Day)
	case []byte:
		if utf8.Valid(x) {
			return "b'" + string(x) + "'"
		}
		return fmt.Sprintf("b'%x'", x)
	}
	return clockRepr(kind, unquote(value))
}

// clockRepr is the repr of a datetime or a time, whose isoformat is s.
func clockRepr(kind, s string) string {
	clock := strings.IndexByte(s, 'T') + 1 // the date has hyphens of its own
	body, zone := s, ""
	if at := strings.IndexAny(s[clock:], "+-Z"); at >= 0 {
		body, zone = s[:clock+at], s[clock+at:]
	}
	t, err := ParseISO(body, nil)
	if kind == "time" {
		t, err = ParseISO("2000-01-01T"+body, nil)
	}
	if err != nil {
		return "'" + s + "'"
	}
	var parts []string
	if kind == "datetime" {
		parts = append(parts, strconv.Itoa(t.Year()), strconv.Itoa(int(t.Month())), strconv.Itoa(t.Day()))
	}
	parts = append(parts, strconv.Itoa(t.Hour()), strconv.Itoa(t.Minute()))
	us := t.Nanosecond() / 1000
	if t.Second() != 0 || us != 0 {
		parts = append(parts, strconv.Itoa(t.Second()))
	}
	if us != 0 {
		parts = append(parts, strconv.Itoa(us))
	}
	if zone != "" {
		parts = append(parts, "tzinfo="+zoneRepr(zone))
	}
	return "datetime." + kind + "(" + strings.Join(parts, ", ") + ")"
}

func zoneRepr(zone string) string {
	if zone == "Z" || zone == "+00:00" || zone == "-00:00" || len(zone) < 6 {
		return "datetime.timezone.utc"
	}
	hours, _ := strconv.Atoi(zone[1:3])
	minutes, _ := strconv.Atoi(zone[4:6])
	seconds := hours*3600 + minutes*60
	if zone[0] == '-' {
		return fmt.Sprintf("datetime.timezone(datetime.timedelta(days=-1, seconds=%d))", 86400-seconds)
	}
	return fmt.Sprintf("datetime.timezone(datetime.timedelta(seconds=%d))", seconds)
}

// StringRepr is Python's own repr of a str: the quotes that need fewer escapes, non-printing characters escaped.
func StringRepr(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	out := []byte{quote}
	for i := 0; i < len(s); {
		r, size := nextRune(s[i:])
		switch {
		case r == rune(quote) || r == '\\':
			out = append(out, '\\', byte(r))
		case r == '\n':
			out = append(out, `\n`...)
		case r == '\r':
			out = append(out, `\r`...)
		case r == '\t':
			out = append(out, `\t`...)
		case r < ' ' || r >= 0x7F && r <= 0xFF && !unicode.IsPrint(r):
			out = append(out, '\\', 'x', hexDigits[r>>4&15], hexDigits[r&15])
		case r > 0xFF && r <= 0xFFFF && !unicode.IsPrint(r):
			out = appendUnit(out, r)
		case r > 0xFFFF && !unicode.IsPrint(r):
			out = fmt.Appendf(out, `\U%08x`, r)
		default:
			out = append(out, s[i:i+size]...)
		}
		i += size
	}
	return string(append(out, quote))
}

// BytesRepr is Python's repr of a bytes.
func BytesRepr(b []byte) string {
	quote := byte('\'')
	if strings.Contains(string(b), "'") && !strings.Contains(string(b), `"`) {
		quote = '"'
	}
	out := []byte{'b', quote}
	for _, c := range b {
		switch {
		case c == quote || c == '\\':
			out = append(out, '\\', c)
		case c == '\n':
			out = append(out, `\n`...)
		case c == '\r':
			out = append(out, `\r`...)
		case c == '\t':
			out = append(out, `\t`...)
		case c < ' ' || c >= 0x7F:
			out = append(out, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		default:
			out = append(out, c)
		}
	}
	return string(append(out, quote))
}

// FullRepr is Python's own repr of a value, without limits; it is what an exception's repr shows of its arguments.
func FullRepr(raw Raw) string {
	raw = trim(raw)
	if len(raw) == 0 {
		return ""
	}
	switch raw[0] {
	case '"':
		return StringRepr(unquote(raw))
	case '[':
		elements, _ := Elements(nil, raw)
		return "[" + joinRepr(elements) + "]"
	case '{':
		if kind, value, ok := typed(raw); ok {
			d := decoder{}
			if b, err := d.revive(kind, value); err == nil {
				if b, ok := b.([]byte); ok {
					return BytesRepr(b)
				}
			}
			return typedRepr(kind, value)
		}
		members, _ := Members(nil, raw)
		parts := make([]string, len(members))
		for i, m := range members {
			parts[i] = StringRepr(m.Key) + ": " + FullRepr(m.Value)
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return Repr(raw)
}

func joinRepr(elements []Raw) string {
	parts := make([]string, len(elements))
	for i, e := range elements {
		parts[i] = FullRepr(e)
	}
	return strings.Join(parts, ", ")
}

// ExceptionRepr is the repr of an exception of class name with args, an array: ValueError('boom', 42).
func ExceptionRepr(name string, args Raw) string {
	elements, err := Elements(nil, args)
	if err != nil {
		return name + "(" + FullRepr(args) + ")"
	}
	return name + "(" + joinRepr(elements) + ")"
}

// ExceptionText is the str of an exception with args, as the last line of a traceback shows it.
func ExceptionText(args Raw) string {
	elements, err := Elements(nil, args)
	switch {
	case err != nil:
		return FullRepr(args)
	case len(elements) == 0:
		return ""
	case len(elements) == 1 && len(elements[0]) > 0 && elements[0][0] == '"':
		return unquote(elements[0])
	case len(elements) == 1:
		return FullRepr(elements[0])
	}
	return "(" + joinRepr(elements) + ")"
}

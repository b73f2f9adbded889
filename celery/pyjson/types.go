package pyjson

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Decimal is a decimal.Decimal of Python: its text, exact.
type Decimal string

// Date is a datetime.date of Python.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// TimeOfDay is a datetime.time of Python, as its isoformat.
type TimeOfDay string

func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

// appendTyped appends the two-key object with which kombu 5.3 and later carries a value (kombu/utils/json.py).
func appendTyped(dst []byte, kind string) []byte {
	dst = append(dst, `{"__type__": "`...)
	dst = append(dst, kind...)
	return append(dst, `", "__value__": `...)
}

func appendTime(dst []byte, t time.Time) []byte {
	dst = appendTyped(dst, "datetime")
	dst = append(dst, '"')
	dst = AppendISO(dst, t)
	return append(dst, '"', '}')
}

// AppendISO appends t as Python's datetime.isoformat does: microseconds only if there are any, the offset as
// +00:00 and never as Z.
func AppendISO(dst []byte, t time.Time) []byte {
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = appendDigits(dst, year, 4)
	dst = appendDigits(append(dst, '-'), int(month), 2)
	dst = appendDigits(append(dst, '-'), day, 2)
	dst = appendDigits(append(dst, 'T'), hour, 2)
	dst = appendDigits(append(dst, ':'), minute, 2)
	dst = appendDigits(append(dst, ':'), second, 2)
	if us := t.Nanosecond() / 1000; us != 0 {
		dst = appendDigits(append(dst, '.'), us, 6)
	}
	if t.Location() == time.UTC {
		return append(dst, "+00:00"...)
	}
	return t.AppendFormat(dst, "-07:00")
}

// appendDigits appends n, which is not negative, with zeros before it.
func appendDigits(dst []byte, n, width int) []byte {
	start := len(dst)
	for range width {
		dst = append(dst, '0')
	}
	for i := len(dst) - 1; i >= start && n > 0; i-- {
		dst[i] += byte(n % 10)
		n /= 10
	}
	return dst
}

func appendUUID(dst []byte, id uuid.UUID) []byte {
	dst = appendTyped(dst, "uuid")
	dst = append(dst, `{"hex": "`...)
	for _, b := range id {
		dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
	}
	return append(dst, '"', '}', '}')
}

func appendBytes(dst []byte, b []byte) []byte {
	if utf8.Valid(b) {
		return append(AppendString(appendTyped(dst, "bytes"), string(b)), '}')
	}
	dst = append(appendTyped(dst, "base64"), '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"', '}')
}

func appendTypedText(dst []byte, kind, text string) []byte {
	return append(AppendString(appendTyped(dst, kind), text), '}')
}

// IsTyped tells whether raw is a two-key object of kombu.
func IsTyped(raw Raw) bool {
	_, _, ok := typed(raw)
	return ok
}

// typed takes a two-key object of kombu apart. ok is false if raw is any other object.
func typed(raw []byte) (kind string, value Raw, ok bool) {
	if len(raw) < 2 || raw[0] != '{' {
		return "", nil, false
	}
	var room [2]Member
	i := space(raw, 1)
	for n := range room {
		if i >= len(raw) || raw[i] != '"' {
			return "", nil, false
		}
		if n == 0 && !strings.HasPrefix(string(raw[i+1:min(len(raw), i+3)]), "__") {
			return "", nil, false // the common case of a plain dict costs nothing
		}
		key, val, next, err := member(raw, i)
		if err != nil {
			return "", nil, false
		}
		room[n] = Member{key, val}
		if i = space(raw, next); n == 0 {
			if i >= len(raw) || raw[i] != ',' {
				return "", nil, false
			}
			i = space(raw, i+1)
		}
	}
	if i >= len(raw) || raw[i] != '}' {
		return "", nil, false
	}
	if room[0].Key != "__type__" {
		room[0], room[1] = room[1], room[0]
	}
	if room[0].Key != "__type__" || room[1].Key != "__value__" || len(room[0].Value) == 0 || room[0].Value[0] != '"' {
		return "", nil, false
	}
	return unquote(room[0].Value), room[1].Value, true
}

// isoLayouts are the forms of isoformat that Python and kombu 5.2 (Z) write.
var isoLayouts = [...]string{"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00",
	"2006-01-02 15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02T15:04", "2006-01-02"}

// ParseISO reads a datetime as isoformat writes it. A time without offset is one of zone loc; nil means UTC.
func ParseISO(s string, loc *time.Location) (time.Time, error) {
	if loc == nil {
		loc = time.UTC
	}
	for _, layout := range isoLayouts {
		if t, err := time.ParseInLocation(layout, s, loc); err == nil && t.Year() > 0 { // Python's years begin with 1
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("read %q as an ISO 8601 time: unknown form", s)
}

package celery

import (
	"bytes"
	"math"
	"time"

	"github.com/agensium/agensium/celery/pyjson"
)

// reader makes values of spans. The strings it returns share one copy of the part of the text that it was made for,
// so that a task costs a few allocations and does not depend on the message staying in memory unchanged.
type reader struct {
	text []byte
	copy string // of text[from:]
	from int
}

func newReader(text []byte, part span) reader {
	return reader{text: text, copy: string(part.of(text)), from: part.lo}
}

func (r reader) raw(v span) string { return r.copy[v.lo-r.from : v.hi-r.from] }

// string reads a string; anything else is empty.
func (r reader) string(v span) string {
	if !isString(r.text, v) {
		return ""
	}
	inner := span{v.lo + 1, v.hi - 1}
	if bytes.IndexByte(inner.of(r.text), '\\') < 0 {
		return r.raw(inner)
	}
	return pyjson.Text(inner.of(r.text))
}

// id reads an id, which need not be a string in Python: a number is taken as it is written. Null, containers and
// whatever else cannot be part of a Redis key are empty.
func (r reader) id(v span) string {
	if isString(r.text, v) {
		return r.string(v)
	}
	if _, isNumber := float(r.text, v); isNumber {
		return r.raw(v)
	}
	return ""
}

// count reads a number that is not negative; anything else is 0.
func (r reader) count(v span) int {
	n, _ := integer(r.text, v)
	return max(n, 0)
}

// limits reads [hard, soft] in seconds, each of which may be null; 0 means none.
func (r reader) limits(v span) (hard, soft time.Duration) {
	if !v.found() || r.text[v.lo] != '[' {
		return 0, 0
	}
	limits := [2]time.Duration{}
	n := 0
	s := scanner{text: r.text[:v.hi], pos: v.lo}
	s.array(func(element span) {
		if n < len(limits) {
			limits[n] = r.seconds(element)
		}
		n++
	})
	return limits[0], limits[1]
}

func (r reader) seconds(v span) time.Duration {
	f, ok := float(r.text, v)
	if !ok || f <= 0 {
		return 0
	}
	if f > math.MaxInt64/float64(time.Second)/2 {
		return 0 // longer than anything runs: no limit
	}
	return time.Duration(f * float64(time.Second))
}

// time reads an ISO 8601 time. Absent, null and empty are the zero time, as in Python, where all that is false is.
func (r reader) time(v span, loc *time.Location) (time.Time, bool) {
	if !v.found() || isNull(r.text, v) {
		return time.Time{}, true
	}
	if !isString(r.text, v) {
		return time.Time{}, false
	}
	s := r.string(v)
	if s == "" {
		return time.Time{}, true
	}
	return ParseTime(s, loc)
}

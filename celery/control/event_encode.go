package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// field is a key and a value of an event.
type field struct {
	name  string
	value any
}

// eventEncoder writes events as Celery does, in the same order of keys (celery/events/event.py Event).
type eventEncoder struct {
	node string
	head string // the key hostname
	pid  string
}

func newEventEncoder(node string) eventEncoder {
	name, _ := json.Marshal(node) // a string can always be encoded
	return eventEncoder{node: node, head: `{"hostname":` + string(name), pid: strconv.Itoa(os.Getpid())}
}

func (e eventEncoder) encode(kind string, now time.Time, clock int64, fields []field) ([]byte, error) {
	b := make([]byte, 0, 384)
	b = append(b, e.head...)
	b = append(b, `,"utcoffset":`...)
	b = strconv.AppendInt(b, int64(utcOffset(now)), 10)
	b = append(b, `,"pid":`...)
	b = append(b, e.pid...)
	b = append(b, `,"clock":`...)
	b = strconv.AppendInt(b, clock, 10)
	var err error
	for _, f := range fields {
		b = append(b, ',')
		b = appendString(b, f.name)
		b = append(b, ':')
		if b, err = appendValue(b, f.value); err != nil {
			return nil, fmt.Errorf("encode field %s: %w", f.name, err)
		}
	}
	b = append(b, `,"timestamp":`...)
	b = appendSeconds(b, now)
	b = append(b, `,"type":`...)
	b = appendString(b, kind)
	return append(b, '}'), nil
}

func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		return appendString(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case float64:
		return appendFloat(b, v), nil
	case [3]float64:
		b = appendFloat(append(b, '['), v[0])
		b = appendFloat(append(b, ','), v[1])
		b = appendFloat(append(b, ','), v[2])
		return append(b, ']'), nil
	}
	text, err := json.Marshal(v)
	return append(b, text...), err
}

// appendFloat writes a number that Python reads as a float, whole ones too.
func appendFloat(b []byte, f float64) []byte {
	n := len(b)
	b = strconv.AppendFloat(b, f, 'g', -1, 64)
	if !bytes.ContainsAny(b[n:], ".e") {
		b = append(b, ".0"...)
	}
	return b
}

// appendString writes a JSON string. Most need no escape, and there are many.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // a string can always be encoded
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendSeconds writes a time as unix seconds with six decimals.
func appendSeconds(b []byte, t time.Time) []byte {
	b = strconv.AppendInt(b, t.Unix(), 10)
	b = append(b, '.')
	for micros, unit := t.Nanosecond()/1000, 100_000; unit > 0; unit /= 10 {
		b = append(b, byte('0'+micros/unit%10))
	}
	return b
}

// joinEvents makes a list of encoded events.
func joinEvents(events []event) []byte {
	size := 1
	for _, e := range events {
		size += len(e.body) + 1
	}
	b := make([]byte, 0, size)
	for i, e := range events {
		if i == 0 {
			b = append(b, '[')
		} else {
			b = append(b, ',')
		}
		b = append(b, e.body...)
	}
	return append(b, ']')
}

// routingKey is a kind of event with dots for dashes.
func routingKey(kind string) string { return strings.ReplaceAll(kind, "-", ".") }

// utcOffset is in hours west of Greenwich, rounded down (celery/utils/time.py utcoffset).
func utcOffset(now time.Time) int {
	_, east := now.Zone()
	const hour = 3600
	hours := -east / hour
	if -east%hour < 0 {
		hours--
	}
	return hours
}

// loadAverage is of the host, three numbers to two decimals; zeros where it cannot be had.
func loadAverage() [3]float64 {
	var load [3]float64
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return load
	}
	for i, word := range strings.Fields(string(text)) {
		if i == len(load) {
			break
		}
		load[i], _ = strconv.ParseFloat(word, 64) // 0 for what is no number
	}
	return load
}

// system is what Python's platform.system says.
func system() string {
	switch runtime.GOOS {
	case "linux":
		return "Linux"
	case "darwin":
		return "Darwin"
	}
	return runtime.GOOS
}

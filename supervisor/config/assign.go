package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A valueError says what is allowed instead. The value itself is added by who knows whether it may be shown.
type valueError struct {
	allowed string
	why     error // may be nil
}

func (e *valueError) Error() string {
	if e.why != nil {
		return fmt.Sprintf("%v; allowed is %s", e.why, e.allowed)
	}
	return "allowed is " + e.allowed
}

// assign sets v to x, as TOML gives it or as text from the environment, after checking type, words and range.
func assign(v reflect.Value, m meta, x any) error {
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		if err := assign(p.Elem(), m, x); err != nil {
			return err
		}
		v.Set(p)
		return nil
	}
	switch v.Type() {
	case typeDuration:
		return assignDuration(v, m, x)
	case typeSize:
		return assignSize(v, m, x)
	case typeRate:
		return assignRate(v, x)
	}
	switch v.Kind() {
	case reflect.String:
		s, ok := x.(string)
		if !ok {
			return &valueError{allowed: "a string"}
		}
		return assignWord(v, m, s)
	case reflect.Bool:
		b, ok := x.(bool)
		if s, text := x.(string); text {
			b, ok = parseBool(s)
		}
		if !ok {
			return &valueError{allowed: "true or false"}
		}
		v.SetBool(b)
	case reflect.Int:
		n, ok := x.(int64)
		if s, text := x.(string); text {
			var err error
			n, err = strconv.ParseInt(strings.TrimSpace(s), 10, 64)
			ok = err == nil
		}
		if !ok || !within(m.bounds, float64(n), number) {
			return &valueError{allowed: "a whole number" + boundsText(m.bounds)}
		}
		v.SetInt(n)
	case reflect.Float64:
		f, ok := toFloat(x)
		if !ok || !within(m.bounds, f, number) {
			return &valueError{allowed: "a number" + boundsText(m.bounds)}
		}
		v.SetFloat(f)
	case reflect.Slice:
		return assignList(v, m, x)
	default:
		panic("no setting can be a " + v.Type().String())
	}
	return nil
}

func assignWord(v reflect.Value, m meta, s string) error {
	if m.oneof == "" {
		v.SetString(s)
		return nil
	}
	word := strings.ToLower(strings.TrimSpace(s))
	if m.name == "level" {
		word = hclogLevel(word)
	}
	words := strings.Split(m.oneof, "|")
	for _, w := range words {
		if w == word {
			v.SetString(w)
			return nil
		}
	}
	return &valueError{allowed: strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]}
}

// hclogLevel takes the names of Python's levels, too.
func hclogLevel(s string) string {
	switch s {
	case "warning":
		return "warn"
	case "critical", "fatal":
		return "error"
	}
	return s
}

func assignDuration(v reflect.Value, m meta, x any) error {
	var d time.Duration
	var err error
	if s, ok := x.(string); ok {
		d, err = ParseDuration(s)
	} else if f, ok := toFloat(x); ok {
		d, err = seconds(f)
	} else {
		err = errors.New("no duration")
	}
	inSeconds := func(s string) float64 { b, _ := ParseDuration(s); return float64(b) }
	if err != nil || !within(m.bounds, float64(d), inSeconds) {
		return &valueError{allowed: durationAllowed + boundsText(m.bounds), why: err}
	}
	v.SetInt(int64(d))
	return nil
}

func assignSize(v reflect.Value, m meta, x any) error {
	s, ok := x.(string)
	if n, isInt := x.(int64); isInt {
		s, ok = strconv.FormatInt(n, 10), true
	}
	err := errors.New("no size")
	var size Size
	if ok {
		size, err = ParseSize(s)
	}
	inBytes := func(s string) float64 { b, _ := ParseSize(s); return float64(b) }
	if err != nil || !within(m.bounds, float64(size), inBytes) {
		return &valueError{allowed: sizeAllowed + boundsText(m.bounds), why: err}
	}
	v.SetInt(int64(size))
	return nil
}

func assignRate(v reflect.Value, x any) error {
	bad := &valueError{allowed: `a rate such as "10/m" (s, m or h; for each node), or { limit = "10/m", global = true }`}
	var rate RateLimit
	if table, ok := x.(map[string]any); ok {
		for name, val := range table {
			var ok bool
			switch name {
			case "limit":
				x, ok = val, true
			case "global":
				rate.Global, ok = val.(bool)
			}
			if !ok {
				return bad
			}
		}
	}
	switch val := x.(type) {
	case string:
		rate.Limit = strings.TrimSpace(val)
	case int64:
		rate.Limit = strconv.FormatInt(val, 10)
	case float64:
		rate.Limit = strconv.FormatFloat(val, 'f', -1, 64)
	default:
		return bad
	}
	if rate.Limit != "" && parseRate(rate.Limit) != nil {
		return bad
	}
	v.Set(reflect.ValueOf(rate))
	return nil
}

func assignList(v reflect.Value, m meta, x any) error {
	items, ok := x.([]any)
	if s, text := x.(string); text {
		ok = true
		for part := range strings.SplitSeq(s, ",") {
			if part = strings.TrimSpace(part); part != "" {
				items = append(items, part)
			}
		}
	}
	if !ok {
		return &valueError{allowed: "a list, or a string with commas"}
	}
	list := reflect.MakeSlice(v.Type(), len(items), len(items))
	for i, item := range items {
		if err := assign(list.Index(i), m, item); err != nil {
			var bad *valueError
			if errors.As(err, &bad) {
				bad.allowed = fmt.Sprintf("a list, each of it %s; number %d is not", bad.allowed, i+1)
			}
			return err
		}
	}
	v.Set(list)
	return nil
}

func toFloat(x any) (float64, bool) {
	switch n := x.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, !math.IsNaN(n) && !math.IsInf(n, 0)
	case string:
		f, err := decimal(strings.TrimSpace(n))
		return f, err == nil
	}
	return 0, false
}

func parseBool(s string) (value, ok bool) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "1", "yes", "on":
		return true, true
	case "false", "0", "no", "off":
		return false, true
	}
	return false, false
}

func number(s string) float64 { f, _ := strconv.ParseFloat(s, 64); return f }

func within(bounds string, f float64, parse func(string) float64) bool {
	low, high, _ := strings.Cut(bounds, ",")
	return (low == "" || f >= parse(low)) && (high == "" || f <= parse(high))
}

func boundsText(bounds string) string {
	low, high, _ := strings.Cut(bounds, ",")
	switch {
	case low != "" && high != "":
		return ", from " + low + " to " + high
	case low != "":
		return ", at least " + low
	}
	return ""
}

package pyjson

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Raw is one JSON value, untouched.
type Raw = json.RawMessage

// Member is one key of an object, with its value.
type Member struct {
	Key   string
	Value Raw
}

// MaxDepth bounds the nesting of values. Python's own decoder gives up at about the same depth.
const MaxDepth = 900

// ErrSyntax is the kind of every complaint about malformed text.
var ErrSyntax = errors.New("malformed JSON")

func syntax(i int, what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrSyntax, what, i)
}

// Valid tells whether data is one JSON value, NaN and Infinity included.
func Valid(data []byte) error {
	end, err := skip(data, space(data, 0), 0)
	if err != nil {
		return err
	}
	if end = space(data, end); end != len(data) {
		return syntax(end, "surplus text")
	}
	return nil
}

// Elements appends the elements of the array in data to dst. They are checked, and share data's memory.
func Elements(dst []Raw, data []byte) ([]Raw, error) {
	i := space(data, 0)
	if i >= len(data) || data[i] != '[' {
		return dst, syntax(i, "no array")
	}
	i = space(data, i+1)
	if i < len(data) && data[i] == ']' {
		return dst, end(data, i+1)
	}
	for {
		stop, err := skip(data, i, 1)
		if err != nil {
			return dst, err
		}
		dst = append(dst, data[i:stop:stop])
		if i = space(data, stop); i >= len(data) {
			return dst, syntax(i, "array without end")
		}
		switch data[i] {
		case ',':
			i = space(data, i+1)
		case ']':
			return dst, end(data, i+1)
		default:
			return dst, syntax(i, "no comma between elements")
		}
	}
}

// Members appends the members of the object in data to dst, in their order. Values share data's memory.
func Members(dst []Member, data []byte) ([]Member, error) {
	i := space(data, 0)
	if i >= len(data) || data[i] != '{' {
		return dst, syntax(i, "no object")
	}
	i = space(data, i+1)
	if i < len(data) && data[i] == '}' {
		return dst, end(data, i+1)
	}
	for {
		key, value, next, err := member(data, i)
		if err != nil {
			return dst, err
		}
		dst = append(dst, Member{Key: key, Value: value})
		if i = space(data, next); i >= len(data) {
			return dst, syntax(i, "object without end")
		}
		switch data[i] {
		case ',':
			i = space(data, i+1)
		case '}':
			return dst, end(data, i+1)
		default:
			return dst, syntax(i, "no comma between members")
		}
	}
}

func member(data []byte, i int) (key string, value Raw, next int, err error) {
	if i >= len(data) || data[i] != '"' {
		return "", nil, i, syntax(i, "no key")
	}
	stop, err := skipString(data, i)
	if err != nil {
		return "", nil, i, err
	}
	key = unquote(data[i:stop])
	if i = space(data, stop); i >= len(data) || data[i] != ':' {
		return "", nil, i, syntax(i, "no colon after key")
	}
	i = space(data, i+1)
	stop, err = skip(data, i, 1)
	if err != nil {
		return "", nil, i, err
	}
	return key, Raw(data[i:stop:stop]), stop, nil
}

func end(data []byte, i int) error {
	if i = space(data, i); i != len(data) {
		return syntax(i, "surplus text")
	}
	return nil
}

func space(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// skip returns the end of the value that begins at i.
func skip(data []byte, i, depth int) (int, error) {
	if depth > MaxDepth {
		return i, syntax(i, "nested too deeply")
	}
	if i >= len(data) {
		return i, syntax(i, "no value")
	}
	switch c := data[i]; {
	case c == '"':
		return skipString(data, i)
	case c == '[' || c == '{':
		return skipContainer(data, i, depth)
	case c == '-' || c >= '0' && c <= '9':
		return skipNumber(data, i)
	}
	for _, word := range [...]string{"null", "true", "false", "NaN", "Infinity"} {
		if word[0] == data[i] && len(data)-i >= len(word) && string(data[i:i+len(word)]) == word {
			return i + len(word), nil
		}
	}
	return i, syntax(i, "no value")
}

func skipContainer(data []byte, i, depth int) (int, error) {
	open := data[i]
	closing := open + 2 // ']' and '}' in ASCII
	i = space(data, i+1)
	if i < len(data) && data[i] == closing {
		return i + 1, nil
	}
	for {
		var err error
		if open == '{' {
			if i >= len(data) || data[i] != '"' {
				return i, syntax(i, "no key")
			}
			if i, err = skipString(data, i); err != nil {
				return i, err
			}
			if i = space(data, i); i >= len(data) || data[i] != ':' {
				return i, syntax(i, "no colon after key")
			}
			i = space(data, i+1)
		}
		if i, err = skip(data, i, depth+1); err != nil {
			return i, err
		}
		if i = space(data, i); i >= len(data) {
			return i, syntax(i, "container without end")
		}
		switch data[i] {
		case ',':
			i = space(data, i+1)
		case closing:
			return i + 1, nil
		default:
			return i, syntax(i, "no comma")
		}
	}
}

func skipString(data []byte, i int) (int, error) {
	for j := i + 1; j < len(data); j++ {
		switch c := data[j]; {
		case c == '"':
			return j + 1, nil
		case c < ' ':
			return j, syntax(j, "control character in string")
		case c == '\\':
			if j++; j >= len(data) {
				break
			}
			switch data[j] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if j+4 >= len(data) || !isHex(data[j+1:j+5]) {
					return j, syntax(j, "wrong escape")
				}
				j += 4
			default:
				return j, syntax(j, "wrong escape")
			}
		}
	}
	return i, syntax(i, "string without end")
}

func isHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}

func skipNumber(data []byte, i int) (int, error) {
	start := i
	if data[i] == '-' {
		i++
		if len(data)-i >= 8 && string(data[i:i+8]) == "Infinity" {
			return i + 8, nil
		}
	}
	switch whole := digits(data, i); {
	case whole == i:
		return i, syntax(start, "no digit in number")
	case data[i] == '0' && whole > i+1:
		return i, syntax(start, "leading zero in number")
	default:
		i = whole
	}
	if i < len(data) && data[i] == '.' {
		stop := digits(data, i+1)
		if stop == i+1 {
			return i, syntax(start, "no digit after the point")
		}
		i = stop
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		stop := digits(data, i)
		if stop == i {
			return i, syntax(start, "no digit in exponent")
		}
		i = stop
	}
	return i, nil
}

func digits(data []byte, i int) int {
	for i < len(data) && data[i] >= '0' && data[i] <= '9' {
		i++
	}
	return i
}

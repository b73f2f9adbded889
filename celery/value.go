package celery

import (
	"math"
	"strconv"
)

func isObject(text []byte, v span) bool { return v.found() && text[v.lo] == '{' }
func isString(text []byte, v span) bool { return v.found() && text[v.lo] == '"' }
func isTrue(text []byte, v span) bool   { return v.found() && text[v.lo] == 't' }
func isNumber(text []byte, v span) bool {
	return v.found() && (text[v.lo] == '-' || text[v.lo] >= '0' && text[v.lo] <= '9')
}
func isNull(text []byte, v span) bool { return v.found() && text[v.lo] == 'n' }

// integer reads a number as an int, cut to what fits. Whatever is not a number is absent.
func integer(text []byte, v span) (int, bool) {
	if !isNumber(text, v) {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.of(text)), 10, 32)
	if err == nil {
		return int(n), true
	}
	f, ok := float(text, v)
	if !ok {
		return 0, false
	}
	return int(max(math.MinInt32, min(f, math.MaxInt32))), true
}

// float reads a finite number.
func float(text []byte, v span) (float64, bool) {
	if !isNumber(text, v) {
		return 0, false
	}
	f, _ := strconv.ParseFloat(string(v.of(text)), 64) // out of range gives infinity
	return f, !math.IsInf(f, 0) && !math.IsNaN(f)
}

// hex4 reads four hexadecimal digits; -1 if they are not.
func hex4(s []byte) rune {
	var r rune
	for i := range 4 {
		c := rune(s[i])
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | c
	}
	return r
}

package celery

import (
	"bytes"

	"github.com/agensium/agensium/celery/pyjson"
)

// JSON as Python writes it: NaN and Infinity, integers of any size, lone surrogates as escapes. encoding/json refuses
// the first, and any decoder that builds values loses how numbers were written. So we only find out where values lie.

// span is where a value lies in the text. An absent one has hi = 0, since no member can begin at 0.
type span struct{ lo, hi int }

func (v span) found() bool           { return v.hi > 0 }
func (v span) of(text []byte) []byte { return text[v.lo:v.hi] }

// maxDepth is where Python's decoder gives up too (its recursion limit).
const maxDepth = 1000

// scanner walks over a JSON text. All methods return false when the text is not JSON there, with pos at the place.
type scanner struct {
	text  []byte
	pos   int
	depth int
}

// noter notes where the members of an object lie that it wants to know of.
type noter interface {
	// member returns where to note the place of a member's value, and who notes the members of that value should it
	// be an object. Both may be nil. It is asked again when a key is repeated: the last counts, as in Python.
	member(key []byte) (at *span, inside noter)
}

// object walks over an object; n may be nil.
func (s *scanner) object(n noter) bool {
	if !s.enter('{') {
		return false
	}
	if s.token('}') {
		return s.leave()
	}
	for {
		s.space()
		quoted, escaped, ok := s.quoted()
		if !ok || !s.token(':') {
			return false
		}
		var at *span
		var inside noter
		if n != nil {
			key := s.text[quoted.lo+1 : quoted.hi-1]
			if escaped {
				key = []byte(pyjson.Text(key))
			}
			at, inside = n.member(key)
		}
		value, ok := s.value(inside)
		if !ok {
			return false
		}
		if at != nil {
			*at = value
		}
		if s.token('}') {
			return s.leave()
		}
		if !s.token(',') {
			return false
		}
	}
}

// array walks over an array and tells where its elements lie. element may be nil.
func (s *scanner) array(element func(v span)) bool {
	if !s.enter('[') {
		return false
	}
	if s.token(']') {
		return s.leave()
	}
	for {
		v, ok := s.value(nil)
		if !ok {
			return false
		}
		if element != nil {
			element(v)
		}
		if s.token(']') {
			return s.leave()
		}
		if !s.token(',') {
			return false
		}
	}
}

// value walks over any value, with the white space before it.
func (s *scanner) value(n noter) (span, bool) {
	s.space()
	start := s.pos
	ok := false
	switch s.peek() {
	case '"':
		v, _, ok := s.quoted()
		return v, ok
	case '{':
		ok = s.object(n)
	case '[':
		ok = s.array(nil)
	case 't':
		ok = s.word("true")
	case 'f':
		ok = s.word("false")
	case 'n':
		ok = s.word("null")
	case 'N':
		ok = s.word("NaN")
	case 'I':
		ok = s.word("Infinity")
	default:
		ok = s.number()
	}
	return span{start, s.pos}, ok
}

func (s *scanner) enter(open byte) bool {
	s.space()
	if s.depth++; s.depth > maxDepth || s.peek() != open {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) leave() bool {
	s.depth--
	return true
}

// quoted walks over a string; the span has its quotes. Control characters are let pass.
func (s *scanner) quoted() (v span, escaped, ok bool) {
	start := s.pos
	if s.peek() != '"' {
		return span{}, false, false
	}
	s.pos++
	for end := -1; ; {
		if end < s.pos { // also after an escaped quote; not after other escapes, or many of them would take long
			next := bytes.IndexByte(s.text[s.pos:], '"')
			if next < 0 {
				return span{}, false, false
			}
			end = s.pos + next
		}
		next := bytes.IndexByte(s.text[s.pos:end], '\\')
		if next < 0 {
			s.pos = end + 1
			return span{start, s.pos}, escaped, true
		}
		escaped = true
		s.pos += next
		if !s.escape() {
			return span{}, false, false
		}
	}
}

func (s *scanner) escape() bool {
	s.pos++
	switch c := s.peek(); c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos++
		return true
	case 'u':
		s.pos++
		if len(s.text)-s.pos < 4 || hex4(s.text[s.pos:]) < 0 {
			return false
		}
		s.pos += 4
		return true
	}
	return false
}

func (s *scanner) number() bool {
	if s.peek() == '-' {
		s.pos++
		if s.peek() == 'I' {
			return s.word("Infinity")
		}
	}
	if s.peek() == '0' {
		s.pos++
	} else if !s.digits() {
		return false
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return false
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		return s.digits()
	}
	return true
}

func (s *scanner) digits() bool {
	start := s.pos
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > start
}

func (s *scanner) word(w string) bool {
	if !bytes.HasPrefix(s.text[s.pos:], []byte(w)) {
		return false
	}
	s.pos += len(w)
	return true
}

// token walks over one character and the white space before it, if it is there.
func (s *scanner) token(c byte) bool {
	s.space()
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		c := s.text[s.pos]
		if c > ' ' || c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return
		}
		s.pos++
	}
}

// peek returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

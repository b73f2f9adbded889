package control

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// maxPattern bounds a pattern of a request, in bytes.
const maxPattern = 4 << 10

var (
	errMatcher = errors.New("no such matcher")
	errPattern = errors.New("pattern cannot be used here")
)

// match tells whether the node's name is matched by the pattern (kombu/matcher.py): glob is Python's fnmatch, pcre is
// Python's re.match, as far as Go's regular expressions go: neither lookaround nor back-references. What they do
// not know is errPattern.
func match(matcher, pattern, node string) (bool, error) {
	if len(pattern) > maxPattern {
		return false, fmt.Errorf("%w: it has %d bytes, more than %d", errPattern, len(pattern), maxPattern)
	}
	switch matcher {
	case "glob":
		re, err := regexp.Compile(globExpression(pattern))
		if err != nil {
			return false, fmt.Errorf("%w: %w", errPattern, err)
		}
		return re.MatchString(node), nil
	case "pcre":
		re, err := regexp.Compile(`\A(?:` + strings.ReplaceAll(pattern, "{,", "{0,") + `)`)
		if err != nil {
			return false, fmt.Errorf("%w: %w", errPattern, err)
		}
		return re.MatchString(node), nil
	}
	return false, fmt.Errorf("%w: %.80q", errMatcher, matcher)
}

// globExpression turns a pattern of fnmatch into a regular expression (Python's fnmatch.translate).
func globExpression(pattern string) string {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	runes := []rune(pattern)
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; c {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteByte('.')
		case '[':
			if class, after, ok := globClass(runes, i+1); ok {
				b.WriteString(class)
				i = after
				continue
			}
			b.WriteString(`\[`)
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteString(`\z`)
	return b.String()
}

// globClass reads the set that begins behind a '['. It returns the index of the closing bracket; ok is false if there
// is none, and the '[' stands for itself.
func globClass(runes []rune, begin int) (class string, end int, ok bool) {
	i := begin
	negated := i < len(runes) && runes[i] == '!'
	if negated {
		i++
	}
	set := i
	if i < len(runes) && runes[i] == ']' { // a bracket that comes first is a member
		i++
	}
	for i < len(runes) && runes[i] != ']' {
		i++
	}
	if i >= len(runes) {
		return "", 0, false
	}
	return classExpression(runes[set:i], negated), i, true
}

// classExpression spells a set. A range that runs backwards has no members, as in Python.
func classExpression(set []rune, negated bool) string {
	var b strings.Builder
	for i := 0; i < len(set); i++ {
		low, high := set[i], set[i]
		if i+2 < len(set) && set[i+1] == '-' {
			high = set[i+2]
			i += 2
		}
		if low <= high {
			fmt.Fprintf(&b, `\x{%x}-\x{%x}`, low, high)
		}
	}
	switch {
	case b.Len() > 0 && negated:
		return `[^` + b.String() + `]`
	case b.Len() > 0:
		return `[` + b.String() + `]`
	case negated:
		return `.`
	}
	return `[^\x{0}-\x{10ffff}]`
}

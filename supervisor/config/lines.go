package config

import (
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// locate finds the line of each table, key and list element in a TOML text that the TOML library accepted (its own positions
// are not exported). The names are those of [toml.Key]; elements of lists of tables are numbered: command[0].run.
func locate(text string) map[string]int {
	l := locator{text: strings.TrimPrefix(text, "\ufeff"), line: 1, lines: map[string]int{}, tables: map[string]int{}}
	l.document()
	return l.lines
}

type locator struct {
	text   string
	pos    int
	line   int
	lines  map[string]int
	tables map[string]int // how many of each list of tables there are so far
}

func (l *locator) document() {
	table := ""
	for l.space(true); l.pos < len(l.text); l.space(true) {
		if l.peek() != '[' {
			l.pair(table)
			continue
		}
		line := l.line
		l.pos++
		list := l.peek() == '['
		if list {
			l.pos++
		}
		table = l.key("")
		if list {
			n := l.tables[table]
			l.tables[table] = n + 1
			l.note(table, line)
			table += "[" + strconv.Itoa(n) + "]"
		}
		l.note(table, line)
		for l.peek() == ']' {
			l.pos++
		}
	}
}

// pair reads `key = value` below a table.
func (l *locator) pair(table string) {
	line, start := l.line, l.pos
	name := l.key(table)
	l.note(name, line)
	if l.peek() == '=' {
		l.pos++
	}
	l.space(false)
	l.value(name)
	if l.pos == start { // not TOML: go on anyway
		l.pos++
	}
}

func (l *locator) value(name string) {
	switch c := l.peek(); c {
	case '"', '\'':
		l.quoted()
	case '{':
		l.pos++
		for l.space(true); l.pos < len(l.text) && l.peek() != '}'; l.space(true) {
			if l.peek() == ',' {
				l.pos++
				continue
			}
			l.pair(name)
		}
		l.pos++
	case '[':
		l.pos++
		n := 0
		for l.space(true); l.pos < len(l.text) && l.peek() != ']'; l.space(true) {
			if l.peek() == ',' {
				l.pos++
				continue
			}
			start, item := l.pos, name+"["+strconv.Itoa(n)+"]"
			l.note(item, l.line)
			l.value(item)
			n++
			if l.pos == start {
				l.pos++
			}
		}
		l.pos++
	default:
		for l.pos < len(l.text) && !strings.ContainsRune(",]}#\n", rune(l.text[l.pos])) {
			l.pos++
		}
	}
}

// key reads a dotted key below a table and notes what it is made of.
func (l *locator) key(table string) string {
	name := table
	for {
		l.space(false)
		start := l.pos
		var part string
		if c := l.peek(); c == '"' || c == '\'' {
			part = unquote(l.quoted())
		} else {
			for l.pos < len(l.text) && !strings.ContainsRune(" \t\r\n.=]\"'", rune(l.text[l.pos])) {
				l.pos++
			}
			part = l.text[start:l.pos]
		}
		if name != "" {
			name += "."
		}
		name += key(part)
		l.space(false)
		if l.peek() != '.' {
			return name
		}
		l.note(name, l.line)
		if n := l.tables[name]; n > 0 {
			name += "[" + strconv.Itoa(n-1) + "]"
		}
		l.pos++
	}
}

// quoted passes over a string of any of the four kinds and returns it with its quotes.
func (l *locator) quoted() string {
	start, q := l.pos, l.text[l.pos:l.pos+1]
	end := q
	if strings.HasPrefix(l.text[l.pos:], strings.Repeat(q, 3)) {
		end = strings.Repeat(q, 3)
	}
	l.pos += len(end)
	for l.pos < len(l.text) && !strings.HasPrefix(l.text[l.pos:], end) {
		switch {
		case l.text[l.pos] == '\n':
			l.line++
		case l.text[l.pos] == '\\' && q == `"`:
			if l.pos++; l.peek() == '\n' {
				l.line++
			}
		}
		l.pos++
	}
	l.pos = min(l.pos+len(end), len(l.text))
	for len(end) == 3 && l.peek() == q[0] { // """" ends a string whose last character is a quote
		l.pos++
	}
	return l.text[start:l.pos]
}

// space passes over blanks and, if asked, ends of lines and comments.
func (l *locator) space(lines bool) {
	for l.pos < len(l.text) {
		switch c := l.text[l.pos]; {
		case c == '\n' && lines:
			l.line++
		case c == ' ' || c == '\t' || c == '\r':
		case c == '#' && lines:
			for l.pos+1 < len(l.text) && l.text[l.pos+1] != '\n' {
				l.pos++
			}
		default:
			return
		}
		l.pos++
	}
}

func (l *locator) peek() byte {
	if l.pos < len(l.text) {
		return l.text[l.pos]
	}
	return 0
}

func (l *locator) note(name string, line int) {
	if _, ok := l.lines[name]; !ok {
		l.lines[name] = line
	}
}

func unquote(s string) string {
	var v struct{ S string }
	if _, err := toml.Decode("S="+s, &v); err != nil {
		return strings.Trim(s, `"'`)
	}
	return v.S
}

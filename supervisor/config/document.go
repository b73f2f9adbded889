package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// maxFile bounds the files that are read, in bytes. The reference file has 16 KiB.
const maxFile = 256 << 10

// Document is one TOML text with settings.
type Document struct {
	Name    string // path of the file; for messages only
	Version int    // of the document in Redis; 0 for a file
	Text    []byte
}

// A document whose syntax is right.
type document struct {
	name    string
	version int
	tree    map[string]any
	lines   map[string]int
	broken  bool // the text is not TOML: tree is what could be read of it
}

func parse(doc Document) (*document, Problems) {
	d := &document{name: doc.Name, version: doc.Version}
	if doc.Version > 0 {
		d.name = fmt.Sprintf("redis version %d", doc.Version)
	}
	if len(doc.Text) > maxFile {
		return nil, Problems{{File: d.name, Message: fmt.Sprintf("has %v, at most %v are read", Size(len(doc.Text)), Size(maxFile))}}
	}
	text := string(doc.Text)
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, Problems{{File: d.name, Line: badByte(text), Message: "is not text in UTF-8"}}
	}
	if line := tooDeep(text); line > 0 {
		return nil, Problems{{File: d.name, Line: line, Message: fmt.Sprintf("is nested deeper than %d levels", maxDepth)}}
	}
	if _, err := toml.Decode(text, &d.tree); err != nil {
		d.broken, d.tree = true, salvage(text)
		d.lines = locate(text)
		return d, Problems{syntaxProblem(d.name, err)}
	}
	d.lines = locate(text)
	return d, nil
}

// maxDepth bounds what the TOML library, whose cost grows with the square of it, is asked to read.
const maxDepth = 100

// tooDeep is the first line with too many open brackets, or with a name of too many parts; 0 if there is none. It need not be exact.
func tooDeep(text string) int {
	open, dots, line := 0, 0, 1
	for _, c := range []byte(text) {
		switch c {
		case '[', '{':
			open++
		case ']', '}':
			open = max(0, open-1)
		case '.':
			dots++
		case '\n':
			line++
			dots = 0
		}
		if open > maxDepth || dots > 5*maxDepth {
			return line
		}
	}
	return 0
}

// badByte is the line of the first byte that is not text.
func badByte(text string) int {
	line := 1
	for i, r := range text {
		if _, n := utf8.DecodeRuneInString(text[i:]); r == 0 || r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
	}
	return line
}

func syntaxProblem(file string, err error) Problem {
	p := Problem{File: file, Message: Mask(err.Error())}
	var syntax toml.ParseError
	if !errors.As(err, &syntax) {
		return p
	}
	p.Line, p.Key, p.Message = syntax.Position.Line, syntax.LastKey, Mask(syntax.Message)
	switch {
	case strings.Contains(p.Message, "already"):
		p.Hint = "each key may be set once, each [table] be opened once"
	case secretKey(p.Key): // the library may quote what it stumbled over
		p.Message, p.Hint = "is no TOML value", quoteHint
	case strings.Contains(p.Message, "expected value"), strings.Contains(p.Message, "expected a top-level item"):
		p.Hint = quoteHint
	}
	return p
}

const quoteHint = `texts, durations and sizes stand in quotes: "30m"`

// secretKey tells whether what stands at a key, or the key itself, may be secret.
func secretKey(name string) bool {
	for _, word := range []string{"url", "token", "environment", "password", "secret"} {
		if strings.Contains(strings.ToLower(name), word) {
			return true
		}
	}
	return false
}

package child

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Printable returns text as a terminal may have it: what would steer the terminal, control characters but for tab and newline, is
// spelled out (\x1b), and bytes that are not UTF-8 are replaced.
func Printable(text string) string {
	if printable(text) {
		return text
	}
	var out strings.Builder
	out.Grow(len(text) + 16)
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		switch {
		case !steers(r):
			out.WriteRune(r)
		case r == '\r':
			out.WriteString(`\r`)
		case r < ' ':
			fmt.Fprintf(&out, `\x%02x`, r)
		default:
			fmt.Fprintf(&out, `\u%04x`, r) // as JSON too would have it
		}
	}
	return out.String()
}

// steers tells whether a rune is a control character of C0 or C1.
func steers(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r <= 0x9f
}

func printable(text string) bool {
	for i := 0; i < len(text); i++ {
		if b := text[i]; b < ' ' && b != '\t' && b != '\n' || b >= 0x7f {
			return utf8.ValidString(text) && strings.IndexFunc(text, steers) < 0
		}
	}
	return true
}

// PrintableWriter writes to out what is Printable of each write.
func PrintableWriter(out io.Writer) io.Writer { return printableWriter{out} }

type printableWriter struct{ out io.Writer }

func (w printableWriter) Write(b []byte) (int, error) {
	if _, err := io.WriteString(w.out, Printable(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

package child

import "testing"

func TestWhatSteersATerminalIsSpelledOut(t *testing.T) {
	for text, want := range map[string]string{
		"plain\n\ttext":      "plain\n\ttext",
		"é 漢 🙂":              "é 漢 🙂",
		"\x1b[31mred\x1b[0m": `\x1b[31mred\x1b[0m`,
		"50%\r100%\x00\x7f":  `50%\r100%\x00\u007f`,
		"csi \u009b2J":       `csi \u009b2J`,
		"a\xff\xfeb":         "a\uFFFDb",
	} {
		if got := Printable(text); got != want {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want)
		}
	}
}

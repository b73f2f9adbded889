package supervisor

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	quoted = regexp.MustCompile("`([^`]+)`")
	// Python's own words, and what stands for a name or a number, and between the parts of a line.
	notOurs = regexp.MustCompile(`…|\d+|'celery'|'redis'|'SOME_VARIABLE'|No module named|ModuleNotFoundError|AttributeError|SystemExit|KeyError|--beat|SIGKILL|[:=("]`)
)

// Whoever looks for the exact text of an error finds it in the operator's document, because each text there is in the code: the first
// column of the tables on the start and on the run. (What Redis says is tested with its conditions.)
func TestOperatingQuotesWhatTheCodeSays(t *testing.T) {
	document, err := os.ReadFile("OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, _ := strings.Cut(string(document), "| at the start | what to do |")
	tables, _, found := strings.Cut(tables, "## What is promised")
	if !found {
		t.Fatal("OPERATING.md has no tables of errors")
	}
	code := program(t)
	n := 0
	for _, line := range strings.Split(tables, "\n") {
		cells := strings.Split(line, " | ")
		if !strings.HasPrefix(line, "| `") || len(cells) < 2 {
			continue
		}
		for _, text := range quoted.FindAllStringSubmatch(cells[0], -1) {
			for _, piece := range notOurs.Split(text[1], -1) {
				if piece = strings.Trim(piece, " :()=\"'.,\\"); len(piece) < 4 {
					continue
				}
				if n++; !strings.Contains(code, piece) {
					t.Errorf("%q of `%s` is nowhere in the code", piece, text[1])
				}
			}
		}
	}
	if n < 15 {
		t.Errorf("only %d texts", n)
	}
}

// program is all that the program is made of.
func program(t *testing.T) string {
	var all strings.Builder
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || strings.HasSuffix(path, "_test.go") || !strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, ".py"):
			return nil
		}
		text, err := os.ReadFile(path)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

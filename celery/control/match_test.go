package control

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
)

func TestMatch(t *testing.T) {
	for name, test := range map[string]struct {
		matcher, pattern string
		want             bool
		err              error
	}{
		"glob":                     {"glob", "w1@*", true, nil},
		"glob of another":          {"glob", "w2@*", false, nil},
		"glob matches to the end":  {"glob", "w1", false, nil},
		"glob with a set":          {"glob", "w[0-9]@host", true, nil},
		"glob with an empty range": {"glob", "w[9-0]@host", false, nil},
		"pcre matches the start":   {"pcre", "w1", true, nil},
		"pcre is anchored":         {"pcre", "host", false, nil},
		"pcre alternatives":        {"pcre", "x|w", true, nil},
		"pcre open repetition":     {"pcre", "w{,3}1", true, nil},
		"pcre lookahead":           {"pcre", "w(?=1)", false, errPattern},
		"pcre too long":            {"pcre", strings.Repeat("w", maxPattern+1), false, errPattern},
		"unknown matcher":          {"sql", "%", false, errMatcher},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := match(test.matcher, test.pattern, "w1@host")
			if got != test.want || !errors.Is(err, test.err) {
				t.Errorf("match: %t, %v; want %t, %v", got, err, test.want, test.err)
			}
		})
	}
}

// TestGlobIsPythons compares with the original over all short patterns of the characters that mean something.
func TestGlobIsPythons(t *testing.T) {
	const characters = "ab-[]!*?^\\"
	patterns := []string{""}
	for begin, length := 0, 1; length <= 4; length++ {
		end := len(patterns)
		for _, p := range patterns[begin:end] {
			for _, c := range characters {
				patterns = append(patterns, p+string(c))
			}
		}
		begin = end
	}
	names := []string{"", "a", "b", "ab", "-", "[a]", "a-b", "!", "^", "]", "\\"}
	python, err := exec.LookPath("python3")
	if err != nil {
		python = celerytest.Venv(t, "celery-latest")
	}
	input, err := json.Marshal([]any{patterns, names})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", `
import fnmatch, json, re, sys
patterns, names = json.load(sys.stdin)
for p in patterns:
    m = re.compile(fnmatch.translate(p)).match
    print(''.join('1' if m(n) else '0' for n in names))`)
	cmd.Stdin = strings.NewReader(string(input))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(out))
	if len(lines) != len(patterns) {
		t.Fatalf("%d lines for %d patterns", len(lines), len(patterns))
	}
	for i, p := range patterns {
		for j, n := range names {
			got, err := match("glob", p, n)
			if want := lines[i][j] == '1'; err != nil || got != want {
				t.Fatalf("glob %q of %q: %t, %v; Python: %t", p, n, got, err, want)
			}
		}
	}
}

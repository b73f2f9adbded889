package config

import (
	"slices"
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	vars := env(map[string]string{"A": "a", "B": "b", "EMPTY": "", "RAW": "${A} $$ }"})
	for text, want := range map[string]string{
		"plain":                       "plain",
		"${A}-${B}":                   "a-b",
		"${A:-x}":                     "a",
		"${X:-x}":                     "x",
		"${EMPTY:-x}":                 "x",
		"${EMPTY}":                    "",
		"${X:-}":                      "",
		"${X:-${Y:-${B}}}!":           "b!",
		"${X:-redis://h:${Y:-6379}/}": "redis://h:6379/",
		"${A:-${NOT_SET}}":            "a",
		"${RAW}":                      "${A} $$ }",
		"$$":                          "$",
		"$${A}":                       "${A}",
		"$A $ $(x) 5$":                "$A $ $(x) 5$",
		"${X:-$${A}":                  "${A",
		"{A} }":                       "{A} }",
	} {
		if got, _, err := expand(text, vars); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"${", "${A", "${A:-", "${A:-x", "${}", "${1}", "${A-x}", "${A:=x}", "${NOT_SET}", "${X:-${NOT_SET}}", "${A:-${}}", "${A B}"} {
		if got, _, err := expand(text, vars); err == nil {
			t.Errorf("%q was expanded to %q", text, got)
		}
	}
	_, names, _ := expand("${A} ${X:-${B}} ${A:-${B}}", vars)
	if !slices.Equal(names, []string{"A", "B", "A"}) {
		t.Errorf("made of %v", names)
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"${A}", "${X:-${Y:-}}", "$$${", "${A:-}}", "\x00${é}", strings.Repeat("${A:-", 30)} {
		f.Add(s)
	}
	vars := env(map[string]string{"A": "a"})
	f.Fuzz(func(t *testing.T, text string) {
		out, _, err := expand(text, vars)
		if err == nil && !strings.Contains(text, "$") && out != text {
			t.Errorf("%q became %q", text, out)
		}
		if escaped := strings.ReplaceAll(text, "$", "$$"); err == nil {
			if out, _, err := expand(escaped, vars); err != nil || out != text {
				t.Errorf("%q became %q, %v", escaped, out, err)
			}
		}
	})
}

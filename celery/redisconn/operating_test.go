package redisconn

import (
	"os"
	"strings"
	"testing"
)

// Whoever looks for the text of a refusal finds it in the operator's document, beside the condition that it means.
func TestOperatingTellsEveryRefusal(t *testing.T) {
	data, err := os.ReadFile("../../supervisor/OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	table := strings.Split(string(data), "\n")
	told := func(text, condition string) bool {
		for _, line := range table {
			if strings.HasPrefix(line, "|") && strings.Contains(strings.ToLower(line), strings.ToLower(text)) && strings.Contains(line, "| "+condition+" |") {
				return true
			}
		}
		return false
	}
	for _, r := range replies {
		if !told(r.prefix, r.Name) {
			t.Errorf("%s (%s) is not told", r.prefix, r.Name)
		}
	}
	for _, p := range phrases {
		if !told(p.part, p.Name) {
			t.Errorf("%q (%s) is not told", p.part, p.Name)
		}
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMisspellingsAreAnsweredWithTheNearestName types options and settings wrong.
func TestMisspellingsAreAnsweredWithTheNearestName(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.toml")
	if err := os.WriteFile(file, []byte("[pool]\nconcurency = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"unknown flag --concurency, did you mean": {"worker", "-A", "proj", "--concurency", "3"},
		"did you mean pool.concurrency?":          {"worker", "-A", "proj", "--config", file},
		"run `celery beat` beside it":             {"worker", "-A", "proj", "-B"},
		"--: is not supported":                    {"worker", "-A", "proj", "--", "worker.prefetch_multiplier=1"},
	} {
		var out strings.Builder
		if status := run(t.Context(), args, stdio{out: &out, err: &out}); status != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%q: status %d, want %q in\n%s", args, status, want, out.String())
		}
	}
}

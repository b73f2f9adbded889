package main

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery/celerytest"
)

// TestScenarios sends everything that Celery's users do with a real client, once to `celery worker` and once to this program,
// and wants the same outcome, for each release of Celery.
func TestScenarios(t *testing.T) {
	for _, venv := range celerytest.Venvs {
		t.Run(venv, func(t *testing.T) {
			t.Parallel()
			theirs := newSite(t, venv)
			stock := theirs.stock("-c", "4", "-n", "w@h")
			want := theirs.client()
			stock.Kill()

			ours := newSite(t, venv)
			node := ours.node("-c", "4", "-n", "w@h")
			got := ours.client()
			alike(t, want, got)
			cleanEnd(t, node)
			if left := ours.left(); len(left) > 0 {
				t.Errorf("left in the broker: %q", left)
			}
		})
	}
}

// alike compares the outcomes of scenarios.
func alike(t *testing.T, want, got map[string]any) {
	t.Helper()
	if len(want) == 0 {
		t.Fatal("no scenario was run")
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if diff := cmp.Diff(want[name], got[name]); diff != "" {
			t.Errorf("%s: celery worker (-) and agensium (+) differ:\n%s", name, diff)
		}
	}
}

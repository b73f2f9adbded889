package python

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The zygote answers what only the application knows, in every release, and survives what its commands raise.
func TestQuestions(t *testing.T) {
	for _, release := range releases {
		t.Run(release, func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.Abs("testdata/apps")
			if err != nil {
				t.Fatal(err)
			}
			a, err := Start(t.Context(), Options{Interpreter: interpreter(t, release), App: "commands:app", Dir: dir, Node: "n@test"})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close(t.Context())
			if want := []string{"leave", "node_of", "raise_it", "twice"}; !slices.Equal(a.Info().Commands, want) {
				t.Errorf("commands %v", a.Info().Commands)
			}
			ask := func(method, arguments string) (string, error) {
				var args map[string]json.RawMessage
				if err := json.Unmarshal([]byte(arguments), &args); err != nil {
					t.Fatal(err)
				}
				value, err := a.Command(t.Context(), method, args)
				return string(value), err
			}
			for _, want := range []struct{ method, arguments, value, raised string }{
				{"node_of", `{}`, `"n@test"`, ""},
				{"twice", `{"n": 21}`, `[42, 1e999, null]`, ""},
				{"raise_it", `{}`, "", "ValueError('as asked')"},
				{"leave", `{}`, "", "SystemExit(3)"},
				{"node_of", `{"more": 1}`, "", "TypeError"},
				{"no_such", `{}`, "", "KeyError('no_such')"},
			} {
				value, err := ask(want.method, want.arguments)
				var raised Raised
				if errors.As(err, &raised); value != want.value || !strings.HasPrefix(string(raised), want.raised) || err != nil && want.raised == "" {
					t.Errorf("%s: %s %v", want.method, value, err)
				}
			}
			if conf, err := ask("conf", `{"with_defaults": true}`); err != nil || !strings.Contains(conf, `"task_default_queue"`) {
				t.Errorf("conf: %.200s %v", conf, err)
			}
			if report, err := ask("report", `{}`); err != nil || !strings.Contains(report, "software -> celery:") {
				t.Errorf("report: %.200s %v", report, err)
			}
			tasks, err := a.Attributes(t.Context(), []string{"rate_limit", "name", "no_such"})
			if got := tasks["commands.add"]; err != nil || len(got) != 2 || got["rate_limit"] != "10/m" || got["name"] != "commands.add" {
				t.Errorf("attributes: %v %v", got, err)
			}
		})
	}
}

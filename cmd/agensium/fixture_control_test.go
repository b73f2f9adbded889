package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// meantInRecords are differences from the recorded session that are meant, or are of its application's settings.
var meantInRecords = regexp.MustCompile(`^(conf\.|stats\.total\.|active.*\.redelivered|revoke \S+\.ok: "tasks \{.*instead of "tasks ID|\S+\.args|stats\.pool\.implementation: Celery has none|` +
	`stats\.broker\.credential_provider: Celery has none|revoked_by|revoke_by_stamped_headers\.error: absent|` +
	`revoke_by_stamped_headers\.ok: Celery has none)`)

// The requests that real clients were recorded to send, byte by byte, are answered by running nodes as the workers answered.
func TestRecordedControl(t *testing.T) {
	for version, venv := range map[string]string{"5.6.2": "celery-latest", "5.2.6": "celery-5.2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, venv)
			text, err := os.ReadFile(filepath.Join("testdata", "e2e", "fx.py"))
			if err != nil {
				t.Fatal(err)
			}
			s.write("capture.py", string(text))
			var exchanges []struct {
				Command  string
				Requests []struct{ Raw string }
				Replies  []struct {
					Key  string
					Body map[string]json.RawMessage `json:"body_decoded"`
				}
			}
			celerytest.Load(t, version, "pidbox").Member("exchanges", &exchanges)
			runs := map[string][]string{} // by node, the ids of tasks that it ran when it was asked
			note := func(node, id string) {
				if isID(id) && !slices.Contains(runs[node], id) {
					runs[node] = append(runs[node], id)
				}
			}
			for _, e := range exchanges {
				for _, r := range e.Replies {
					for node, body := range r.Body {
						var active []struct{ ID string }
						var ended struct{ OK string }
						if e.Command == "active" && json.Unmarshal(body, &active) == nil {
							for _, task := range active {
								note(node, task.ID)
							}
						}
						if e.Command == "terminate" && json.Unmarshal(body, &ended) == nil {
							note(node, strings.TrimPrefix(ended.OK, "terminate: "))
						}
					}
				}
			}
			ids, err := json.Marshal(runs)
			if err != nil {
				t.Fatal(err)
			}
			first := s.start("worker", "-A", "capture", "-E", "-n", "w1@fixturehost", "-c", "3", "-Q", "w1@fixturehost")
			second := s.start("worker", "-A", "capture", "-E", "-n", "w2@fixturehost", "-c", "1", "-Q", "w2@fixturehost")
			s.printed(first, " ready.")
			s.printed(second, " ready.")
			s.script(fmt.Sprintf(`
from capture import app
runs = %s
for node, ids in runs.items():
    for id in ids:
        app.send_task('fx.sleep', (600,), task_id=id, queue=node)
while any(len(app.control.inspect([node], timeout=20).active()[node]) < len(ids) for node, ids in runs.items()):
    pass
`, ids))
			for _, e := range exchanges {
				for _, r := range e.Replies {
					oid, _, _ := strings.Cut(r.Key, ".")
					s.broker().SAdd(t.Context(), "_kombu.binding.reply.celery.pidbox", oid+"\x06\x16\x06\x16"+r.Key)
				}
				for _, r := range e.Requests {
					s.broker().Publish(t.Context(), "/0.celery.pidbox", r.Raw)
				}
				want, got := map[string]any{}, map[string]any{}
				for _, r := range e.Replies {
					raw, err := s.broker().BRPop(t.Context(), celerytest.Backstop, r.Key).Result()
					if err != nil {
						t.Fatalf("%s: %v", e.Command, err)
					}
					body, err := celery.Body([]byte(raw[1]))
					if err != nil {
						t.Fatal(err)
					}
					if err := json.Unmarshal(body, &got); err != nil {
						t.Fatal(err)
					}
					for node, value := range r.Body {
						var v any
						if err := json.Unmarshal(value, &v); err != nil {
							t.Fatal(err)
						}
						want[node] = v
					}
				}
				for node, value := range want {
					for _, d := range differences(e.Command, value, got[node]) {
						if e.Command != "report" && !meantInRecords.MatchString(d) {
							t.Errorf("%s: %s", node, d)
						}
					}
				}
			}
			if status := second.Wait(); status != exitOK {
				t.Errorf("exit status %d after the recorded shutdown", status)
			}
			first.Signal(3)
			if status := first.Wait(); status != exitOK {
				t.Errorf("exit status %d after QUIT", status)
			}
		})
	}
}

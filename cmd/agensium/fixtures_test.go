package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
)

// aboutWorkers are recordings of what a worker does; their messages ask for nothing that the others do not.
var aboutWorkers = []string{
	"cold_shutdown", "multi_queue_brpop", "pidbox", "pidbox_autoscale", "reconnect", "revoked", "revoked_terminate", "shutdown_restore",
	"shutdown_restore_eta", "unacked_state", "worker_lifecycle_events", "worker_no_events", "raw_broadcast", "accept_content_refused",
	"result_pickle", // needs a setting, see TestSettings
}

// deaths are the causes of the dead letters that recorded messages end as.
var deaths = map[string]string{
	"bad_body_not_json":        "undecodable",
	"bad_body_not_list":        "undecodable",
	"bad_compression":          "undecodable",
	"bad_content_type":         "content_type_refused",
	"bad_envelope_not_json":    "undecodable",
	"bad_eta":                  "bad_eta",
	"bad_no_headers_task":      "not_a_task",
	"bad_unpicklable_envelope": "undecodable",
	"unknown_task":             "unknown_task",
}

// TestFixtures pushes every message that a real client was recorded to send into the queue of a node, whose application has the tasks:
// what each asks for happens, as far as the recorded results tell, or the message ends as a dead letter with the right cause.
func TestFixtures(t *testing.T) {
	for version, venv := range map[string]string{"5.6.2": "celery-latest", "5.2.6": "celery-5.2", "main": "celery-latest"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, venv)
			text, err := os.ReadFile(filepath.Join("testdata", "e2e", "fx.py"))
			if err != nil {
				t.Fatal(err)
			}
			s.write("capture.py", string(text)) // its name is in the records
			fixtures := celerytest.LoadAll(t, version)
			var sent strings.Builder // all that clients sent, to be searched for ids
			wanted, dead := map[string]recorded{}, map[string]string{}
			for _, name := range slices.Sorted(maps.Keys(fixtures)) {
				if slices.Contains(aboutWorkers, name) {
					continue
				}
				f := fixtures[name]
				for _, m := range f.Messages {
					if raw := []byte(m.Raw); byClient(m) {
						if name != "expires_past" {
							raw = expiry.ReplaceAll(raw, []byte(`"expires": "2999-`)) // it had time when it was recorded
						}
						body, _ := celery.Body(raw)
						sent.Write(raw)
						sent.Write(body)
						if cause := deaths[name]; cause != "" {
							dead[string(raw)] = name
						}
						if err := s.broker().LPush(t.Context(), m.Key, raw).Err(); err != nil {
							t.Fatal(err)
						}
					}
				}
				results, sizes := documents(t, f)
				maps.Copy(wanted, results)
				for key, size := range sizes {
					if err := s.results().Set(t.Context(), key, size, 0).Err(); err != nil {
						t.Fatal(err)
					}
				}
			}
			heard := s.listen()
			node := s.start("worker", "-A", "capture", "-E", "-n", "w1@fixturehost", "-c", "6", "-Q", "celery")
			s.printed(node, " ready.")
			for _, id := range slices.Sorted(maps.Keys(wanted)) {
				want := wanted[id]
				if !strings.Contains(sent.String(), id) {
					continue // sent by a task, which makes up another id now
				}
				celerytest.Eventually(t, want.name+": "+id+" to be "+want.status()+", it is "+s.state(id), func() bool { return s.state(id) == want.status() })
				got := plainDocument(t, []byte(s.results().Get(t.Context(), "celery-task-meta-"+id).Val()))
				if diff := cmp.Diff(want.document, got); diff != "" {
					t.Errorf("%s: recorded (-) and now (+):\n%s", want.name, diff)
				}
			}
			if version != "main" { // unreleased, and few
				sameEvents(t, fixtures, sent.String(), heard)
			}
			celerytest.Eventually(t, "an empty queue", func() bool {
				return !slices.ContainsFunc(s.left(), func(key string) bool { return key != "other" })
			})
			cleanEnd(t, node)
			causes := map[string]string{}
			for _, letter := range s.deadLetters() {
				name := dead[string(letter.Message)]
				if name == "" {
					t.Errorf("dead letter of no bad message: %+v", letter)
				}
				causes[name] = letter.Cause
			}
			want := map[string]string{}
			for _, name := range dead {
				want[name] = deaths[name]
			}
			if diff := cmp.Diff(want, causes); diff != "" {
				t.Errorf("dead letters (-want +got):\n%s", diff)
			}
		})
	}
}

// recorded is the last document that a fixture has of a task.
type recorded struct {
	name     string
	document map[string]any
}

func (r recorded) status() string { s, _ := r.document["status"].(string); return s }

// byClient tells whether a message was sent by the client, and not by a task.
func byClient(m celerytest.Message) bool {
	var e struct {
		Headers struct {
			ParentID *string `json:"parent_id"`
			Retries  int     `json:"retries"`
		} `json:"headers"`
		Properties struct {
			DeliveryInfo struct {
				Redelivered bool `json:"redelivered"`
			} `json:"delivery_info"`
		} `json:"properties"`
	}
	_ = json.Unmarshal(m.Raw, &e) // some are bad on purpose
	return m.Op == "LPUSH" && e.Headers.ParentID == nil && e.Headers.Retries == 0 && !e.Properties.DeliveryInfo.Redelivered
}

var expiry = regexp.MustCompile(`"expires": "20\d\d-`)

// documents are what a fixture says about the results of tasks, and about the sizes of chords, which the client stores.
func documents(t *testing.T, f *celerytest.Fixture) (found map[string]recorded, sizes map[string]string) {
	t.Helper()
	var commands []struct{ Cmd []celerytest.Bytes }
	f.Member("result_backend_commands", &commands)
	found, sizes = map[string]recorded{}, map[string]string{}
	for _, c := range commands {
		if string(c.Cmd[0]) == "FLUSHDB" { // what was before belongs to the preparation
			clear(found)
			clear(sizes)
		}
		if len(c.Cmd) != 4 || string(c.Cmd[0]) != "SETEX" {
			continue
		}
		id, is := strings.CutPrefix(string(c.Cmd[1]), "celery-task-meta-")
		if strings.HasSuffix(string(c.Cmd[1]), ".s") {
			sizes[string(c.Cmd[1])] = string(c.Cmd[3])
		} else if is {
			found[id] = recorded{name: f.Case, document: plainDocument(t, c.Cmd[3])}
		}
	}
	return found, sizes
}

// jobNumber is what billiard says of a lost worker, from 4.3 on not always.
var jobNumber = regexp.MustCompile(` Job: \d+`)

var changing = regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+|\b[0-9a-f]{8}-[0-9a-f-]{27}\b`)

// plainDocument is what of a result does not differ from run to run.
func plainDocument(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(changing.ReplaceAll(jobNumber.ReplaceAll(raw, nil), []byte("N")), &doc); err != nil {
		return map[string]any{"status": "", "raw": string(raw)}
	}
	plain := map[string]any{"status": doc["status"], "result": doc["result"], "parent_id": doc["parent_id"], "group_id": doc["group_id"]}
	if children, ok := doc["children"].([]any); ok {
		plain["children"] = len(children)
	}
	return plain
}

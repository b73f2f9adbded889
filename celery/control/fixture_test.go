package control

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/agensium/agensium/celery/celerytest"
)

// exchange is one command of a recorded session with two real workers.
type exchange struct {
	Command  string
	Requests []struct{ Raw string }
	Replies  []recordedReply
}

type recordedReply struct {
	Key  string
	Raw  string
	Body map[string]json.RawMessage `json:"body_decoded"`
}

type session struct{ Exchanges []exchange }

func recorded(t testing.TB, version, name string) (s session) {
	t.Helper()
	if !celerytest.Load(t, version, name).Member("exchanges", &s.Exchanges) {
		t.Fatalf("%s/%s has no exchanges", version, name)
	}
	return s
}

// answer is what one of the nodes answered to a command.
func (s session) answer(t testing.TB, command, node string, value any) {
	t.Helper()
	for _, e := range s.Exchanges {
		for _, r := range e.Replies {
			if body, ok := r.Body[node]; ok && e.Command == command {
				if err := json.Unmarshal(body, value); err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	t.Fatalf("%s did not answer %s", node, command)
}

// TestRecordedSession replays what real clients asked of real workers, and compares our answers with theirs.
func TestRecordedSession(t *testing.T) {
	for _, version := range []string{"5.6.2", "5.2.6"} {
		t.Run(version, func(t *testing.T) {
			s := recorded(t, version, "pidbox")
			r := celerytest.StartRedis(t)
			w1, w2 := recordedNode(t, s), &fakeNode{}
			w2.tasks = w1.tasks
			var ended struct{ OK string }
			s.answer(t, "terminate", "w2@fixturehost", &ended)
			w2.active = []Request{heldRequest(t, requestInfo{ID: strings.TrimPrefix(ended.OK, "terminate: "), Type: "fx.sleep"})}
			for name, fake := range map[string]*fakeNode{"w1@fixturehost": w1, "w2@fixturehost": w2} {
				o := testOptions(t, name, r.URL(0), fake.node())
				o.Events.Enabled = true
				startControl(t, o)
			}
			replay(t, r, version, s)
			celerytest.Eventually(t, "the shutdown", func() bool { return slices.Contains(w2.recorded(), "shutdown Got shutdown from remote") })
		})
	}
}

func TestRecordedSessionWithAutoscale(t *testing.T) {
	for _, version := range []string{"5.6.2", "5.2.6"} {
		t.Run(version, func(t *testing.T) {
			r := celerytest.StartRedis(t)
			startControl(t, testOptions(t, "w3@fixturehost", r.URL(0), (&fakeNode{autoscaled: true}).node()))
			replay(t, r, version, recorded(t, version, "pidbox_autoscale"))
		})
	}
}

// recordedNode holds what the first worker of the session held.
func recordedNode(t *testing.T, s session) *fakeNode {
	t.Helper()
	const node = "w1@fixturehost"
	f := &fakeNode{}
	var infos []requestInfo
	s.answer(t, "active", node, &infos)
	for _, i := range infos {
		f.active = append(f.active, heldRequest(t, i))
	}
	var safe []struct{ Args, Kwargs string }
	s.answer(t, "active safe", node, &safe)
	for i := range safe {
		f.active[i].Task.ArgsRepr, f.active[i].Task.KwargsRepr = safe[i].Args, safe[i].Kwargs
	}
	s.answer(t, "reserved", node, &infos)
	for _, i := range infos {
		f.reserved = append(f.reserved, heldRequest(t, i))
	}
	var names []string
	s.answer(t, "registered", node, &names)
	for _, name := range names {
		f.tasks = append(f.tasks, RegisteredTask{Name: name})
	}
	f.tasks = append(f.tasks, RegisteredTask{Name: "celery.chord"})
	s.answer(t, "conf", node, &f.conf)
	var text struct{ OK string }
	s.answer(t, "report", node, &text)
	f.report = text.OK
	f.queues = []Queue{{Name: "celery"}}
	var stats struct {
		Total map[string]int
		PID   int
		Pool  struct{ Processes []int }
	}
	s.answer(t, "stats", node, &stats)
	f.statistics = Statistics{Total: stats.Total, PID: stats.PID, MaxConcurrency: 2, Broker: Broker{Host: "127.0.0.1", Port: 6390}}
	for i, pid := range stats.Pool.Processes {
		f.statistics.Processes = append(f.statistics.Processes, Process{PID: pid, Tasks: 2 - i})
	}
	return f
}

func replay(t *testing.T, r *celerytest.Redis, version string, s session) {
	redis := r.Client(0)
	for _, e := range s.Exchanges {
		t.Run(e.Command, func(t *testing.T) {
			for _, reply := range e.Replies {
				oid, _, _ := strings.Cut(reply.Key, ".")
				_, key, member := NewNames(0, nil, "", "").reply(oid)
				redis.SAdd(t.Context(), key, member)
			}
			for _, request := range e.Requests {
				redis.Publish(t.Context(), "/0.celery.pidbox", request.Raw)
			}
			want, got := map[string]any{}, map[string]any{}
			for _, reply := range e.Replies {
				raw, err := redis.BRPop(t.Context(), celerytest.Backstop, reply.Key).Result()
				if err != nil {
					t.Fatal(err)
				}
				sameEnvelope(t, raw[1], reply.Raw)
				for node, body := range bodyOf[map[string]json.RawMessage](t, raw[1]) {
					got[node] = normal(t, version, e.Command, body)
				}
				for node, body := range reply.Body {
					want[node] = normal(t, version, e.Command, body)
				}
			}
			if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-6)); diff != "" {
				t.Errorf("theirs (-) and ours (+):\n%s", diff)
			}
		})
	}
}

// sameEnvelope compares everything around the body but clock and tag.
func sameEnvelope(t *testing.T, ours, theirs string) {
	t.Helper()
	read := func(text string) map[string]any {
		var m map[string]any
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		delete(m, "body")
		delete(m["properties"].(map[string]any), "delivery_tag")
		headers := m["headers"].(map[string]any)
		if clock, ok := headers["clock"].(float64); !ok || clock < 1 {
			t.Errorf("clock of the reply: %v", headers["clock"])
		}
		delete(headers, "clock")
		return m
	}
	if diff := cmp.Diff(read(theirs), read(ours)); diff != "" {
		t.Errorf("envelope, theirs (-) and ours (+):\n%s", diff)
	}
}

// normal leaves out what cannot be the same: numbers of the process that answers, the order of sets, and what the older
// release does not have.
func normal(t *testing.T, version, command string, body json.RawMessage) any {
	t.Helper()
	text := string(body)
	if version == "5.2.6" {
		text = strings.ReplaceAll(text, `"redelivered": null`, `"redelivered": false`)
	}
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	switch command {
	case "revoke (reply)", "revoke list":
		// 5.2 lists the ids, later releases show a Python set.
		ids := regexp.MustCompile(`[0-9a-f-]{36}`).FindAllString(text, -1)
		slices.Sort(ids)
		return map[string]any{"ids": ids, "flagged": strings.HasSuffix(value.(map[string]any)["ok"].(string), " flagged as revoked")}
	case "revoke_by_stamped_headers":
		if version == "5.2.6" { // it does not know the command
			return nil
		}
	case "revoked":
		ids := regexp.MustCompile(`0000000[012]`).FindAllString(text, -1)
		slices.Sort(ids)
		return ids // the others were revoked by tasks that ran
	case "stats":
		return shape("", value, version)
	}
	return value
}

// shape replaces each value by its type.
func shape(key string, v any, version string) any {
	switch v := v.(type) {
	case map[string]any:
		if key == "total" {
			return "counts"
		}
		m := map[string]any{}
		for k, e := range v {
			if version == "5.2.6" && (k == "implementation" || k == "credential_provider") {
				continue
			}
			m[k] = shape(k, e, version)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = shape("", e, version)
		}
		return list
	case string:
		return regexp.MustCompile(`[0-9]`).ReplaceAllString(v, "0")
	}
	return fmt.Sprintf("%T", v)
}

package celery

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/pyjson"
)

func addFixtures(f *testing.F) {
	for _, name := range []string{"delay", "protocol1", "chord3", "unicode", "stamped", "priority_9", "bad_eta", "bad_envelope_not_json", "compression_bzip2"} {
		f.Add([]byte(celerytest.Load(f, "5.6.2", name).Messages[0].Raw))
	}
	f.Add([]byte(`{"headers": {"task": "a", "id": 1, "x": [NaN, -Infinity, 1e5, {"a": {}}]}, "properties": null}`))
	f.Add([]byte(`{"headers": null, "headers": {}, "properties": {"delivery_info": 3}, "body": "\ud83d"}`))
	f.Add([]byte(`{}`))
}

func FuzzDecode(f *testing.F) {
	addFixtures(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := string(raw)
		task, err := Decode(raw, nil)
		if string(raw) != before {
			t.Fatal("the message was changed")
		}
		var refused *DecodeError
		switch {
		case err == nil && task == nil:
			t.Fatal("neither task nor error")
		case err == nil && !task.Opaque && (task.ID == "" || task.Name == ""):
			t.Fatalf("a task without id or name: %+v", task)
		case err != nil && (!errors.As(err, &refused) || refused.Cause == "" || task != nil):
			t.Fatalf("got %v, %v", task, err)
		case err == nil && !utf8.ValidString(task.ID+task.Name+task.ArgsRepr):
			t.Fatalf("not UTF-8: %+v", task)
		}
	})
}

// What encoding/json can read, the edit must keep readable, and change nothing but the marks.
func FuzzRedelivered(f *testing.F) {
	addFixtures(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		once, err := Redelivered(raw, 3)
		if err != nil {
			if json.Valid(raw) && utf8.Valid(raw) && strings.HasPrefix(strings.TrimLeft(string(raw), " \t\r\n"), "{") && strings.Count(string(raw), "[")+strings.Count(string(raw), "{") < maxDepth {
				t.Fatalf("refused %q: %v", raw, err)
			}
			return
		}
		if json.Valid(raw) && !json.Valid(once) {
			t.Fatalf("%q became %q", raw, once)
		}
		if n := Deliveries(once); n != 3 {
			t.Fatalf("count %d in %q", n, once)
		}
		l, err := survey(once)
		if err != nil || !isTrue(once, l.headers.redelivered) || !isTrue(once, l.properties.info.redelivered) {
			t.Fatalf("marks missing in %q: %v", once, err)
		}
		twice, err := Redelivered(once, 3)
		if err != nil || string(twice) != string(once) {
			t.Fatalf("%q became %q, %v", once, twice, err)
		}
	})
}

func FuzzParseTime(f *testing.F) {
	for _, s := range []string{"2030-01-01T12:00:00.000001+02:00", "20300101T120000Z", "2030-01", "2030-02-30", "2030-01-01T24:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, ok := ParseTime(s, nil)
		if ok && (at.UTC().Year() < 0 || at.UTC().Year() > 10000) {
			t.Fatalf("%q is %s", s, at)
		}
	})
}

// Whatever a body holds, what follows from it can be worked out and written, and reads as it was meant.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"delay", "protocol1", "chord3", "chain_in_chord", "link", "stamped"} {
		for _, m := range celerytest.Load(f, "5.6.2", name).Messages {
			if body, err := Body([]byte(m.Raw)); err == nil {
				f.Add(body)
			}
		}
	}
	f.Add([]byte(`[[1], {"x": NaN}, {"callbacks": {"task": "a"}, "errbacks": [{"task": "b", "options": {"link": [{"task": "c"}], "eta": "2030-01-01"}}], "chain": [{"task": "celery.chain", "subtask_type": "chain", "kwargs": {"tasks": []}}, {"task": "d"}], "chord": {"task": "e", "options": {"task_id": "1", "chain": [{"task": "f"}]}}}]`))
	f.Add([]byte(`[[], {}, {"chain": [{"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": {"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [{"task": "a"}]}}, "body": {"task": "celery.group", "subtask_type": "group", "kwargs": {"tasks": [{"task": "b"}]}}}}]}]`))
	f.Add([]byte(`[[], {}, {"errbacks": [{"task": "a", "options": {"eta": "0000-01-01"}}]}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Open(&Task{ID: "1", Name: "t.x", ContentType: "application/json", GroupIndex: -1}, body, "q", nil)
		if err != nil {
			return
		}
		s := NewSender()
		sent := func(plan *Plan, err error) {
			if err != nil {
				return // said in the result
			}
			for _, m := range plan.Messages {
				task, err := Decode(m.Raw, nil)
				if err != nil {
					t.Fatalf("%q leads to the message %q: %v", body, m.Raw, err)
				}
				b, err := Body(m.Raw)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := Open(task, b, m.Queue, []string{"msgpack", "yaml"}); err != nil {
					t.Fatalf("%q leads to the body %q: %v", body, b, err)
				}
			}
		}
		plans, err := s.FollowUps(r, pyjson.Raw(`{"a": [1]}`))
		for _, p := range plans {
			sent(p, err)
		}
		sent(s.ErrbackPlan(r.Errbacks(), "1", "", r))
		sent(s.Retry(r, -1, -1))
		Remains(r.Chain())
		if c := r.Chord(); c != nil {
			c.Failing()
			c.Rests()
			sent(s.Apply(c, []pyjson.Raw{pyjson.Raw("[]")}, Options{}, r))
			text, err := c.MarshalJSON()
			if err != nil {
				return
			}
			again, err := ParseSignature(text)
			if err != nil {
				t.Fatalf("%q has the body %q: %v", body, text, err)
			}
			if twice, err := again.MarshalJSON(); err != nil || string(twice) != string(text) {
				t.Fatalf("%q became %q, %v", text, twice, err)
			}
		}
	})
}

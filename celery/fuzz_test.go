package celery

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/agensium/agensium/celery/celerytest"
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

package celery_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/pyjson"
)

// TestMessagesOfPythonsClient builds what Python's client was asked for in a fixture, and compares its messages with
// ours: the same keys in the same order, the same values but for ids, times and tags, which must relate alike.
func TestMessagesOfPythonsClient(t *testing.T) {
	add := func(args ...any) *celery.Signature { return celery.S("fx.add", args...) }
	list := func(sigs ...*celery.Signature) []*celery.Signature { return sigs }
	utc := time.UTC
	cases := map[string]*celery.Signature{
		"delay":             add(2, 3),
		"kwargs":            celery.S("fx.echo", 1, "two").Kw("three", 3).Kw("nested", map[string]any{"a": []any{1, nil, true}}),
		"group3":            celery.Group(add(0, 0), add(1, 1), add(2, 2)),
		"chord3":            celery.Chord(list(add(0, 0), add(1, 1), add(2, 2)), celery.S("fx.tsum")),
		"chord_fail":        celery.Chord(list(add(1, 1), celery.S("fx.fail"), add(2, 2)), celery.S("fx.tsum").With(celery.Options{LinkError: list(celery.S("fx.err_old"))})),
		"chain3":            celery.Chain(add(1, 1), add(2), add(3)),
		"chain_fail":        celery.Chain(celery.S("fx.fail"), add(2), add(3)).With(celery.Options{LinkError: list(celery.S("fx.err_old"))}),
		"link":              add(1, 2).With(celery.Options{Link: list(add(10))}),
		"link_immutable":    add(1, 2).With(celery.Options{Link: list(celery.SI("fx.add", 5, 5))}),
		"link_error_old":    celery.S("fx.fail").With(celery.Options{LinkError: list(celery.S("fx.err_old"))}),
		"countdown":         add(1, 1).With(celery.Options{Countdown: time.Second}),
		"expires_ok":        add(1, 1).With(celery.Options{ExpiresIn: time.Minute}),
		"time_limit_header": celery.S("fx.sleep", 30).With(celery.Options{TimeLimit: 2 * time.Second}),
		"custom_headers":    celery.S("fx.reqinfo").With(celery.Options{Headers: map[string]any{"x-tenant": "acme", "trace": map[string]any{"id": 7}}}),
		"priority_5":        add(1, 5).With(celery.Options{Priority: 5}),
		"unicode":           celery.S("fx.echo", "héllo 世界 😀 \x00 \xed\xa0\xbd").Kw("clé", 1),
		"json_types": celery.S("fx.types", time.Date(2024, 1, 2, 3, 4, 5, 678901000, utc), pyjson.Raw(`{"__type__": "datetime", "__value__": "2024-01-02T03:04:05"}`),
			pyjson.Date{Year: 2024, Month: 1, Day: 2}, pyjson.TimeOfDay("03:04:05"), uuid.MustParse("00000000-0000-0000-0000-000000001234"), pyjson.Decimal("1.10")),
	}
	sender := celery.NewSender()
	sender.Tasks = celery.NewMux() // as Python's client knows them
	for _, name := range []string{"add", "echo", "tsum", "fail", "sleep", "reqinfo", "types", "err_old"} {
		celery.Handle(sender.Tasks, "fx."+name, func() {})
	}
	for name, sig := range cases {
		t.Run(name, func(t *testing.T) {
			plan, err := sender.Apply(sig, nil, celery.Options{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			fixture := celerytest.Load(t, "5.6.2", name)
			theirs, ours := &normal{}, &normal{}
			for i, m := range plan.Messages {
				want := theirs.envelope(t, fixture.Messages[i].Raw)
				if got := ours.envelope(t, m.Raw); !cmp.Equal(want, got) {
					t.Errorf("message %d:\n%s", i, cmp.Diff(want, got))
				}
			}
		})
	}
}

// normal replaces what differs from run to run by the order in which it was first seen.
type normal struct {
	ids map[string]string
}

var (
	uuids = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	clock = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00`)
)

func (n *normal) text(s string) string {
	if n.ids == nil {
		n.ids = map[string]string{}
	}
	s = uuids.ReplaceAllStringFunc(s, func(id string) string {
		if strings.HasPrefix(id, "00000000-") {
			return id
		}
		if n.ids[id] == "" {
			n.ids[id] = fmt.Sprintf("id%d", len(n.ids)+1)
		}
		return n.ids[id]
	})
	return clock.ReplaceAllStringFunc(s, func(at string) string {
		if strings.HasPrefix(at, "2024") {
			return at
		}
		return "some time"
	})
}

// envelope returns the order of keys and the values of a message; options in signatures have no order that matters.
func (n *normal) envelope(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	members, err := pyjson.Members(nil, raw)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	var keys []string
	for _, m := range members {
		keys = append(keys, m.Key)
		switch m.Key {
		case "body":
			var text string
			if err := json.Unmarshal(m.Value, &text); err != nil {
				t.Fatal(err)
			}
			body, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			out["body"] = n.value(t, body)
		case "headers", "properties":
			parts, err := pyjson.Members(nil, m.Value)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range parts {
				keys = append(keys, m.Key+"."+p.Key)
				if p.Key != "origin" {
					out[m.Key+"."+p.Key] = n.text(string(p.Value))
				}
			}
		default:
			out[m.Key] = string(m.Value)
		}
	}
	if i := slices.Index(keys, "headers.stamps"); i >= 0 { // a map of the application's headers has no order in Go
		end := i + 1
		for end < len(keys) && strings.HasPrefix(keys[end], "headers.") {
			end++
		}
		slices.Sort(keys[i+1 : end])
	}
	out["keys"] = keys
	return out
}

func (n *normal) value(t *testing.T, raw []byte) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(n.text(string(raw))), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestSignaturesSurvive reads every signature in the fixtures' messages and writes it again: same meaning.
func TestSignaturesSurvive(t *testing.T) {
	count := 0
	for name, fixture := range celerytest.LoadAll(t, "5.6.2") {
		for _, m := range fixture.Messages {
			task, err := celery.Decode(m.Raw, nil)
			if err != nil || task.ContentType != "application/json" || task.Protocol != 2 {
				continue
			}
			body, err := celery.Body(m.Raw)
			if err != nil {
				continue
			}
			parts, err := pyjson.Elements(nil, body)
			if err != nil || len(parts) != 3 {
				continue
			}
			var embed map[string]pyjson.Raw
			if err := pyjson.Decode(parts[2], &embed, nil); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for key, raw := range embed {
				if len(raw) == 0 || raw[0] != '{' && raw[0] != '[' {
					continue
				}
				list := []pyjson.Raw{raw}
				if raw[0] == '[' {
					list, _ = pyjson.Elements(nil, raw)
				}
				for _, sig := range list {
					count++
					parsed, err := celery.ParseSignature(sig)
					if err != nil {
						t.Errorf("%s: %s: %v", name, key, err)
						continue
					}
					written, err := json.Marshal(parsed)
					if err != nil {
						t.Errorf("%s: %s: %v", name, key, err)
						continue
					}
					var want, got any
					_ = json.Unmarshal(sig, &want)
					_ = json.Unmarshal(written, &got)
					if diff := cmp.Diff(strip(want), strip(got)); diff != "" {
						t.Errorf("%s: %s:\n%s", name, key, diff)
					}
				}
			}
		}
	}
	if count < 20 {
		t.Errorf("only %d signatures in the fixtures", count)
	}
}

// strip drops what means the same as its absence: null options, and those of the header of a frozen chord but its id.
func strip(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if header, ok := v["header"].(map[string]any); ok {
			options := header["options"].(map[string]any)
			header["options"] = map[string]any{"task_id": options["task_id"]}
		}
		for k, e := range v {
			if v[k] = strip(e); e == nil {
				delete(v, k)
			}
		}
	case []any:
		for i := range v {
			v[i] = strip(v[i])
		}
	}
	return v
}

func BenchmarkMessage(b *testing.B) {
	s := celery.NewSender()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Apply(celery.S("fx.add", 2, 3), nil, celery.Options{}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBindAndDocument(b *testing.B) {
	plan, err := celery.NewSender().Apply(celery.S("t.add", 2, 3), nil, celery.Options{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	task, err := celery.Decode(plan.Messages[0].Raw, nil)
	if err != nil {
		b.Fatal(err)
	}
	h := testMux().Lookup("t.add")
	docs := celery.Documents{}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		body, err := celery.Body(task.Raw)
		if err != nil {
			b.Fatal(err)
		}
		r, err := celery.Open(task, body, "celery", nil)
		if err != nil {
			b.Fatal(err)
		}
		value, err := h.Call(ctx, r.Args, r.Kwargs)
		if err != nil {
			b.Fatal(err)
		}
		_ = docs.Of(r, celery.StateSuccess, value, "")
	}
}

func TestExpiresOfAHandler(t *testing.T) {
	mux := celery.NewMux()
	celery.Handle(mux, "t.news", func() {}, celery.Expires(time.Hour))
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	s := celery.NewSender()
	s.Tasks, s.Now = mux, func() time.Time { return now }
	expires := func(plan *celery.Plan, err error) time.Time {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		task, err := celery.Decode(plan.Messages[0].Raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		return task.Expires
	}
	said := now.Add(time.Minute)
	r := &celery.Request{Task: &celery.Task{ID: "x", Name: "t.news", GroupIndex: -1}, Args: []byte("[]"), Kwargs: []byte("{}")}
	cases := map[string]struct{ got, want time.Time }{
		"by default":       {expires(s.Apply(celery.S("t.news"), nil, celery.Options{}, nil)), now.Add(time.Hour)},
		"said":             {expires(s.Apply(celery.S("t.news").With(celery.Options{Expires: said}), nil, celery.Options{}, nil)), said},
		"another task":     {expires(s.Apply(celery.S("t.other"), nil, celery.Options{}, nil)), time.Time{}},
		"a retry of never": {expires(s.Retry(r, 0, 3)), time.Time{}},
	}
	for name, c := range cases {
		if !c.got.Equal(c.want) {
			t.Errorf("%s: expires at %s, want %s", name, c.got, c.want)
		}
	}
}

package celery

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"
)

// visible compares tasks by what others see of them.
var visible = cmpopts.IgnoreUnexported(Task{})

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDecodeDelay(t *testing.T) {
	raw := celerytest.Load(t, "5.6.2", "delay").Messages[0].Raw
	got, err := Decode(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := &Task{
		ID:              "7df5006d-56d1-421c-8f04-fb5569ab26c9",
		Name:            "fx.add",
		RootID:          "7df5006d-56d1-421c-8f04-fb5569ab26c9",
		GroupIndex:      -1,
		ArgsRepr:        "(2, 3)",
		KwargsRepr:      "{}",
		Origin:          "gen29946@fixturehost",
		Protocol:        2,
		ContentType:     "application/json",
		ContentEncoding: "utf-8",
		RoutingKey:      "celery",
		ReplyTo:         "d6ca3db3-67b2-31d0-a1a4-10ed642967a5",
		CorrelationID:   "7df5006d-56d1-421c-8f04-fb5569ab26c9",
		DeliveryTag:     "ba71acc2-88ed-465c-9ac0-f6c7f40f6847",
		Raw:             raw,
	}
	if diff := cmp.Diff(want, got, visible); diff != "" {
		t.Fatal(diff)
	}
}

// What the hand-made messages are to give; all others decode.
var badMessages = map[string]Cause{
	"bad_body_not_json":        "", // protocol 2: the body stays closed
	"bad_envelope_not_json":    CauseUndecodable,
	"bad_eta":                  CauseBadETA,
	"bad_no_headers_task":      CauseNotATask,
	"bad_unpicklable_envelope": "",
}

func TestEveryRecordedMessageDecodesAndSurvivesTheEdit(t *testing.T) {
	for _, version := range celerytest.Versions {
		for name, fixture := range celerytest.LoadAll(t, version) {
			for i, m := range fixture.Messages {
				if strings.Contains(m.Key, ".reply.celery.pidbox") {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%d", version, name, i), func(t *testing.T) {
					task, err := Decode(m.Raw, nil)
					if cause := badMessages[name]; cause != "" {
						var refused *DecodeError
						if !errors.As(err, &refused) || refused.Cause != cause {
							t.Fatalf("got %v, want %s", err, cause)
						}
						if cause == CauseUndecodable {
							return
						}
					} else if err != nil {
						t.Fatal(err)
					} else {
						compareWithJSON(t, task)
					}
					checkEdit(t, m.Raw)
				})
			}
		}
	}
}

// compareWithJSON reads the headers again with encoding/json.
func compareWithJSON(t *testing.T, task *Task) {
	var m struct {
		Headers    map[string]any
		Properties struct {
			Priority     int
			DeliveryInfo struct {
				RoutingKey string `json:"routing_key"`
			} `json:"delivery_info"`
		}
	}
	if err := json.Unmarshal(task.Raw, &m); err != nil {
		t.Fatal(err)
	}
	if task.Protocol == 1 {
		if task.Name != "fx.add" || task.ArgsRepr != "[4, 4]" || task.ID == "" {
			t.Fatalf("%+v", task)
		}
		return
	}
	text := func(key string) string { s, _ := m.Headers[key].(string); return s }
	number := func(key string, absent int) int {
		if f, ok := m.Headers[key].(float64); ok {
			return int(f)
		}
		return absent
	}
	got := []any{task.Name, task.ID, task.Shadow, task.RootID, task.ParentID, task.Group, task.ArgsRepr, task.KwargsRepr,
		task.Origin, task.Retries, task.GroupIndex, task.Priority, task.RoutingKey, task.Compression}
	want := []any{text("task"), text("id"), text("shadow"), text("root_id"), text("parent_id"), text("group"),
		text("argsrepr"), text("kwargsrepr"), text("origin"), number("retries", 0), number("group_index", -1),
		m.Properties.Priority, m.Properties.DeliveryInfo.RoutingKey, text("compression")}
	if diff := cmp.Diff(want, got, visible); diff != "" {
		t.Fatal(diff)
	}
	for key, at := range map[string]time.Time{"eta": task.ETA, "expires": task.Expires} {
		if s := text(key); s != "" {
			want, err := time.Parse(time.RFC3339Nano, s)
			if err != nil || !want.Equal(at) {
				t.Fatalf("%s %s: got %s, %v", key, s, at, err)
			}
		} else if !at.IsZero() {
			t.Fatalf("%s: got %s", key, at)
		}
	}
}

// checkEdit marks a message as redelivered: nothing else may change in it, and a second edit changes the count alone.
func checkEdit(t *testing.T, raw []byte) {
	t.Helper()
	once, err := Redelivered(raw, 3)
	if err != nil {
		t.Fatal(err)
	}
	if n := Deliveries(once); n != 3 {
		t.Fatalf("count %d in %s", n, once)
	}
	var before, after map[string]any
	if json.Unmarshal(raw, &before) != nil {
		return // with NaN in it
	}
	if err := json.Unmarshal(once, &after); err != nil {
		t.Fatalf("%v: %s", err, once)
	}
	set := func(m map[string]any, path ...string) {
		for ; len(path) > 2; path = path[1:] {
			inner, ok := m[path[0]].(map[string]any)
			if !ok {
				inner = map[string]any{}
				m[path[0]] = inner
			}
			m = inner
		}
		if path[1] == "3" {
			m[path[0]] = 3.0
		} else {
			m[path[0]] = true
		}
	}
	set(before, "headers", "redelivered", "true")
	set(before, "headers", HeaderDeliveries, "3")
	set(before, "properties", "delivery_info", "redelivered", "true")
	if diff := cmp.Diff(before, after, visible); diff != "" {
		t.Fatal(diff)
	}
	twice, err := Redelivered(once, 41)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(string(once), HeaderDeliveries+`": 3`, HeaderDeliveries+`": 41`, 1); string(twice) != want {
		t.Fatalf("got %s\nwant %s", twice, want)
	}
}

func message(headers string) []byte {
	return []byte(`{"body": "W10=", "content-type": "application/json", "headers": ` + headers + `, "properties": {"correlation_id": "c", "body_encoding": "base64"}}`)
}

func TestDecodeWhatPythonWrites(t *testing.T) {
	tokyo := time.FixedZone("JST", 9*3600)
	utc := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for name, c := range map[string]struct {
		headers string
		check   func(*Task) any
		want    any
	}{
		"only task and id":            {`{"task": "a", "id": "1"}`, func(t *Task) any { return t.GroupIndex }, -1},
		"NaN and infinity":            {`{"x": NaN, "y": [Infinity, -Infinity], "task": "a", "id": "1"}`, func(t *Task) any { return t.Name }, "a"},
		"a limit of NaN is none":      {`{"task": "a", "id": "1", "timelimit": [NaN, Infinity]}`, func(t *Task) any { return t.TimeLimit + t.SoftTimeLimit }, time.Duration(0)},
		"hard limit first":            {`{"task": "a", "id": "1", "timelimit": [2.5, 1]}`, func(t *Task) any { return [2]time.Duration{t.TimeLimit, t.SoftTimeLimit} }, [2]time.Duration{2500 * time.Millisecond, time.Second}},
		"null timelimit":              {`{"task": "a", "id": "1", "timelimit": null}`, func(t *Task) any { return t.TimeLimit }, time.Duration(0)},
		"one limit of a foreign hand": {`{"task": "a", "id": "1", "timelimit": [7]}`, func(t *Task) any { return t.TimeLimit }, 7 * time.Second},
		"endless limit":               {`{"task": "a", "id": "1", "timelimit": [1e300, 1e15]}`, func(t *Task) any { return t.TimeLimit + t.SoftTimeLimit }, time.Duration(0)},
		"id is a number":              {`{"task": "a", "id": 12345678901234567890123}`, func(t *Task) any { return t.ID }, "12345678901234567890123"},
		"unbounded int":               {`{"task": "a", "id": "1", "retries": 123456789012345678901234567890}`, func(t *Task) any { return t.Retries }, math.MaxInt32},
		"retries null":                {`{"task": "a", "id": "1", "retries": null}`, func(t *Task) any { return t.Retries }, 0},
		"the last of repeated keys":   {`{"task": "x", "id": "1", "task": "a"}`, func(t *Task) any { return t.Name }, "a"},
		"escaped key":                 {`{"t\u0061sk": "a", "id": "1"}`, func(t *Task) any { return t.Name }, "a"},
		"escapes":                     {`{"task": "a", "id": "1", "argsrepr": "\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83d"}`, func(t *Task) any { return t.ArgsRepr }, "\"\\/\b\f\n\r\té😀\ufffd"},
		"surrogates the wrong way":    {`{"task": "a", "id": "1", "argsrepr": "\ude00\ud83d\u0041\ud83dx"}`, func(t *Task) any { return t.ArgsRepr }, "\ufffd\ufffdA\ufffdx"},
		"escaped quote at the end":    {`{"task": "a", "id": "1", "argsrepr": "\\\""}`, func(t *Task) any { return t.ArgsRepr }, `\"`},
		"stamps":                      {`{"task": "a", "id": "1", "stamps": {"k": [1, NaN]}}`, func(t *Task) any { return string(t.Stamps) }, `{"k": [1, NaN]}`},
		"no stamps":                   {`{"task": "a", "id": "1", "stamps": {}}`, func(t *Task) any { return t.Stamps == nil }, true},
		"redelivered in headers":      {`{"task": "a", "id": "1", "redelivered": true, "x-delivery-count": 2}`, func(t *Task) any { return fmt.Sprint(t.Redelivered, t.Deliveries) }, "true 2"},
		"eta without offset":          {`{"task": "a", "id": "1", "eta": "2030-01-01T09:00:00"}`, func(t *Task) any { return t.ETA.UTC() }, utc("2030-01-01T00:00:00Z")},
		"eta with offset":             {`{"task": "a", "id": "1", "eta": "2030-01-01T02:00:00.000001+02:00"}`, func(t *Task) any { return t.ETA.UTC() }, utc("2030-01-01T00:00:00.000001Z")},
		"white space":                 {"{\r\n\t\"task\" : \"a\" , \"id\":\"1\" }", func(t *Task) any { return t.String() }, "a[1]"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := message(c.headers)
			task, err := Decode(raw, tokyo)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, c.check(task)); diff != "" {
				t.Fatal(diff)
			}
			checkEdit(t, raw)
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	deep := strings.Repeat("[", 2000) + strings.Repeat("]", 2000)
	for name, c := range map[string]struct {
		raw   string
		cause Cause
		id    string
	}{
		"nothing":                  {``, CauseUndecodable, ""},
		"a list":                   {`[]`, CauseUndecodable, ""},
		"an open string":           {`{"body": "`, CauseUndecodable, ""},
		"a half escape":            {`{"body": "\u12"}`, CauseUndecodable, ""},
		"an escape at the end":     {`{"body": "\`, CauseUndecodable, ""},
		"two objects":              {`{} {}`, CauseUndecodable, ""},
		"not UTF-8":                {"{\"body\": \"\xff\"}", CauseUndecodable, ""},
		"nested too deep":          {string(message(`{"task": "a", "id": "1", "x": ` + deep + `}`)), CauseUndecodable, ""},
		"empty":                    {`{}`, CauseUndecodable, ""}, // no headers, no body
		"headers are a list":       {string(message(`[1]`)), CauseNotATask, "c"},
		"task is null":             {string(message(`{"task": null, "id": "1"}`)), CauseNotATask, "1"},
		"no id":                    {string(message(`{"task": "a"}`)), CauseNotATask, ""},
		"id is a list":             {string(message(`{"task": "a", "id": ["1"]}`)), CauseNotATask, ""},
		"eta is a number":          {string(message(`{"task": "a", "id": "1", "eta": 5}`)), CauseBadETA, "1"},
		"eta is tomorrow":          {string(message(`{"task": "a", "id": "1", "eta": "tomorrow"}`)), CauseBadETA, "1"},
		"expires is never":         {string(message(`{"task": "a", "id": "1", "expires": "never"}`)), CauseBadExpires, "1"},
		"protocol 1 of nothing":    {string(message(`{}`)), CauseNotATask, "c"},
		"protocol 1, bad base64":   {`{"body": "!", "content-type": "application/json", "properties": {"body_encoding": "base64"}}`, CauseUndecodable, ""},
		"protocol 1, not JSON":     {`{"body": "x", "content-type": "application/json"}`, CauseUndecodable, ""},
		"protocol 1, bad eta":      {`{"body": "{\"task\": \"a\", \"id\": \"7\", \"eta\": \"x\"}", "content-type": "application/json"}`, CauseBadETA, "7"},
		"protocol 1, not deflated": {`{"body": "{}", "content-type": "application/json", "headers": {"compression": "application/x-gzip"}}`, CauseUndecodable, ""},
	} {
		t.Run(name, func(t *testing.T) {
			task, err := Decode([]byte(c.raw), nil)
			var refused *DecodeError
			if task != nil || !errors.As(err, &refused) {
				t.Fatalf("got %v, %v", task, err)
			}
			if refused.Cause != c.cause || refused.ID != c.id {
				t.Fatalf("got %+v, want %s of %q", refused, c.cause, c.id)
			}
		})
	}
}

func TestDecodeProtocol1(t *testing.T) {
	body := `{"task": "a", "id": "7", "args": [1, NaN], "kwargs": {}, "taskset": "g", "group": null, "timelimit": [3, null], "eta": "2030-01-01T00:00:00", "utc": false}`
	raw := []byte(`{"body": "` + base64.StdEncoding.EncodeToString([]byte(body)) + `", "content-type": "application/json", "headers": null, "properties": {"body_encoding": "base64", "correlation_id": "7"}}`)
	task, err := Decode(raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%s %d %s %s %s %s", task, task.Protocol, task.Group, task.ArgsRepr, task.TimeLimit, task.ETA); got != "a[7] 1 g [1, NaN] 3s 2030-01-01 00:00:00 +0000 UTC" {
		t.Fatal(got)
	}
	pickled := bytes.Replace(raw, []byte("application/json"), []byte("application/x-python-serialize"), 1)
	if task, err = Decode(pickled, nil); err != nil || !task.Opaque || task.ID != "7" {
		t.Fatal(task, err)
	}
}

func TestLargeMessage(t *testing.T) {
	for _, version := range []string{"5.6.2", "5.2.6"} {
		raw := celerytest.Large(t, version)
		task, err := Decode(raw, nil)
		if err != nil || task.Name == "" {
			t.Fatal(task, err)
		}
		checkEdit(t, raw)
	}
}

func BenchmarkDecode(b *testing.B) {
	raw := []byte(celerytest.Load(b, "5.6.2", "delay").Messages[0].Raw)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(raw, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeLarge(b *testing.B) {
	raw := celerytest.Large(b, "5.6.2")
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(raw, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRedelivered(b *testing.B) {
	raw := []byte(celerytest.Load(b, "5.6.2", "delay").Messages[0].Raw)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Redelivered(raw, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEscapes(b *testing.B) {
	raw := message(`{"task": "a", "id": "1", "x": "` + strings.Repeat(`\\\"\u00e9`, 100_000) + `"}`)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := Decode(raw, nil); err != nil {
			b.Fatal(err)
		}
	}
}

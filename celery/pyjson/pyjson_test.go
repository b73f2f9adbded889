package pyjson_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/pyjson"
)

// texts are values as kombu writes them: writing what was read gives the same text, and Python agrees about it.
var texts = []string{
	`null`, `true`, `[]`, `{}`, `0`, `-1`, `123456789012345678901234567890`, `1.0`, `1.5`, `1e+16`, `1.5e-05`, `1e-05`, `0.0001`, `123456789012345.6`,
	`NaN`, `Infinity`, `-Infinity`, `[NaN, -Infinity]`, `-0.0`, `1e+300`, `5e-324`,
	`""`, `"plain"`, `"h\u00e9llo \u4e16\u754c \ud83d\ude00 \u0000 \ud83d"`, `"\"\\\b\f\n\r\t\u007f/"`, `"\udc00\ud800"`, `"it's"`,
	`[1, "two", [3, {"a": null}]]`, `{"a": 1, "b": {"c": [true, false]}}`, `{"cl\u00e9": 1}`,
	`{"__type__": "datetime", "__value__": "2024-01-02T03:04:05.678901+00:00"}`,
	`{"__type__": "datetime", "__value__": "2024-01-02T03:04:05+02:00"}`, `{"__type__": "datetime", "__value__": "2024-01-02T03:04:05-05:30"}`,
	`{"__type__": "date", "__value__": "2024-01-02"}`, `{"__type__": "time", "__value__": "03:04:05"}`, `{"__type__": "time", "__value__": "03:04:05.000006"}`,
	`{"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000001234"}}`, `{"__type__": "decimal", "__value__": "1.10"}`,
	`{"__type__": "bytes", "__value__": "abc"}`, `{"__type__": "base64", "__value__": "//4="}`,
	`{"__type__": "x", "__value__": 1, "third": 2}`,
}

func TestWhatIsReadIsWrittenBack(t *testing.T) {
	for _, text := range texts {
		v, err := pyjson.Any(pyjson.Raw(text), nil)
		if err != nil {
			t.Errorf("read %s: %v", text, err)
			continue
		}
		if got, err := pyjson.Append(nil, v); err != nil || string(got) != text {
			t.Errorf("%s came back as %s, %v", text, got, err)
		}
	}
}

// script prints what Python makes of the texts: written again, as argsrepr, as repr.
const script = `
import json, os, sys
from kombu.utils.json import loads, dumps
from celery.utils.saferepr import saferepr
out = []
for text in json.loads(os.environ['TEXTS']):
    v = loads(text)
    out.append([dumps(v), saferepr((v,), 1024), saferepr([v], 1024), repr(v)])
sys.stdout.write(json.dumps(out))
`

func TestPythonAgrees(t *testing.T) {
	python := celerytest.Venv(t, "celery-latest")
	long := `"` + strings.Repeat("word ", 300) + `"`
	nested := `[[[[[1]]]], {"a": {"b": {"c": 1}}}]`
	many := "[" + strings.TrimSuffix(strings.Repeat(`"0123456789", `, 200), ", ") + "]"
	cases := append(texts[:len(texts):len(texts)], long, nested, many, `{"k": `+many+`, "l": [1]}`, `["a b", `+long+`, [1, [2]]]`)
	input, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	var want [][4]string
	if err := json.Unmarshal([]byte(celerytest.RunPython(t, python, script, "TEXTS="+string(input))), &want); err != nil {
		t.Fatal(err)
	}
	lossy := func(s string) string { return strings.ToValidUTF8(strings.ReplaceAll(s, "\ufffd", ""), "") }
	for i, text := range cases {
		raw := pyjson.Raw(text)
		v, err := pyjson.Any(raw, nil)
		if err != nil {
			t.Errorf("read %.60s: %v", text, err)
			continue
		}
		written, err := pyjson.Append(nil, v)
		if err != nil || string(written) != want[i][0] {
			t.Errorf("write %.60s: got %s, %v, Python writes %s", text, written, err, want[i][0])
		}
		if got := pyjson.TupleOf([]pyjson.Raw{raw}); lossy(got) != lossy(want[i][1]) {
			t.Errorf("argsrepr of %.60s:\n got %q\nwant %q", text, got, want[i][1])
		}
		if got := pyjson.Repr(pyjson.Raw("[" + text + "]")); lossy(got) != lossy(want[i][2]) {
			t.Errorf("repr of [%.60s]:\n got %q\nwant %q", text, got, want[i][2])
		}
		if got := pyjson.FullRepr(raw); i < len(texts) && lossy(got) != lossy(want[i][3]) && !strings.Contains(want[i][3], `\ud`) {
			t.Errorf("full repr of %.60s:\n got %q\nwant %q", text, got, want[i][3])
		}
	}
}

func TestRefusals(t *testing.T) {
	for _, text := range []string{``, ` `, `[`, `[1,]`, `{"a"}`, `{"a":}`, `{a: 1}`, `01`, `1.`, `.5`, `1e`, `-`, `"\x"`, `"\u12"`, "\"\n\"", `nul`, `[1 2]`, `1 2`,
		`tru`, `{"a": 1,}`, `"open`, strings.Repeat("[", 2000) + strings.Repeat("]", 2000)} {
		if err := pyjson.Valid([]byte(text)); !errors.Is(err, pyjson.ErrSyntax) {
			t.Errorf("%.40s is taken for JSON: %v", text, err)
		}
	}
}

type order struct {
	ID      int               `json:"id"`
	Items   []item            `json:"items"`
	Notes   map[string]string `json:"notes"`
	When    time.Time         `json:"when"`
	Ref     *uuid.UUID        `json:"ref"`
	Price   pyjson.Decimal    `json:"price"`
	Secret  string            `json:"-"`
	Any     any               `json:"any"`
	Missing int               `json:"missing"`
}

type item struct {
	Name string `json:"name"`
	N    uint8  `json:"n"`
}

func TestDecodeIntoStructs(t *testing.T) {
	raw := pyjson.Raw(`{"id": 7, "items": [{"name": "a", "n": 2}], "notes": {"k": "v"}, "when": {"__type__": "datetime", "__value__": "2024-01-02T03:04:05"},
		"ref": {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000001234"}}, "price": {"__type__": "decimal", "__value__": "1.10"},
		"Secret": "no", "any": [1, 2.5, 18446744073709551616], "unknown": 1}`)
	var got order
	if err := pyjson.Decode(raw, &got, time.FixedZone("", 3600)); err != nil {
		t.Fatal(err)
	}
	id := uuid.MustParse("00000000-0000-0000-0000-000000001234")
	big18, _ := new(big.Int).SetString("18446744073709551616", 10)
	want := order{ID: 7, Items: []item{{"a", 2}}, Notes: map[string]string{"k": "v"}, When: time.Date(2024, 1, 2, 2, 4, 5, 0, time.UTC), Ref: &id, Price: "1.10",
		Any: []any{int64(1), 2.5, big18}}
	if !cmp.Equal(want, got, cmp.Comparer(func(a, b *big.Int) bool { return a.Cmp(b) == 0 }), cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })) {
		t.Errorf("got %+v", got)
	}
}

func TestMismatches(t *testing.T) {
	cases := map[string]struct {
		raw    string
		target any
		want   string
	}{
		"str for int":       {`"1"`, new(int), "must be int, not str"},
		"float for int":     {`1.0`, new(int), "must be int, not float"},
		"too large":         {`300`, new(int8), "must be int that fits int8, not 300"},
		"negative for uint": {`-1`, new(uint), "must be int that fits uint64, not -1"},
		"huge":              {`-` + strings.Repeat("7", 30), new(int), "must be int that fits int64, not int of 30 digits"},
		"float32":           {`1e300`, new(float32), "must be float that fits float32, not 1e300"},
		"int for float":     {`1` + strings.Repeat("0", 400), new(float64), "must be float that fits float64, not int of 401 digits"},
		"long":              {`1e30`, new(time.Duration), "must be a number of seconds that fits time.Duration, not 1e30"},
		"NaN seconds":       {`NaN`, new(time.Duration), "must be a number of seconds that fits time.Duration, not NaN"},
		"Decimal":           {`"x"`, new(pyjson.Decimal), "must be Decimal, not str"},
		"typed Decimal":     {`[{"__type__": "decimal", "__value__": "1,5"}]`, new([]any), "[0] must be the text of a decimal, not str"},
		"time":              {`"noon"`, new(pyjson.TimeOfDay), "must be time, not str"},
		"key":               {`{"x": 1}`, new(map[int]int), `["x"] must be int, not str`},
		"key for bool":      {`{"talk": 1}`, new(map[bool]int), `["talk"] must be bool, not str`},
		"large key":         {`{"300": 1}`, new(map[int8]int), `["300"] must be int that fits int8, not 300`},
		"deep in any":       {`{"a": [{"__type__": "uuid", "__value__": 1}]}`, new(any), `["a"][0] must be a UUID, not int`},
		"None for int":      {`null`, new(int), "must be int, not None"},
		"bool for int":      {`true`, new(int), "must be int, not bool"},
		"int for str":       {`1`, new(string), "must be str, not int"},
		"dict for list":     {`{}`, new([]int), "must be list, not dict"},
		"deep":              {`{"items": [{"n": 1}, {"n": "x"}]}`, new(order), ".items[1].n must be int, not str"},
		"datetime for str":  {`{"__type__": "datetime", "__value__": "2024-01-02T03:04:05"}`, new(string), "must be str, not datetime"},
		"unknown type":      {`{"__type__": "foo", "__value__": "x"}`, new(any), `must be one of kombu's types (datetime, date, time, decimal, uuid, bytes, base64), not __type__ "foo"`},
		"NaN for int":       {`NaN`, new(int), "must be int, not float"},
	}
	for name, c := range cases {
		err := pyjson.Decode(pyjson.Raw(c.raw), c.target, nil)
		var mismatch *pyjson.MismatchError
		if !errors.As(err, &mismatch) || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// Base, Twin and hidden are embedded below.
type Base struct {
	ID   int `json:"id"`
	Name string
}
type Twin struct{ Name string }
type hidden struct{ Seen int }
type celsius float64

func (c *celsius) MarshalJSON() ([]byte, error) { return pyjson.Append(nil, float64(*c)-273) }

func TestStructsAreThoseOfEncodingJSON(t *testing.T) {
	type node struct {
		Next *node `json:"next,omitempty"`
		N    int   `json:"n"`
	}
	cases := map[string]any{
		"embedded": struct{ Base }{Base{1, "a"}},
		"embedded with a name": struct {
			Base `json:"base"`
		}{Base{1, "a"}},
		"embedded, left out": struct {
			Base `json:"-"`
		}{},
		"embedded pointer":    struct{ *Base }{&Base{1, "a"}},
		"embedded nil":        struct{ *Base }{},
		"embedded unexported": struct{ hidden }{hidden{2}},
		"hides": struct {
			Base
			Name string
		}{Base{1, "a"}, "b"},
		"hides by tag": struct {
			Base
			Other string `json:"Name"`
		}{Base{1, "a"}, "b"},
		"ambiguous": struct {
			Base
			Twin
		}{},
		"embedded scalar":        struct{ time.Month }{3},
		"recursive":              node{&node{nil, 2}, 1},
		"pointer receiver":       &struct{ T celsius }{300},
		"pointer receiver, list": []celsius{273, 274},
		"pointers":               struct{ A, B *int }{new(int), nil},
		"empty, left out": struct {
			List []int          `json:",omitempty"`
			Map  map[string]int `json:",omitempty"`
			Text string         `json:",omitempty"`
		}{List: []int{}, Map: map[string]int{}},
		"empty, not zero": struct {
			List []int `json:",omitzero"`
			None []int `json:",omitzero"`
		}{List: []int{}},
	}
	for name, v := range cases {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pyjson.Append(nil, v)
		var plain any
		if err != nil || json.Unmarshal(got, &plain) != nil {
			t.Fatalf("%s: got %s, %v", name, got, err)
		}
		var wanted any
		if err := json.Unmarshal(want, &wanted); err != nil || !cmp.Equal(plain, wanted) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func TestPointersAreWrittenAsWhatTheyPointTo(t *testing.T) {
	when, id := time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC), uuid.UUID{15: 5}
	type both struct {
		When *time.Time
		ID   *uuid.UUID
		List []*time.Time
	}
	got, err := pyjson.Append(nil, both{&when, &id, []*time.Time{&when, nil}})
	const typed = `{"__type__": "datetime", "__value__": "2024-01-02T00:00:00+00:00"}`
	want := `{"When": ` + typed + `, "ID": {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000005"}}, "List": [` + typed + `, null]}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestADurationIsReadAsItIsWritten(t *testing.T) {
	for d, want := range map[time.Duration]string{0: `0`, time.Minute: `60`, 1500 * time.Millisecond: `1.5`, -time.Second: `-1`, 1: `1e-09`,
		math.MaxInt64 / time.Second * time.Second: `9223372036`} {
		got, err := pyjson.Append(nil, []time.Duration{d})
		if err != nil || string(got) != "["+want+"]" {
			t.Errorf("%s: got %s, %v", d, got, err)
		}
		var back []time.Duration
		if err := pyjson.Decode(got, &back, nil); err != nil || back[0] != d {
			t.Errorf("%s: read back %v, %v", d, back, err)
		}
	}
}

func TestKeysAreThoseOfJSONDumps(t *testing.T) {
	got, err := pyjson.Append(nil, []any{map[any]int{"a": 1, 2: 3}, map[bool]int{true: 1}, map[float64]int{1.5: 1}, map[int8]int{-1: 1}})
	if want := `[{"2": 3, "a": 1}, {"true": 1}, {"1.5": 1}, {"-1": 1}]`; err != nil || string(got) != want {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := pyjson.Append(nil, map[any]int{struct{}{}: 1}); err == nil {
		t.Error("a struct became a key")
	}
	if _, err := pyjson.Append(nil, map[any]int{nil: 1}); err == nil {
		t.Error("nil became a key")
	}
}

func TestWhatContainsItselfIsRefused(t *testing.T) {
	list, dict := []any{nil}, map[string]any{}
	list[0], dict["self"] = list, []map[string]any{dict}
	for _, v := range []any{list, dict} {
		if _, err := pyjson.Append(nil, v); err == nil || !strings.Contains(err.Error(), "nested too deeply") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := pyjson.Append(nil, json.Number("1 2")); err == nil {
		t.Error("what is no number was written")
	}
}

func TestKombu52Strings(t *testing.T) {
	var when time.Time
	if err := pyjson.Decode(pyjson.Raw(`"2024-01-02T03:04:05.678901Z"`), &when, nil); err != nil || when.Nanosecond() != 678901000 {
		t.Errorf("datetime of kombu 5.2: %v, %v", when, err)
	}
	var id uuid.UUID
	if err := pyjson.Decode(pyjson.Raw(`"00000000-0000-0000-0000-000000001234"`), &id, nil); err != nil || id[15] != 0x34 {
		t.Errorf("UUID of kombu 5.2: %v, %v", id, err)
	}
	var f float64
	if err := pyjson.Decode(pyjson.Raw(`NaN`), &f, nil); err != nil || !math.IsNaN(f) {
		t.Errorf("NaN: %v, %v", f, err)
	}
}

func TestAppendRefusesWhatHasNoForm(t *testing.T) {
	var te *pyjson.TypeError
	if _, err := pyjson.Append(nil, map[string]any{"f": func() {}}); !errors.As(err, &te) {
		t.Errorf("a function was written: %v", err)
	}
}

func FuzzAny(f *testing.F) {
	for _, t := range texts {
		f.Add([]byte(t))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if pyjson.Valid(data) != nil {
			return
		}
		_, _ = pyjson.Repr(data), pyjson.FullRepr(data)
		v, err := pyjson.Any(data, nil)
		if err != nil {
			return // an unknown __type__
		}
		once, err := pyjson.Append(nil, v)
		if err != nil {
			t.Fatalf("write what was read of %q: %v", data, err)
		}
		v2, err := pyjson.Any(once, nil)
		if err != nil {
			t.Fatalf("read %q again: %v", once, err)
		}
		twice, _ := pyjson.Append(nil, v2)
		if string(once) != string(twice) {
			t.Fatalf("%q became %q and then %q", data, once, twice)
		}
	})
}

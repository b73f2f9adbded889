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
		"too large":         {`300`, new(int8), "must be int that fits int8, not int"},
		"negative for uint": {`-1`, new(uint), "must be int that fits uint, not int"},
		"None for int":      {`null`, new(int), "must be int, not None"},
		"bool for int":      {`true`, new(int), "must be int, not bool"},
		"int for str":       {`1`, new(string), "must be str, not int"},
		"dict for list":     {`{}`, new([]int), "must be list, not dict"},
		"deep":              {`{"items": [{"n": 1}, {"n": "x"}]}`, new(order), ".items[1].n must be int, not str"},
		"datetime for str":  {`{"__type__": "datetime", "__value__": "2024-01-02T03:04:05"}`, new(string), "must be str, not datetime"},
		"unknown type":      {`{"__type__": "foo", "__value__": "x"}`, new(any), "must be a known __type__, not str"},
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

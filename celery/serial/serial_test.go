package serial_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/celery/serial"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const text = `[[1, -2, 1.5, "h\u00e9", null, true, {"a": [], "b": {}}, {"__type__": "bytes", "__value__": "abc"}, 18446744073709551615], {"k": "v"}, {"chain": null}]`

func TestThereAndBack(t *testing.T) {
	for _, name := range []string{"json", "msgpack", "yaml"} {
		f, ok := serial.ByName(name)
		if !ok {
			t.Fatal(name)
		}
		packed, err := f.Encode([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		back, err := f.Decode(packed)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		v, err := pyjson.Any(back, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := pyjson.Append(nil, v); string(got) != text {
			t.Errorf("%s gave %s", name, got)
		}
	}
}

// script reads what we wrote, and writes what we read.
const script = `
import base64, json, os, sys, datetime
from kombu.serialization import loads, dumps
out = []
for name, ct, ce, body in json.loads(os.environ['BODIES']):
    v = loads(base64.b64decode(body), ct, ce, accept=[ct])
    v[0][7] = v[0][7].decode()
    ct2, ce2, theirs = dumps([[1, b'\xff', 'x'], {'k': 2.5}, {'when': '2024'}], name)
    out.append([json.dumps(v), ct2, ce2, base64.b64encode(theirs if isinstance(theirs, bytes) else theirs.encode()).decode()])
sys.stdout.write(json.dumps(out))
`

func TestKombuAgrees(t *testing.T) {
	python := celerytest.Venv(t, "celery-latest")
	var bodies [][4]string
	names := []string{"msgpack", "yaml"}
	for _, name := range names {
		f, _ := serial.ByName(name)
		packed, err := f.Encode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, [4]string{name, f.ContentType, f.Encoding, base64.StdEncoding.EncodeToString(packed)})
	}
	input, _ := json.Marshal(bodies)
	var got [][4]string
	if err := json.Unmarshal([]byte(celerytest.RunPython(t, python, script, "BODIES="+string(input))), &got); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		if want := `[[1, -2, 1.5, "h\u00e9", null, true, {"a": [], "b": {}}, "abc", 18446744073709551615], {"k": "v"}, {"chain": null}]`; got[i][0] != want {
			t.Errorf("Python read %s as %s", name, got[i][0])
		}
		f, err := serial.ByContentType(got[i][1])
		if err != nil || f.Name != name || f.Encoding != got[i][2] {
			t.Errorf("%s: %v, %v", got[i][1], f, err)
		}
		theirs, _ := base64.StdEncoding.DecodeString(got[i][3])
		back, err := f.Decode(theirs)
		if want := `[[1, {"__type__": "base64", "__value__": "/w=="}, "x"], {"k": 2.5}, {"when": "2024"}]`; err != nil || string(back) != want {
			t.Errorf("we read %s as %s, %v", name, back, err)
		}
	}
}

// yamlScript has kombu write values as yaml and as JSON, and read ours.
const yamlScript = `
import base64, datetime as dt, json, os, sys
from kombu.serialization import loads, dumps
utc, east = dt.timezone.utc, dt.timezone(dt.timedelta(hours=5, minutes=30))
values = [2**64 - 1, 2**64, -2**80, 1.0, 1e16, 1.5e-7, float('inf'), -float('inf'), b'\xff', True, None,
    dt.date(2024, 1, 2), dt.datetime(2024, 1, 2, 3, 4, 5), dt.datetime(2024, 1, 2, 3, 4, 5, 60, tzinfo=utc), dt.datetime(2024, 1, 2, 3, 4, tzinfo=east),
    'yes', 'on', 'null', '~', '1:30', '017', '1_000', '0b1', '1e5', '.5', '2024-01-02', '2024-01-02 03:04:05+00:00', '=', '<<', '', ' a ', 'a\nb', '\u00e9\U0001f600', 'a: b # c',
    '0o17', '019', '2024-1-2', '1.', '+.inf', '2024-01-02T03', 'y', 'NULL', '.nan', '0x', '-0', -0.0, 0,
    {'1': 2, '2024-01-02': {'a': []}, 'yes': 1}]
_, _, theirs = dumps(values, 'yaml')
_, _, as_json = dumps(values, 'json')
ours = loads(base64.b64decode(os.environ['OURS']), 'application/x-yaml', 'utf-8', accept=['application/x-yaml']) if os.environ.get('OURS') else None
json.dump({'yaml': theirs, 'json': as_json, 'ours': dumps(ours, 'json')[2]}, sys.stdout)
`

func TestYAMLIsThatOfPyYAML(t *testing.T) {
	python := celerytest.Venv(t, "celery-latest")
	y, _ := serial.ByName("yaml")
	ask := func(ours string) (answer struct{ YAML, JSON, Ours string }) {
		t.Helper()
		if err := json.Unmarshal([]byte(celerytest.RunPython(t, python, yamlScript, "OURS="+ours)), &answer); err != nil {
			t.Fatal(err)
		}
		return answer
	}
	theirs := ask("")
	got, err := y.Decode([]byte(theirs.YAML))
	if err != nil || string(got) != theirs.JSON {
		t.Errorf("read\n%s\nas %s, %v\nwant %s", theirs.YAML, got, err, theirs.JSON)
	}
	// a time without an offset is one in UTC here
	packed, err := y.Encode([]byte(strings.ReplaceAll(theirs.JSON, `:04:05"`, `:04:05+00:00"`)))
	if err != nil {
		t.Fatal(err)
	}
	if back := ask(base64.StdEncoding.EncodeToString(packed)); back.Ours != strings.ReplaceAll(theirs.JSON, `:04:05"`, `:04:05+00:00"`) {
		t.Errorf("Python read\n%s\nas %s\nwant %s", packed, back.Ours, theirs.JSON)
	}
}

// TestYAMLByHandIsReadAsPyYAMLDoes has what PyYAML reads and never writes.
func TestYAMLByHandIsReadAsPyYAMLDoes(t *testing.T) {
	texts := []string{"yes", "Off", "NO", "yEs", "1:30", "-1:30", "+190:20:30", "1:30:15.5", "-0:30.5", "0:30", "1:75", "!!bool 'on'", "{yes: 1, 0x10: 2, ~: 3, 1.50: 4}", "{a: 1, a: 2}",
		"{b: 2, <<: {a: 1, b: 3}}", "[&x {a: 1}, {<<: *x, b: 2}]", "{<<: [{a: 1}, {a: 2, c: 3}], d: 4}", "[&x k, {*x : 1}]", "{<<: 1}", "{? [a] : 1}", "{2024-01-02: 1}"}
	input, _ := json.Marshal(texts)
	var want []string
	if err := json.Unmarshal([]byte(celerytest.RunPython(t, celerytest.Venv(t, "celery-latest"), `
import json, os, yaml
from kombu.utils.json import dumps
def read(text):
    try:
        return dumps(yaml.safe_load(text))
    except Exception:
        return 'refused'
print(json.dumps([read(text) for text in json.loads(os.environ['TEXTS'])]))
`, "TEXTS="+string(input))), &want); err != nil {
		t.Fatal(err)
	}
	y, _ := serial.ByName("yaml")
	for i, text := range texts {
		got, err := y.Decode([]byte(text))
		if err != nil {
			got = []byte("refused")
		}
		if string(got) != want[i] {
			t.Errorf("%s was read as %s, %v, want %s", text, got, err, want[i])
		}
	}
}

func TestFixtures(t *testing.T) {
	for _, name := range []string{"serializer_msgpack", "serializer_yaml", "compression_gzip", "protocol1"} {
		raw := celerytest.Load(t, "5.6.2", name).Messages[0].Raw
		task, err := celery.Decode(raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := celery.Body(raw)
		if err != nil {
			t.Fatal(err)
		}
		r, err := celery.Open(task, body, "celery", []string{"msgpack", "yaml"})
		if err != nil || len(r.Args) < 3 {
			t.Errorf("%s: args %s, %v", name, r.Args, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	if _, err := serial.ByContentType("application/x-python-serialize"); !errors.Is(err, serial.ErrPickle) {
		t.Errorf("pickle: %v", err)
	}
	if _, err := serial.ByContentType("text/html"); !errors.Is(err, serial.ErrUnknown) {
		t.Errorf("html: %v", err)
	}
	yaml, _ := serial.ByName("yaml")
	for _, body := range []string{"!!python/object/apply:os.system ['id']", "a: [", "&a [*a]", "x: &a [1,1,1,1,1,1,1,1,1,1]\ny: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nz: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
		"u: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\nv: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nw: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]"} {
		if out, err := yaml.Decode([]byte(body)); err == nil {
			t.Errorf("%.40q was read as %.40s", body, out)
		}
	}
}

func FuzzMsgpack(f *testing.F) {
	m, _ := serial.ByName("msgpack")
	seed, _ := m.Encode([]byte(text))
	f.Add(seed)
	f.Fuzz(func(t *testing.T, body []byte) {
		if out, err := m.Decode(body); err == nil && pyjson.Valid(out) != nil {
			t.Fatalf("%x gave %q", body, out)
		}
	})
}

func FuzzYAML(f *testing.F) {
	y, _ := serial.ByName("yaml")
	f.Add([]byte("- [1, .nan, 0x1f]\n- {a: ~, b: !!binary YWJj}\n- 2024-01-02"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if out, err := y.Decode(body); err == nil && pyjson.Valid(out) != nil {
			t.Fatalf("%q gave %q", body, out)
		}
	})
}

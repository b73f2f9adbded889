package celerytest

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Versions are the versions of Celery that fixtures were recorded from; celery/testdata/README.md describes them.
// "main" has only the cases that differ from the release.
var Versions = []string{"5.6.2", "5.2.6", "main"}

// Fixture is what one call of a real client led to, with a real Celery worker. Only the usual members are named;
// Member reads the others.
type Fixture struct {
	Case        string    `json:"case"`
	Description string    `json:"description"`
	ClientCall  string    `json:"client_call"`
	Messages    []Message `json:"messages"`

	t       testing.TB
	members map[string]json.RawMessage
}

// Message is an element of a queue.
type Message struct {
	Op  string `json:"op"`  // LPUSH or RPUSH
	Key string `json:"key"` // the list
	Raw Bytes  `json:"raw"`
}

// Bytes are a string of a fixture: text, or base64 where it was not UTF-8.
type Bytes []byte

// UnmarshalJSON implements json.Unmarshaler.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	if coded, is := strings.CutPrefix(s, "base64:"); is {
		decoded, err := base64.StdEncoding.DecodeString(coded)
		*b = decoded
		return err
	}
	*b = Bytes(s)
	return nil
}

// Load reads the fixture of a case, such as Load(t, "5.6.2", "delay").
func Load(t testing.TB, version, name string) *Fixture {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(fixtureDir(t), version, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	f := &Fixture{t: t}
	if err := json.Unmarshal(text, f); err != nil {
		t.Fatalf("%s/%s: %v", version, name, err)
	}
	if err := json.Unmarshal(text, &f.members); err != nil {
		t.Fatalf("%s/%s: %v", version, name, err)
	}
	return f
}

// LoadAll reads all fixtures of a version, by name.
func LoadAll(t testing.TB, version string) map[string]*Fixture {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(fixtureDir(t), version, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures of %s: %v", version, err)
	}
	all := map[string]*Fixture{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		all[name] = Load(t, version, name)
	}
	return all
}

// Large returns the message of the case large_arg, 1.4 MB.
func Large(t testing.TB, version string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join(fixtureDir(t), version, "large_arg.payload.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Member reads any member of the fixture, such as "result_backend_commands". It tells whether there is one.
func (f *Fixture) Member(name string, into any) bool {
	f.t.Helper()
	text, found := f.members[name]
	if !found {
		return false
	}
	if err := json.Unmarshal(text, into); err != nil {
		f.t.Fatalf("%s: %s: %v", f.Case, name, err)
	}
	return true
}

func fixtureDir(t testing.TB) string {
	t.Helper()
	return filepath.Join(moduleRoot(t), "celery", "testdata")
}

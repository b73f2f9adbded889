package config

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

var index = regexp.MustCompile(`\[\d+\]`)

// Whatever the text: no crash, every key is found in its line, no error shows a secret of the environment, and Diff
// knows each setting.
func FuzzLoad(f *testing.F) {
	files, _ := filepath.Glob("testdata/bad/*.toml")
	for _, file := range append(files, reference) {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("[a]\nb.c = 1\n[[d]]\n[[d.e]]\nx = [{y = '''\n'''}, {\"z\" = 1}]\n")
	vars := env(map[string]string{"REDIS_URL": "redis://:" + secret + "@db:6379/0", "TOKEN": secret})
	path := filepath.Join(f.TempDir(), "x.toml")
	f.Fuzz(func(t *testing.T, text string) {
		checkLines(t, text)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Load(Input{Path: path, Env: vars})
		if err != nil {
			if shown := err.Error(); strings.Contains(shown, secret) && !strings.Contains(text, secret) {
				t.Errorf("a secret is shown: %s", shown)
			}
			return
		}
		for _, c := range Diff(Defaults(), l.Config) {
			if c.Effect == "" {
				t.Errorf("%+v", c)
			}
		}
		if again := Diff(l.Config, l.Resolve(AppSettings{}).Config); len(again) > 0 {
			t.Errorf("resolving twice differs: %v", again)
		}
	})
}

func checkLines(t *testing.T, text string) {
	var tree map[string]any
	md, err := toml.Decode(text, &tree)
	if err != nil || !utf8.ValidString(text) {
		return
	}
	lines, last := map[string]bool{}, strings.Count(text, "\n")+1
	for name, line := range locate(text) {
		lines[index.ReplaceAllString(name, "")] = true
		if line < 1 || line > last {
			t.Errorf("%s is in line %d of %d", name, line, last)
		}
	}
	for _, k := range md.Keys() {
		if name := index.ReplaceAllString(k.String(), ""); !lines[name] {
			t.Errorf("%q was not found", name)
		}
	}
}

// Two texts that differ give changes that lead from one to the other and back.
func FuzzDiff(f *testing.F) {
	f.Add("node = \"a\"", "[pool]\nconcurrency = 3")
	f.Add("[tasks.\"a.b\"]\ntime_limit = 1", "[[command]]\ntask = \"x\"\nrun = [\"x\"]")
	f.Add("[python.environment]\nA = \"1\"", "[python.environment]\nA = \"2\"\n\"b\\nc\" = \"\"")
	d := f.TempDir()
	load := func(t *testing.T, name, text string) *Config {
		path := filepath.Join(d, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Load(Input{Path: path, Env: nothing})
		if err != nil {
			t.Skip()
		}
		return l.Config
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		a, b := load(t, "a", one), load(t, "b", two)
		there, back := Diff(a, b), Diff(b, a)
		if len(Diff(a, a)) != 0 || len(there) != len(back) {
			t.Fatalf("there %v, back %v", there, back)
		}
		for i, c := range there {
			if (Change{c.Key, c.New, c.Old, c.Effect}) != back[i] || i > 0 && there[i-1].Key >= c.Key {
				t.Errorf("%v, %v", c, back[i])
			}
		}
		if one == two && len(there) > 0 {
			t.Error(fmt.Sprint(there))
		}
	})
}

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// python makes an executable at the path and returns the path.
func python(t *testing.T, parts ...string) string {
	t.Helper()
	path := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestInterpreter(t *testing.T) {
	d := t.TempDir()
	onPath, other := python(t, d, "bin", "python3"), python(t, d, "bin", "python3.12")
	venv, dotVenv := python(t, d, "venv", "bin", "python"), python(t, d, "app", ".venv", "bin", "python")
	path, virtual := "relative:"+filepath.Join(d, "none")+":"+filepath.Join(d, "bin"), filepath.Join(d, "venv")
	plain := filepath.Join(d, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		p    Python
		vars map[string]string
		want string // empty: an error
		why  string
	}{
		"setting, absolute":      {Python{Interpreter: other}, nil, other, "python.interpreter"},
		"setting, relative":      {Python{Interpreter: "../bin/python3", Directory: filepath.Join(d, "app")}, nil, onPath, "python.interpreter"},
		"setting, a name":        {Python{Interpreter: "python3.12"}, map[string]string{"PATH": path, "VIRTUAL_ENV": virtual}, other, `python.interpreter = "python3.12" on PATH`},
		"virtual environment":    {Python{Directory: filepath.Join(d, "app")}, map[string]string{"PATH": path, "VIRTUAL_ENV": virtual}, venv, "VIRTUAL_ENV"},
		"of the application":     {Python{Directory: filepath.Join(d, "app")}, map[string]string{"PATH": path}, dotVenv, ".venv in the application's directory"},
		"a broken environment":   {Python{Directory: filepath.Join(d, "app")}, map[string]string{"VIRTUAL_ENV": d}, dotVenv, ".venv in the application's directory; VIRTUAL_ENV has none"},
		"on the path":            {Python{Directory: d}, map[string]string{"PATH": path}, onPath, "python3 on PATH, no virtual environment"},
		"nowhere":                {Python{Directory: d}, map[string]string{"PATH": d}, "", "python3 is not on PATH"},
		"setting, gone":          {Python{Interpreter: "/nowhere/python"}, nil, "", "no such file"},
		"setting, not a program": {Python{Interpreter: plain}, nil, "", "is not executable"},
		"setting, a directory":   {Python{Interpreter: d}, nil, "", "is a directory"},
	} {
		got, why, err := Interpreter(c.p, env(c.vars))
		if c.want == "" {
			if !errors.Is(err, ErrNoInterpreter) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%s: %q, %v, want an error with %q", name, got, err, c.why)
			}
		} else if got != c.want || why != c.why || err != nil {
			t.Errorf("%s: %q because of %s, %v, want %q because of %s", name, got, why, err, c.want, c.why)
		}
	}
}

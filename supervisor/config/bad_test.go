package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what is reported to testdata")

const secret = "hunter2"

// Each bad file is refused with all its problems, as the .want beside it says.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	vars := env(map[string]string{"REDIS_URL": "redis://:" + secret + "@db:6379/0", "LOUD": secret})
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			_, err := Load(Input{Path: file, Env: vars})
			var problems Problems
			if !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("no problems were found: %v", err)
			}
			got := strings.ReplaceAll(err.Error(), file+":", "") + "\n"
			if strings.Contains(got, secret) {
				t.Errorf("a secret is shown:\n%s", got)
			}
			golden := strings.TrimSuffix(file, "toml") + "want"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// What is wrong with the files as such.
func TestUnreadableFiles(t *testing.T) {
	d := dir(t, map[string]string{
		"huge.toml":  "# " + strings.Repeat("x", maxFile),
		"deep.toml":  "a = " + strings.Repeat("[", maxFile-10),
		"long.toml":  strings.Repeat("a.", 1000) + "a = 1",
		"empty.toml": "",
	})
	for name, want := range map[string]string{
		"deep.toml": "deep.toml:1: is nested deeper than 100 levels",
		"long.toml": "long.toml:1: is nested deeper than 100 levels",
		"huge.toml": "cannot be read: is larger than 256KiB",
		"gone.toml": "cannot be read: no such file or directory",
		".":         "cannot be read: is a directory",
	} {
		_, err := Load(Input{Path: filepath.Join(d, name), Env: nothing})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := Load(Input{Path: filepath.Join(d, "empty.toml"), Env: nothing}); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// A .env that cannot be read is named with its line, and none of its text is shown.
func TestBadDotenv(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		line int
	}{
		"unclosed quote": {"A=1\nTOKEN=\"" + secret + "\n", 3}, // the line where the file ends
		"bad name":       {"A=1\n\nTO(" + secret + ")=1\n", 3},
		"bad variable":   {"A=${" + secret + "\n", 0},
		"huge":           {strings.Repeat("#", maxFile+1), 0},
	} {
		_, err := Load(Input{Dir: dir(t, map[string]string{fileName: "", ".env": c.text}), Env: nothing})
		var problems Problems
		if !errors.As(err, &problems) || len(problems) != 1 || !strings.HasSuffix(problems[0].File, ".env") || problems[0].Line != c.line {
			t.Errorf("%s: %+v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: a secret is shown: %v", name, err)
		}
	}
}

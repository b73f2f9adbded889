package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// Of a file that is not TOML the rest is read, to find the node that has refused it; what is said of it is one thing.
func TestWhatCanBeReadOfAFileThatIsNotTOML(t *testing.T) {
	for name, text := range map[string]string{
		"another table":         "[admin]\nlisten = '127.0.0.1:9999'\n[pool\nconcurrency = 3\n[broker]\nurl = 'redis://h/1'\n",
		"its own table":         "[admin]\ntoken = 'x\nlisten = '127.0.0.1:9999'\n[broker]\nurl = 'redis://h/1'\n[unknown]\n",
		"before any table":      "what is this\n[admin]\nlisten = '127.0.0.1:9999'\n[broker]\nurl = 'redis://h/1'\n",
		"a table twice":         "[admin]\nlisten = '127.0.0.1:9999'\n[broker]\nurl = 'redis://h/1'\n[admin]\n",
		"a conflict of a merge": "[admin]\nlisten = '127.0.0.1:9999'\nlisten = '127.0.0.1:9998'\n<<<<<<<\n[broker]\nurl = 'redis://h/1'\n",
	} {
		path := filepath.Join(t.TempDir(), "agensium.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Load(Input{Path: path})
		var problems Problems
		if !errors.As(err, &problems) || len(problems) != 1 {
			t.Errorf("%s: %v", name, err)
		}
		if l.Config.Admin.Listen != "127.0.0.1:9999" || l.Config.Broker.URL != "redis://h/1" {
			t.Errorf("%s: %q %q", name, l.Config.Admin.Listen, l.Config.Broker.URL)
		}
	}
}

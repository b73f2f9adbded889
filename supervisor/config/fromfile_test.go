package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A secret may be in a file: of systemd's credentials by its bare name, of Docker's secrets by its path.
func TestVariableFromFile(t *testing.T) {
	credentials := dir(t, map[string]string{"redis-url": "redis://:Geheim-5@broker/0\n", "token": "Geheim-6"})
	here := dir(t, map[string]string{
		"agensium.toml": "[admin]\ntoken = \"${ADMIN_TOKEN}\"\n", ".env": "ADMIN_TOKEN_FILE=" + filepath.Join(credentials, "token") + "\n",
	})
	vars := map[string]string{"REDIS_URL_FILE": "redis-url", "CREDENTIALS_DIRECTORY": credentials}
	l := must(t, Input{Dir: here, Env: env(vars)})
	if l.Config.Broker.URL != "redis://:Geheim-5@broker/0" || l.Origins["broker.url"].Name != "REDIS_URL" || l.Config.Admin.Token != "Geheim-6" {
		t.Errorf("broker %q (%s), token %q", l.Config.Broker.URL, l.Origins["broker.url"], l.Config.Admin.Token)
	}
	if l.Vars["REDIS_URL"] != "redis://:Geheim-5@broker/0" {
		t.Error("the application does not get it")
	}
	vars["REDIS_URL"] = "redis://other"
	if l := must(t, Input{Dir: here, Env: env(vars)}); l.Config.Broker.URL != "redis://other" || l.Vars["REDIS_URL"] != "" {
		t.Errorf("the variable itself does not win: %q", l.Config.Broker.URL)
	}
}

func TestFileBesideTheSettings(t *testing.T) {
	here := dir(t, map[string]string{fileName: "", ".env": "CELERY_BROKER_URL_FILE=secret\n", "secret": "redis://beside\r\n"})
	if l := must(t, Input{Dir: here}); l.Config.Broker.URL != "redis://beside" {
		t.Error(l.Config.Broker.URL)
	}
}

func TestVariableFromBadFile(t *testing.T) {
	here := dir(t, map[string]string{"lines": "redis://:Geheim-5@a\nGeheim-5\n", "url": "gopher://:Geheim-5@a:b:c/\n", "zero": "Geheim-5\x00", "empty": "\n"})
	if err := os.Mkdir(filepath.Join(here, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"lines": "more than one line", "missing": "no such file", "directory": "is a directory", "zero": "more than one line", "empty": "is empty", "url": "broker.url",
	} {
		_, err := Load(Input{Dir: here, Env: env(map[string]string{"REDIS_URL_FILE": name})})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if name != "url" && !strings.Contains(err.Error(), "environment: REDIS_URL_FILE: names "+filepath.Join(here, name)) {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(err.Error(), "Geheim") {
			t.Errorf("%s: the content is shown: %v", name, err)
		}
	}
}

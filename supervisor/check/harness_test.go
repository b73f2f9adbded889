package check

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor/config"
)

// secret is part of every password in these tests, and must not be in what is shown.
const secret = "Geheim-5"

// settings are the defaults.
func settings(t testing.TB) *config.Effective {
	t.Helper()
	c := config.Defaults()
	return &config.Effective{Config: c, Origins: config.Origins{"broker.url": {Kind: config.FromEnvironment, Name: "REDIS_URL"}}}
}

func target(t testing.TB, url string, transport map[string]any) *redisconn.Target {
	t.Helper()
	parsed, err := redisconn.Parse(url, transport)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func nobody(string) (string, bool) { return "", false }

// checked runs the check of one Redis, and shows nothing that is secret.
func checked(t testing.TB, url string) Report {
	t.Helper()
	return checkedWith(t, Subject{Broker: target(t, url, nil)})
}

func checkedWith(t testing.TB, s Subject) Report {
	t.Helper()
	if s.Settings == nil {
		s.Settings = settings(t)
	}
	s.Env = nobody
	var shown bytes.Buffer
	s.Each = func(r Result) { r.Write(&shown) }
	report := Run(context.Background(), s)
	if err := report.WriteJSON(&shown); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + shown.String()[:strings.Index(shown.String(), "{\n")])
	if strings.Contains(shown.String(), secret) {
		t.Errorf("shows the secret:\n%s", shown.String())
	}
	for _, r := range report {
		if r.Mark == Failed && r.Hint == "" {
			t.Errorf("%s: no hint for %q", r.Name, r.Text)
		}
	}
	return report
}

// step returns the last result of a name.
func (r Report) step(t testing.TB, name string) Result {
	t.Helper()
	for i := len(r) - 1; i >= 0; i-- {
		if r[i].Name == name {
			return r[i]
		}
	}
	t.Fatalf("no step %q", name)
	return Result{}
}

// expect looks at one step: its mark, its cause, and parts of its text and hint.
func (r Report) expect(t testing.TB, name string, mark Mark, cause string, parts ...string) {
	t.Helper()
	got := r.step(t, name)
	if got.Mark != mark || got.Cause != cause {
		t.Errorf("%s: mark %s, cause %q; want %s, %q", name, got.Mark, got.Cause, mark, cause)
	}
	for _, part := range parts {
		if !strings.Contains(got.Text+" → "+got.Hint, part) {
			t.Errorf("%s: %q is not in %q → %q", name, part, got.Text, got.Hint)
		}
	}
}

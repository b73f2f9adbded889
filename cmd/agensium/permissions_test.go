package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/supervisor/check"
)

// leastRights is the user that OPERATING.md has, as words of ACL SETUSER.
func leastRights(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../supervisor/OPERATING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rule, found := strings.Cut(string(text), "ACL SETUSER worker on >password")
	rule, _, ended := strings.Cut(rule, "```")
	if !found || !ended {
		t.Fatal("OPERATING.md has no ACL SETUSER")
	}
	return strings.Fields(rule)
}

// without are commands that a node sends and can do without, or that `agensium check` tries before anything else.
var without = []string{"client|setname", "config|get", "info", "ping"}

// What the document grants is what `agensium check` tries: the two cannot drift apart.
func TestCheckTriesWhatTheDocumentGrants(t *testing.T) {
	var granted []string
	for _, word := range leastRights(t) {
		if command, is := strings.CutPrefix(word, "+"); is && !slices.Contains(without, command) {
			granted = append(granted, command)
		}
	}
	slices.Sort(granted)
	if diff := cmp.Diff(check.Commands(), granted); diff != "" {
		t.Errorf("tried (-) and granted (+):\n%s", diff)
	}
}

// TestPermissions has a node do everything as a user who may do what OPERATING.md grants and nothing else, and looks that it sends no
// command that `agensium check` does not try. Clients come by the socket, as somebody else.
func TestPermissions(t *testing.T) {
	t.Parallel()
	s := newSite(t, "celery-latest")
	user := []any{"ACL", "SETUSER", "worker", "on", ">Geheim-5", "+select"} // the results are in a database of their own
	for _, word := range leastRights(t) {
		user = append(user, word)
	}
	if err := s.broker().Do(t.Context(), user...).Err(); err != nil {
		t.Fatal(err)
	}
	_ = s.broker().Do(t.Context(), "ACL", "SETUSER", "worker", "+client|setinfo").Err() // of Redis 7.2 and newer; redis-py does without
	socket := s.redis.Socket()
	s.set("TEST_BROKER=redis+socket://"+socket+"?virtual_host=0", "TEST_BACKEND=unix://"+socket+"?db=1")
	s.conf(map[string]any{"result_backend": "redis+socket://" + socket + "?virtual_host=1"})
	url := "redis://worker:Geheim-5@" + s.redis.Addr()
	as := []string{"-b", url + "/0", "--result-backend", url + "/1"}

	s.write("checked.toml", "[broker]\nurl = \""+url+"/0\"\n[results]\nurl = \""+url+"/1\"\n")
	checked := s.start("check", "-A", "proj", "--config", filepath.Join(s.dir, "checked.toml"))
	if status := checked.Wait(); status != 0 {
		t.Errorf("check ended with %d", status)
	}

	m := s.redis.Monitor()
	node := s.node(append(as, "-E", "-c", "4", "-n", "w@h")...)
	s.client()
	s.script("import proj; c = proj.app.control; assert c.ping(timeout=20, limit=1); r = proj.wait_for.delay('never', 'a')\n" +
		"while not any((c.inspect(timeout=1).active() or {}).values()): pass\nc.revoke(r.id, terminate=True)\nr.get(timeout=20, propagate=False)")
	s.script("import proj; proj.wait_for.delay('again', 'a')")
	s.noted("again", 1)
	node.Signal(9)
	other := s.node(append(as, "-c", "1", "-n", "x@h")...)
	s.noted("again", 2)
	s.results().Set(t.Context(), "go:again", 1, 0)
	cleanEnd(t, other)

	tried := check.Commands()
	for _, c := range m.Commands() {
		name := strings.ToLower(c.Name())
		if name == "script" {
			name += "|" + strings.ToLower(c.Args[1])
		}
		if c.Conn != "lua" && !strings.HasPrefix(c.Conn, "unix:") && !slices.Contains(tried, name) && !slices.Contains(append(without, "config"), name) {
			t.Errorf("sent and not tried by check: %q", c.Args)
		}
	}
	refused, err := s.broker().Do(t.Context(), "ACL", "LOG").Slice()
	if err != nil || len(refused) > 0 {
		t.Errorf("refused: %v, %v", refused, err)
	}
}

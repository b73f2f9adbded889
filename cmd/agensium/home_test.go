package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/supervisor"
	"github.com/agensium/agensium/supervisor/admin"
)

// Two projects on one host have the same address by default: an answer counts only if it is from the node of this one, or says whose it is.
func TestAnswerOfAnotherProject(t *testing.T) {
	blog, shop := filepath.Join(t.TempDir(), "my blög"), t.TempDir()
	if err := os.Mkdir(blog, 0o700); err != nil {
		t.Fatal(err)
	}
	var home string
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if home != "" {
			w.Header().Set(admin.HeaderNode, "celery@host")
			w.Header().Set(admin.HeaderHome, url.PathEscape(home))
		}
		if r.URL.Path == "/status" {
			fmt.Fprintf(w, `{"node": "celery@host", "directory": %q}`, blog)
			return
		}
		fmt.Fprintln(w, "consuming: celery")
	}))
	defer node.Close()
	address := strings.TrimPrefix(node.URL, "http://")
	settings := "[admin]\nlisten = \"" + address + "\"\n[broker]\nurl = \"redis://127.0.0.1:1/0\"\n"
	for _, dir := range []string{blog, shop} {
		if err := os.WriteFile(filepath.Join(dir, "agensium.toml"), []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("AGENSIUM_CONFIG", "")
	other := fmt.Sprintf("agensium: no node answers on %s: that is celery@host of %s/agensium.toml, and not the node of %s/agensium.toml\n", address, blog, shop)
	spoiled := t.TempDir() // by an edit that the node has refused
	if err := os.WriteFile(filepath.Join(spoiled, "agensium.toml"), []byte(settings+"[pool]\nconcurency = 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		home, dir string
		args      []string
		status    int
		said      string
	}{
		"ours":                        {blog + "/agensium.toml", blog, nil, 0, "consuming: celery\n"},
		"spoiled":                     {spoiled + "/agensium.toml", spoiled, nil, 0, "consuming: celery\n"},
		"another's":                   {blog + "/agensium.toml", shop, nil, 1, other},
		"asked for":                   {blog + "/agensium.toml", shop, []string{"--address", address}, 0, "consuming: celery\n"},
		"ours by its settings":        {blog + "/agensium.toml", shop, []string{"--config", blog + "/agensium.toml"}, 0, "consuming: celery\n"},
		"a node without settings":     {blog, shop, nil, 1, fmt.Sprintf("agensium: no node answers on %s: that is celery@host of %s, and not", address, blog)},
		"not agensium":                {"", shop, nil, 1, "what answers is not agensium"},
		"not agensium, and asked for": {"", shop, []string{"--address", address}, 1, "what answers is not agensium"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(c.dir)
			home = c.home
			status, out := told(t, append([]string{"health"}, c.args...)...)
			if status != c.status || !strings.Contains(out, c.said) || strings.Count(out, "\n") != 1 {
				t.Errorf("health %d %q, want %d %q", status, out, c.status, c.said)
			}
			if status, out := told(t, append([]string{"status"}, c.args...)...); status != c.status || c.status == 0 && !strings.Contains(out, "directory  "+blog) {
				t.Errorf("status %d %q", status, out)
			}
		})
	}
}

// A node works on with its old settings when the file has become bad: it is found, and says so itself. Without a node the file is why.
func TestABadFileHidesNoNode(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("AGENSIUM_CONFIG", "")
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(admin.HeaderNode, "celery@host")
		w.Header().Set(admin.HeaderHome, url.PathEscape(dir+"/agensium.toml"))
		fmt.Fprintln(w, "consuming: celery")
	}))
	settings := "[admin]\nlisten = \"" + strings.TrimPrefix(node.URL, "http://") + "\"\n[pool]\nconcurrency = 0\n"
	if err := os.WriteFile("agensium.toml", []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out := told(t, "health"); status != exitOK || out != "consuming: celery\n" {
		t.Errorf("health %d %q", status, out)
	}
	for name, broken := range map[string]string{"elsewhere": settings + "[pool\nmax = ", "beside it": "[admin]\ntoken = 'x\n" + settings[len("[admin]\n"):]} {
		if err := os.WriteFile("agensium.toml", []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if status, out := told(t, "health"); status != exitOK || out != "consuming: celery\n" {
			t.Errorf("no TOML %s: health %d %q", name, status, out)
		}
	}
	if err := os.WriteFile("agensium.toml", []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	node.Close()
	address := strings.TrimPrefix(node.URL, "http://")
	for _, command := range []string{"health", "status"} {
		if status, out := told(t, command); status == exitOK || !strings.Contains(out, "agensium.toml:4: pool.concurrency: is 0") || !strings.Contains(out, address) {
			t.Errorf("%s without a node: %d %q", command, status, out)
		}
	}
}

// Without settings here the answer says whose it is.
func TestAnswerSaysWhoseItIs(t *testing.T) {
	here := t.TempDir()
	t.Chdir(here)
	if u := (home{}).unsure(&answered{home: here}); u {
		t.Error("unsure of its own directory")
	}
	a := &answered{node: "celery@host", home: "/srv/blog/agensium.toml"}
	if !(home{}).unsure(a) || (home{any: true}).unsure(a) || a.whose() != "celery@host of /srv/blog/agensium.toml" {
		t.Error(a.whose())
	}
}

// A node that works elsewhere is not reloaded for one that is not found here.
func TestReloadMeansTheNodeHere(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("AGENSIUM_CONFIG", "")
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(admin.HeaderNode, "celery@host")
		w.Header().Set(admin.HeaderHome, "/srv/blog")
		fmt.Fprintln(w, `{"pid": 1, "birth": "of another"}`)
	}))
	defer node.Close()
	address := strings.TrimPrefix(node.URL, "http://")
	_, port, _ := net.SplitHostPort(address)
	t.Setenv("PORT", port)
	if status, out := told(t, "reload"); status != exitError || !strings.Contains(out, "that is celery@host of /srv/blog, and there are no settings here") {
		t.Errorf("reload %d %q", status, out)
	}
	if status, out := told(t, "reload", "--address", address); status != exitUsage || !strings.Contains(out, "process 1 here is not the node that answers") {
		t.Errorf("reload of that one %d %q", status, out)
	}
}

// What systemd starts to reload a hardened service does not see the service's processes: systemd says which one is meant.
func TestReloadOfAHiddenProcess(t *testing.T) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
	node := &supervisor.ReloadReport{PID: os.Getpid(), Birth: "not to be seen"}
	t.Setenv("MAINPID", strconv.Itoa(os.Getppid()))
	if err := hangUp(node); err == nil {
		t.Error("systemd means another one")
	}
	t.Setenv("MAINPID", strconv.Itoa(os.Getpid()))
	if err := hangUp(node); err != nil {
		t.Fatal(err)
	}
	<-heard
}

// A program that runs a node and hears its signals itself may die of one.
func TestReloadSendsNoSignalToWhomItIsNotFor(t *testing.T) {
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	defer signal.Stop(heard)
	if err := hangUp(&supervisor.ReloadReport{PID: os.Getpid(), Birth: child.Birth(os.Getpid()), Deaf: true}); err == nil || len(heard) > 0 {
		t.Errorf("%v, signals: %d", err, len(heard))
	}
}

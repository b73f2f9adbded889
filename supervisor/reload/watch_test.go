package reload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"github.com/agensium/agensium/supervisor/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a running watcher of a file in a directory of its own.
type rig struct {
	*testing.T
	w       *Watcher
	dir     string
	path    string
	results chan Result
}

// start loads dir/agensium.toml, which prepare has made, and watches it. silent: as where no file system tells of edits.
func start(t *testing.T, silent bool, prepare func(dir string) (path string)) *rig {
	t.Helper()
	r := &rig{T: t, dir: t.TempDir(), results: make(chan Result, 1000)}
	r.path = prepare(r.dir)
	in := config.Input{Path: r.path, Dir: r.dir, Env: func(string) (string, bool) { return "", false }}
	loaded, err := config.Load(in)
	if err != nil {
		t.Fatal(err)
	}
	r.w = New(in, loaded, func(res Result) { r.results <- res }, hclog.NewNullLogger())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		if silent {
			r.w.loop(ctx, nil, time.Millisecond)
			done <- nil
			return
		}
		done <- r.w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *rig) write(path, node string) { r.text(path, fmt.Sprintf("node = %q\n", node)) }

func (r *rig) text(path, text string) {
	r.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) next() Result {
	r.Helper()
	select {
	case res := <-r.results:
		return res
	case <-time.After(time.Minute):
		r.Fatal("nothing was reported")
		return Result{}
	}
}

// await takes reports until one has this node's name. A file that is read while it is written may be reported as bad before.
func (r *rig) await(node string) {
	r.Helper()
	for {
		if res := r.next(); res.Err == nil && res.Loaded.Config.Node == node {
			return
		}
	}
}

func plain(t *testing.T) func(string) string {
	return func(dir string) string {
		path := filepath.Join(dir, "agensium.toml")
		if err := os.WriteFile(path, []byte("node = \"first\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

func TestEdits(t *testing.T) {
	for name, silent := range map[string]bool{"told": false, "polled": true} {
		t.Run(name, func(t *testing.T) {
			r := start(t, silent, plain(t))
			r.write(r.path, "written")
			r.await("written")

			beside := filepath.Join(r.dir, ".agensium.toml.swp")
			r.write(beside, "replaced")
			r.must(os.Rename(beside, r.path))
			r.await("replaced")

			r.must(os.Rename(r.path, r.path+"~")) // as editors that keep a copy
			r.write(r.path, "with a copy")
			r.await("with a copy")

			r.must(os.Remove(r.path))
			r.write(r.path, "removed and made")
			r.await("removed and made")

			r.text(r.path, "node = \"${NODE:-}\"\n")
			r.await("celery@%h")
			r.text(filepath.Join(r.dir, ".env"), "NODE=from env\n")
			r.await("from env")
		})
	}
}

// A bad file is reported with its line; the watch goes on.
func TestBadFile(t *testing.T) {
	r := start(t, false, plain(t))
	r.text(r.path, "node = \"x\"\nnoode = 1\n")
	var problems config.Problems
	for !errors.As(r.next().Err, &problems) || problems[0].Line != 2 {
	}
	r.text(r.path, "")
	for !errors.Is(r.next().Err, ErrEmpty) {
	}
	r.write(r.path, "good")
	r.await("good")
}

// What is written again as it was is no change, and neither are other files, access rights, or a file that is away for a while.
func TestNoChange(t *testing.T) {
	r := start(t, false, plain(t))
	r.write(r.path, "first")
	r.write(filepath.Join(r.dir, "other.toml"), "other")
	r.must(os.Chmod(r.path, 0o640))
	r.must(os.Remove(r.path))
	r.write(r.path, "first")
	r.write(r.path, "second")
	for {
		res := r.next()
		if errors.Is(res.Err, ErrEmpty) {
			continue // looked at in the middle of a write
		}
		if res.Err != nil || res.Loaded.Config.Node != "second" {
			t.Fatalf("reported %+v", res)
		}
		return
	}
}

// A file that is gone stays in force; asked for, it is an error, and it is found when it is back.
func TestVanishedFile(t *testing.T) {
	r := start(t, false, plain(t))
	r.must(os.Remove(r.path))
	r.w.Reload("SIGHUP")
	if res := r.next(); res.Err == nil || res.Cause != "SIGHUP" || res.Asked != 1 {
		t.Fatalf("reported %+v", res)
	}
	r.write(r.path, "back")
	r.await("back")

	r.must(os.Rename(r.dir, r.dir+".away")) // the directory as well
	asked := r.w.Reload("SIGHUP")
	for res := r.next(); res.Err == nil || res.Asked < asked; res = r.next() {
	}
	r.must(os.Rename(r.dir+".away", r.dir))
	r.write(r.path, "with its directory")
	r.await("with its directory")
}

// Where there was no file one may appear.
func TestNewFile(t *testing.T) {
	var path string
	r := start(t, false, func(dir string) string {
		path = filepath.Join(dir, "agensium.toml")
		return ""
	})
	r.write(path, "new")
	r.await("new")
	r.must(os.Remove(path))
	r.w.Reload("SIGHUP")
	if res := r.next(); res.Err == nil {
		t.Fatalf("reported %+v", res)
	}
}

func TestManyWrites(t *testing.T) {
	r := start(t, false, plain(t))
	for i := range 300 {
		r.write(r.path, fmt.Sprint("number ", i))
	}
	r.write(r.path, "last")
	r.await("last")
}

// Kubernetes keeps versions in directories and moves a link from one to the next.
func TestKubernetesLinks(t *testing.T) {
	version := func(dir, name, node string) {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "agensium.toml"), []byte("node = \""+node+"\"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, path string) {
		if err := os.Symlink(target, path); err != nil {
			t.Fatal(err)
		}
	}
	r := start(t, false, func(dir string) string {
		version(dir, "..v1", "first")
		link("..v1", filepath.Join(dir, "..data"))
		link("..data/agensium.toml", filepath.Join(dir, "agensium.toml"))
		return filepath.Join(dir, "agensium.toml")
	})
	for i, node := range []string{"second", "third"} {
		name := fmt.Sprint("..v", i+2)
		version(r.dir, name, node)
		link(name, filepath.Join(r.dir, "..tmp"))
		r.must(os.Rename(filepath.Join(r.dir, "..tmp"), filepath.Join(r.dir, "..data")))
		r.await(node)
	}
	r.write(filepath.Join(r.dir, "..v3", "agensium.toml"), "edited there")
	r.await("edited there")
}

// The directory of the file is itself a link that is moved, as deployments do with `current`.
func TestDeploymentLink(t *testing.T) {
	r := start(t, false, func(dir string) string {
		for _, name := range []string{"one", "two"} {
			if err := os.MkdirAll(filepath.Join(dir, "releases", name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "releases", name, "agensium.toml"), []byte("node = \""+name+"\"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("releases/one", filepath.Join(dir, "current")); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, "current", "agensium.toml")
	})
	r.must(os.Symlink("releases/two", filepath.Join(r.dir, "next")))
	r.must(os.Rename(filepath.Join(r.dir, "next"), filepath.Join(r.dir, "current")))
	r.await("two")
	r.write(filepath.Join(r.dir, "releases", "two", "agensium.toml"), "three")
	r.await("three")
}

func TestReloadOnRequest(t *testing.T) {
	r := start(t, false, plain(t))
	r.w.Reload("SIGHUP")
	if res := r.next(); res.Cause != "SIGHUP" || res.Err != nil || res.Loaded.Config.Node != "first" {
		t.Fatalf("reported %+v", res)
	}
	r.w.Store(&config.Document{Version: 2, Text: []byte("node = \"stored\"\n")}, "redis")
	if res := r.next(); res.Cause != "redis" || res.Err != nil || res.Loaded.Config.Node != "stored" || res.Loaded.Origins["node"].Version != 2 {
		t.Fatalf("reported %+v", res)
	}
	r.write(r.path, "the file") // Redis still wins
	r.await("stored")
	r.w.Store(nil, "redis")
	r.await("the file")
}

func TestDirectories(t *testing.T) {
	d := t.TempDir()
	for _, pair := range [][2]string{{"b/x", "a"}, {"loop", "loop"}} {
		if err := os.Symlink(pair[0], filepath.Join(d, pair[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(d, "b", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"f": ".", "none/f": ".", "b/f": "b", "a/f": ". b/x", "loop/f": ".", "b/../f": ".",
	} {
		var got []string
		for _, name := range []string{".", "b", "b/x"} {
			if directories(filepath.Join(d, path))[filepath.Join(d, name)] {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", path, got, want)
		}
	}
}

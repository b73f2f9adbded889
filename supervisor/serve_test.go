package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/agensium/agensium/supervisor/autoscale"
	"github.com/agensium/agensium/supervisor/config"
	"github.com/agensium/agensium/supervisor/reload"
)

// loaded reads settings from a file with this text, in an environment of the test's own.
func loaded(t *testing.T, toml string, env map[string]string) *config.Loaded {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agensium.toml")
	if err := os.WriteFile(path, []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := config.Load(config.Input{Path: path, Env: func(name string) (string, bool) {
		v, ok := env[name]
		return v, ok
	}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func node(t *testing.T, l *config.Loaded, out io.Writer) *Supervisor {
	t.Helper()
	s, err := newSupervisor(Options{Loaded: l, Stderr: out, Version: "v1", Signals: make(chan os.Signal)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBusyAdminAddress(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	addr := busy.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	occupy := func() {
		if l, err := net.Listen("tcp", defaultListen); err == nil {
			t.Cleanup(func() { l.Close() })
		} // else it is busy already
	}
	occupy()

	for name, c := range map[string]struct {
		toml  string
		env   map[string]string
		fatal bool
	}{
		"default":                        {},
		"the reference file's":           {toml: "[admin]\nlisten = \"127.0.0.1:${PORT:-8080}\""},
		"an address of the file":         {toml: "[admin]\nlisten = \"" + addr + "\"", fatal: true},
		"the port that the platform set": {toml: "[admin]\nlisten = \"127.0.0.1:${PORT:-8080}\"", env: map[string]string{"PORT": port}, fatal: true},
	} {
		t.Run(name, func(t *testing.T) {
			var out safeBuffer
			s := node(t, loaded(t, c.toml, c.env), &out)
			err := s.openAdmin()
			for ; err == nil && s.admin != nil; err = s.openAdmin() { // whoever had the default has left it in this moment
				s.admin.Stop()
				s = node(t, loaded(t, c.toml, c.env), &out)
				occupy()
			}
			var setup *SetupError
			if errors.As(err, &setup) != c.fatal || (err != nil) != c.fatal {
				t.Fatalf("error %v, want one: %t", err, c.fatal)
			}
			if text := strings.Join(out.lines(), "\n"); !c.fatal && !strings.Contains(text, "is in use, by another node perhaps") {
				t.Errorf("no clear warning: %q", text)
			}
			if c.fatal && !strings.Contains(setup.Hint, "admin.listen") {
				t.Errorf("hint %q", setup.Hint)
			}
		})
	}
}

func TestAdminServesWhileTheNodeStartsAndCanBeSwitchedOff(t *testing.T) {
	var out safeBuffer
	s := node(t, loaded(t, "[admin]\nlisten = \"127.0.0.1:0\"", nil), &out)
	if err := s.openAdmin(); err != nil || s.admin == nil {
		t.Fatal(err)
	}
	s.admin.Stop()
	s.life.is(starting, "importing proj:app")
	if ok, why := s.Live(); !ok || why != "ok: starting: importing proj:app" {
		t.Errorf("live: %t %q", ok, why)
	}
	if ok, why := s.Ready(); ok || why != "starting: importing proj:app" {
		t.Errorf("ready: %t %q", ok, why)
	}
	w := httptest.NewRecorder()
	s.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if !strings.Contains(w.Body.String(), `agensium_phase{phase="starting"} 1`) {
		t.Errorf("metrics while it starts: %d %s", w.Code, w.Body)
	}
	s = node(t, loaded(t, "[admin]\nlisten = \"\"", nil), &out)
	if err := s.openAdmin(); err != nil || s.admin != nil {
		t.Errorf("switched off: %v", err)
	}
}

func TestRestingNodeIsReady(t *testing.T) {
	var out safeBuffer
	s := node(t, loaded(t, "[broker]\nconsume = false\n[admin]\nlisten = \"\"", nil), &out)
	ended := make(chan error, 1)
	go func() { ended <- s.serve() }()
	<-s.life.changed
	if ok, why := s.Ready(); !ok || !strings.HasPrefix(why, "resting: ") {
		t.Errorf("ready: %t %q", ok, why)
	}
	s.stopping.begin("test")
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if ok, _ := s.Ready(); ok {
		t.Error("ready after the end")
	}
}

// The admin server is asked while the settings of the start are replaced: for the race detector.
func TestRestingNodeIsAskedWhileItTakesOtherSettings(t *testing.T) {
	var out safeBuffer
	s := node(t, loaded(t, "[broker]\nconsume = false\n[admin]\nlisten = \"\"", nil), &out)
	asked := make(chan any)
	go func() { asked <- s.Status(t.Context()) }()
	s.applier.take(reload.Result{Loaded: loaded(t, "[admin]\nlisten = \"\"", nil)})
	if goOn, err := s.rest(); !goOn || err != nil {
		t.Errorf("rest: %t, %v", goOn, err)
	}
	<-asked
}

// Who asked for a reload hears of it when what it asked for has been applied or refused, and not when a newer reading still waits.
func TestAReloadIsAnsweredWhenNothingWaits(t *testing.T) {
	var out safeBuffer
	s := node(t, loaded(t, "[admin]\nlisten = \"\"", nil), &out)
	a := s.applier
	a.take(reload.Result{Asked: 1, Loaded: s.loaded.Load()})
	a.take(reload.Result{Asked: 2, Err: errors.New("spoiled")})
	a.settled()
	if st := s.reloads.status(); st.Answered != 0 {
		t.Errorf("answered %d while a reading waits", st.Answered)
	}
	a.next()
	a.settled()
	if st := s.reloads.status(); st.Asked != 2 || st.Answered != 2 || st.Error != "spoiled" {
		t.Errorf("after the last: %+v", st)
	}
}

// A file that is read while it is written, and refused, takes nothing from a reload that was asked for meanwhile.
func TestARefusedReadingLeavesALaterReloadAlone(t *testing.T) {
	var out safeBuffer
	s := node(t, loaded(t, "[admin]\nlisten = \"\"", nil), &out)
	s.reload("signal SIGHUP")
	s.applier.take(reload.Result{Cause: "file", Err: errors.New("half a file")}) // was read before
	s.applier.take(reload.Result{Asked: 1, Loaded: s.loaded.Load()})
	if !s.applier.anew {
		t.Error("the application is not imported anew")
	}
}

// A node that rested and begins has not taken its settings before it works with them; and what was refused meanwhile stays refused.
func TestAReloadOfARestingNodeIsAnsweredWhenItWorks(t *testing.T) {
	var out safeBuffer
	s := node(t, loaded(t, "[broker]\nconsume = false\n[admin]\nlisten = \"\"", nil), &out)
	a := s.applier
	a.take(reload.Result{Asked: 1, Loaded: loaded(t, "[admin]\nlisten = \"\"", nil)})
	a.take(reload.Result{Asked: 2, Err: errors.New("spoiled")})
	if goOn, err := s.rest(); !goOn || err != nil {
		t.Fatalf("rest: %t, %v", goOn, err)
	}
	if st := s.reloads.status(); st.Answered != 0 || st.Error != "spoiled" {
		t.Errorf("before it works: %+v", st)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.run(ctx)
	if st := s.reloads.status(); st.Answered != 2 {
		t.Errorf("when it works: %+v", st)
	}
}

// A node with signals of its own does not hear those of the system.
func TestWhoHearsNoSignalSaysSo(t *testing.T) {
	var out safeBuffer
	s := node(t, loaded(t, "[admin]\nlisten = \"\"", nil), &out)
	own := s.Reloads().(ReloadReport)
	s.o.Signals = nil
	if other := s.Reloads().(ReloadReport); !own.Deaf || other.Deaf {
		t.Errorf("%+v, %+v", own, other)
	}
}

// How a reload went that somebody asked for does not change with the next edit of a file.
func TestWhatIsReadLaterDoesNotChangeHowAReloadWent(t *testing.T) {
	var r reloads
	r.ask(1)
	r.note(time.Now(), errors.New("no module named shop"))
	r.answer(1)
	r.note(time.Now(), nil)
	r.answer(1)
	if st := r.status(); st.Refusal != "no module named shop" || st.Error != "" {
		t.Errorf("%+v", st)
	}
	r.ask(2)
	r.answer(2)
	r.note(time.Now(), errors.New("half a file"))
	r.answer(2)
	if st := r.status(); st.Refusal != "" || st.Error == "" {
		t.Errorf("%+v", st)
	}
}

func TestStatusIsStable(t *testing.T) {
	var out safeBuffer
	s := node(t, loaded(t, "[admin]\nlisten = \"\"\ntoken = \"s3cret\"\n[broker]\nurl = \"redis://:s3cret@h:1/0\"", nil), &out)
	text, err := json.Marshal(s.Status(context.Background()))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "s3cret") {
		t.Errorf("secret in %s", text)
	}
	var back Status
	if err := json.Unmarshal(text, &back); err != nil || back.Node != s.node || back.Phase != starting || back.Nodes == nil || back.Queues == nil {
		t.Errorf("%v: %s", err, text)
	}
}

func TestReloadsAreTold(t *testing.T) {
	t0 := time.Unix(1_000_000, 0)
	r := reloads{taken: t0}
	r.note(t0.Add(time.Minute), nil)
	r.note(t0.Add(2*time.Minute), errors.New("agensium.toml:3: pool.max: unknown"))
	want := ReloadStatus{Taken: t0.Add(time.Minute), Last: t0.Add(2 * time.Minute), Error: "agensium.toml:3: pool.max: unknown", Reloads: 1, Refused: 1}
	if diff := cmp.Diff(want, r.status()); diff != "" {
		t.Error(diff)
	}
	if m := r.sample(); m.LastOK || m.Last != want.Taken {
		t.Errorf("%+v", m)
	}
	r.note(t0.Add(3*time.Minute), nil)
	if s := r.status(); s.Error != "" || !s.Taken.Equal(t0.Add(3*time.Minute)) {
		t.Errorf("%+v", s)
	}
}

func TestDecisionsAreKeptWhenTheyChangeSomething(t *testing.T) {
	var d decisions
	t0 := time.Unix(1_000_000, 0)
	d.note(t0, autoscale.Decision{Target: 1, Reason: "target 1: quiet"})
	d.note(t0.Add(time.Second), autoscale.Decision{Target: 1, Reason: "target 1: still quiet"})
	d.note(t0.Add(2*time.Second), autoscale.Decision{Target: 1, Bound: autoscale.BoundMemory, Reason: "target 1: held by memory"})
	want := []Decision{{At: t0, Target: 1, Reason: "target 1: still quiet"}, {At: t0.Add(2 * time.Second), Target: 1, Bound: autoscale.BoundMemory, Reason: "target 1: held by memory"}}
	if diff := cmp.Diff(want, d.list()); diff != "" {
		t.Error(diff)
	}
	for i := range 100 {
		d.note(t0, autoscale.Decision{Target: i})
	}
	if n := len(d.list()); n != keptDecisions || d.last().Target != 99 {
		t.Errorf("%d decisions kept, the last %+v", n, d.last())
	}
}

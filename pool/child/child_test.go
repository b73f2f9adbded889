package child

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// contained is what the test binary does as PID 1 and below it; nil where there are no containers.
var contained func() int

func TestMain(m *testing.M) {
	if contained != nil && os.Getenv(asInit) != "" {
		os.Exit(contained())
	}
	goleak.VerifyTestMain(m)
}

const (
	patience = time.Minute
	asInit   = "AGENSIUM_TEST_INIT"
)

func startShell(t *testing.T, script string, files ...*os.File) *Process {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	p, err := Start(Spec{Path: sh, Args: []string{"-c", script}, Files: files})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = KillGroup(p.PID())
		<-p.Done()
	})
	return p
}

func TestExitIsWordedAsCeleryDoes(t *testing.T) {
	for script, want := range map[string]string{
		"exit 3":      "exitcode 3",
		"kill -9 $$":  "signal 9 (SIGKILL)",
		"kill -11 $$": "signal 11 (SIGSEGV)",
		"exit 0":      "exitcode 0",
	} {
		p := startShell(t, script)
		<-p.Done()
		if got := p.Exit().String(); got != want {
			t.Errorf("%s: %s instead of %s", script, got, want)
		}
	}
}

func TestStartSaysWhatIsNotThere(t *testing.T) {
	if _, err := Start(Spec{Path: "/no/such/program"}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "/no/such/program") {
		t.Error(err)
	}
	nowhere := t.TempDir() + "/nowhere"
	if _, err := Start(Spec{Path: os.Args[0], Dir: nowhere}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), nowhere) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func TestKillTreeFindsWhoLeftTheGroup(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := startShell(t, `setsid sh -c 'echo $$ >&3; exec sleep 600' & wait`, w)
	w.Close()
	var escaped int
	if _, err := fmt.Fscan(r, &escaped); err != nil {
		t.Fatal(err)
	}
	if found := Descendants(p.PID()); len(found) == 0 {
		t.Error("no descendants")
	}
	KillTree(p.PID())
	<-p.Done()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, _ = AwaitOrphan(ctx, escaped); ctx.Err() != nil {
		t.Errorf("process %d lives", escaped)
	}
}

func TestLifelineEndsOnlyWithItsLastHolder(t *testing.T) {
	hold, give, err := Lifeline()
	if err != nil {
		t.Fatal(err)
	}
	p := startShell(t, `read x <&3; exit 9`, give)
	give.Close()
	select {
	case <-p.Done():
		t.Fatal("ended while the lifeline was held")
	default:
	}
	hold.Close()
	<-p.Done()
	if p.Exit().Code != 9 {
		t.Error(p.Exit())
	}
}

func TestUsage(t *testing.T) {
	u, err := UsageOf(os.Getpid())
	if err != nil || u.RSS < 1<<20 || u.PSS > u.RSS || u.Private > u.RSS {
		t.Error(u, err)
	}
	if rss, err := ResidentOf(os.Getpid()); err != nil || rss < 1<<20 {
		t.Error(rss, err)
	}
	if rss, cpu, err := GlanceOf(os.Getpid()); err != nil || rss < 1<<20 || cpu < 0 || cpu > time.Hour {
		t.Error(rss, cpu, err)
	}
	if _, err := ResidentOf(1 << 30); err == nil {
		t.Error("a process that does not exist has memory")
	}
}

func TestPairTalks(t *testing.T) {
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	if _, err := theirs.WriteString("hello"); err != nil {
		t.Fatal(err)
	}
	var b [5]byte
	if _, err := ours.Read(b[:]); err != nil || string(b[:]) != "hello" {
		t.Error(string(b[:]), err)
	}
}

func TestStrangersAreReapedAndOursAreNot(t *testing.T) {
	if err := BecomeSubreaper(); err != nil {
		t.Skip(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := startShell(t, `sh -c 'sleep 600 & echo $! >&3'`, w) // its grandchild becomes ours
	w.Close()
	var orphan int
	if _, err := fmt.Fscan(r, &orphan); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		ReapStrangers(ctx)
		close(ended)
	}()
	<-p.Done()
	if p.Exit().Code != 0 {
		t.Errorf("the status of our own was taken: %+v", p.Exit())
	}
	if err := syscall.Kill(orphan, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(patience)
	for syscall.Kill(orphan, 0) == nil {
		select {
		case <-deadline:
			t.Fatal("nobody reaped the orphan")
		default:
		}
	}
	cancel()
	<-ended
}

package python

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
)

// The applications of testdata/zoo misbehave, a file each. None may cost more than its own task.

func TestZooOfApplications(t *testing.T) {
	python := interpreter(t, latest)
	for app, want := range map[string][]string{
		"dies_at_import":       {"exitcode 3", "printed: about to end"},
		"exits_at_import":      {"SystemExit: no settings", "hint: the application calls sys.exit"},
		"raises_at_import":     {"RuntimeError: no database", `raise RuntimeError('no database')`, "raises_at_import.py"},
		"lacks_module":         {"ModuleNotFoundError", `hint: no module "not_there_at_all"`},
		"syntax_error":         {"SyntaxError", "syntax_error.py"},
		"no_app":               {"import no_app", "AttributeError", "hint: name the application as module:attribute"},
		"no_app:answer":        {"not a Celery application"},
		"circular":             {"ImportError: cannot import name 'app'", "hint: two modules import each other"},
		"nowhere.to.be.found":  {"ModuleNotFoundError", `hint: no module "nowhere"`},
		"prints_binary:absent": {"AttributeError"},
	} {
		t.Run(strings.ReplaceAll(app, ":", "_"), func(t *testing.T) {
			_, err := Start(context.Background(), Options{Interpreter: python, App: app, Dir: "testdata/zoo", Node: "celery@test"})
			var failed *StartError
			if !errors.As(err, &failed) {
				t.Fatalf("%v", err)
			}
			text := err.Error() + "\n" + strings.Join(failed.Notes(), "\n")
			for _, part := range want {
				if !strings.Contains(text, part) {
					t.Errorf("no %q in:\n%s", part, text)
				}
			}
		})
	}
	t.Run("no interpreter", func(t *testing.T) {
		if _, err := Start(context.Background(), Options{Interpreter: "/no/python"}); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
	t.Run("hangs", func(t *testing.T) {
		log, lines := logged()
		ctx, over := context.WithCancelCause(t.Context())
		defer over(nil)
		go func() {
			celerytest.Eventually(t, "the import", func() bool { return lines.find("about to hang") != "" })
			over(errStartTimeout)
		}()
		_, err := Start(ctx, Options{Interpreter: python, App: "hangs_at_import", Dir: "testdata/zoo", Log: log})
		var failed *StartError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), "import hangs_at_import: StartTimeout: no answer within the start timeout of 1m0s") {
			t.Fatal(err)
		}
		if notes := strings.Join(failed.Notes(), "\n"); !strings.Contains(notes, "hangs_at_import.py") || !strings.Contains(notes, "hint: it hangs there") {
			t.Error(notes)
		}
	})
	t.Run("hangs before", func(t *testing.T) {
		_, err := Start(t.Context(), Options{Interpreter: python, App: "hangs_at_import", Dir: "testdata/zoo", StartTimeout: time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), "no answer within the start timeout of 1ms") {
			t.Error(err)
		}
	})
}

func TestChildThatIsKilledBeforeItIsReadyIsNoticed(t *testing.T) {
	app := start(t, Options{Interpreter: interpreter(t, latest), App: "killed_at_init", Dir: "testdata/zoo"})
	var failed *StartError
	if _, err := app.Start(t.Context(), 1); !errors.As(err, &failed) || failed.Exit.Signal != syscall.SIGKILL {
		t.Errorf("%v", err)
	}
}

// zoo is one application of the zoo with one child.
type zoo struct {
	app   *Application
	child *Child
	job   pool.Job
	lines *records
}

func startZoo(t *testing.T, name, call string) *zoo {
	t.Helper()
	python := interpreter(t, latest)
	log, lines := logged()
	o := Options{Interpreter: python, App: name, Dir: "testdata/zoo", Store: discard, Log: log, CloseTimeout: patience}
	if name == "hears_of_messages" {
		o.CloseTimeout = time.Second // its zygote hangs
	}
	app := start(t, o)
	client := startClient(t, python, "testdata/zoo", name)
	return &zoo{app, child1(t, app), jobOf(client.one(t, call)), lines}
}

// logged is a log whose records are kept.
func logged() (hclog.Logger, *records) {
	lines := &records{}
	log := hclog.NewInterceptLogger(&hclog.LoggerOptions{Output: hclog.DefaultOutput, Level: hclog.Off})
	log.RegisterSink(lines)
	return log, lines
}

// records keeps log records.
type records struct {
	mu  sync.Mutex
	all []string
}

func (r *records) Accept(name string, level hclog.Level, msg string, args ...interface{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, level.String()+" "+msg)
}

func (r *records) find(part string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.all {
		if strings.Contains(line, part) {
			return line
		}
	}
	return ""
}

func TestZooOfTasks(t *testing.T) {
	for name, test := range map[string]struct {
		call  string
		state celery.State
		cause celery.LossCause
		text  string // in exception, document or detail
	}{
		"prints_binary":     {"bad.delay()", celery.StateSuccess, "", "1"},
		"starts_threads":    {"bad.delay()", celery.StateSuccess, "", `"result": 1`},
		"os_exit":           {"bad.delay()", celery.StateLost, celery.LossExited, "exitcode 7"},
		"segfault":          {"bad.delay()", celery.StateLost, celery.LossSignal, "SIGSEGV"},
		"closes_channel":    {"bad.delay()", celery.StateLost, "", ""},
		"writes_garbage":    {"bad.delay()", celery.StateLost, celery.LossProtocol, "frame too large"},
		"answers_twice":     {"bad.delay()", celery.StateLost, celery.LossProtocol, "tag 99999"},
		"forks_processes":   {"bad.delay()", celery.StateSuccess, "", "[0, -15]"},
		"floods":            {"bad.delay()", celery.StateSuccess, "", ""},
		"huge":              {"bad.delay()", celery.StateSuccess, "", "xxx"},
		"takes_huge":        {"bad.delay('x' * (50 << 20))", celery.StateSuccess, "", "52428800"},
		"odd_exception":     {"bad.delay()", celery.StateFailure, "", ""},
		"raises_base":       {"bad.delay()", celery.StateFailure, "", "of all"},
		"changes_directory": {"bad.delay()", celery.StateSuccess, "", ""},
		"leaks":             {"bad.delay()", celery.StateSuccess, "", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			z := startZoo(t, name, test.call)
			out, err := z.child.Execute(context.Background(), z.job)
			if out.State != test.state || (err != nil) != (test.state == celery.StateLost) {
				t.Fatalf("%s %+v %v", out.State, out.Loss, err)
			}
			text := out.Exception
			if out.Loss != nil {
				text += out.Loss.Detail
				if test.cause != "" && out.Loss.Cause != test.cause {
					t.Errorf("cause: %+v", *out.Loss)
				}
			}
			for _, r := range out.Results {
				text += string(r.Document)
			}
			if !strings.Contains(text, test.text) {
				t.Errorf("no %q in %.300s", test.text, text)
			}
			again := z.child
			if out.State == celery.StateLost {
				again = child1(t, z.app)
			}
			if out, err := again.Execute(context.Background(), z.job); out.State != test.state {
				t.Errorf("second time: %+v %v", out.State, err)
			}
		})
	}
}

func TestZooWarnsOfThreads(t *testing.T) {
	z := startZoo(t, "starts_threads", "bad.delay()")
	if w := strings.Join(z.app.Info().Warnings, "\n"); !strings.Contains(w, "busybody") {
		t.Error(w)
	}
}

func TestZooLoopInCEndsAtTheHardLimit(t *testing.T) {
	z := startZoo(t, "loops_in_c", "bad.delay()")
	go func() {
		celerytest.Eventually(t, "the loop", func() bool { return z.lines.find("looping") != "" })
		tag := z.child.running.Load()
		z.child.softLimit(tag, z.job)
		z.child.hardLimit(tag)
	}()
	out, _ := z.child.Execute(context.Background(), z.job)
	if out.State != celery.StateLost || out.Loss.Cause != celery.LossHardLimit {
		t.Errorf("%+v", out)
	}
}

func TestZooHardKillLeavesNoGrandchildren(t *testing.T) {
	z := startZoo(t, "grandchildren", "bad.delay()")
	go func() {
		celerytest.Eventually(t, "the grandchildren", func() bool { return z.lines.find("pids ") != "" })
		z.child.hardLimit(z.child.running.Load())
	}()
	out, _ := z.child.Execute(context.Background(), z.job)
	if out.State != celery.StateLost {
		t.Fatalf("%+v", out)
	}
	line := z.lines.find("pids ")
	if line == "" {
		t.Fatalf("no pids among %q", z.lines.all)
	}
	var same, other int
	if _, err := fmt.Sscanf(line[strings.Index(line, "pids "):], "pids %d %d", &same, &other); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, pid := range []int{same, other} {
		if _, _ = child.AwaitOrphan(ctx, pid); ctx.Err() != nil || child.Alive(pid) {
			t.Errorf("process %d lives", pid)
		}
	}
}

// TestEndOfATaskIsNotLoggedTwice: the supervisor says it, without the result, also where the application logs in its own manner.
func TestEndOfATaskIsNotLoggedTwice(t *testing.T) {
	z := startZoo(t, "logs_for_itself", "bad.delay()")
	if out, err := z.child.Execute(context.Background(), z.job); err != nil || out.State != celery.StateSuccess {
		t.Fatal(out, err)
	}
	if z.lines.find("own: logged by the task") == "" {
		t.Error("what the task logs is missing")
	}
	if line := z.lines.find("what it returns"); line != "" {
		t.Error(line)
	}
}

// TestWhatIsWrappedAroundTheLoopIsRun: Sentry flushes there.
func TestWhatIsWrappedAroundAProcessOfThePoolIsRun(t *testing.T) {
	for name, expression := range map[string]string{"asked to leave": "bad.delay()", "left by a task": "bad.delay(0)"} {
		t.Run(name, func(t *testing.T) {
			z := startZoo(t, "wraps_the_loop", expression)
			_, _ = z.child.Execute(context.Background(), z.job) // the second one is lost
			pid := z.child.PID()
			if err := z.child.Close(context.Background()); err != nil {
				t.Error(err)
			}
			for _, want := range []string{"number 0 in the pool", "begun by ", "flushed by ", "ended by "} {
				if strings.HasSuffix(want, "by ") {
					want += strconv.Itoa(pid)
				}
				if z.lines.find(want) == "" {
					t.Errorf("%q is not among %q", want, z.lines.all)
				}
			}
		})
	}
}

// The process that imported the application runs its atexit handlers, as Celery's parent does.
func TestZooMayEndSlowly(t *testing.T) {
	z := startZoo(t, "ends_slowly", "bad.delay()")
	for _, closed := range []interface{ Close(context.Context) error }{z.child, z.app} {
		if err := closed.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if z.lines.find("goodbye") == "" {
		t.Errorf("it was killed before its end: %q", z.lines.all)
	}
	if z.lines.find("wakeup fd") != "" { // of the helper that it ends
		t.Errorf("it complains of its end: %q", z.lines.all)
	}
}

// A task that is the last of its process is reported all the same.
func TestWhatIsSentFromAThreadHasAMoment(t *testing.T) {
	for name, expression := range map[string]string{"shutdown": "bad.delay()", "left by a task": "bad.delay(0)"} {
		t.Run(name, func(t *testing.T) {
			z := startZoo(t, "sends_later", expression)
			_, _ = z.child.Execute(context.Background(), z.job) // the second one is lost
			z.app.ShuttingDown("SIGTERM", "Warm", 0)
			if err := z.child.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if z.lines.find("sent") == "" {
				t.Errorf("%q", z.lines.all)
			}
		})
	}
}

func TestZooIsComplete(t *testing.T) {
	test, err := os.ReadFile("zoo_test.go")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/zoo/*.py")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".py"); !strings.Contains(string(test), `"`+name+`"`) {
			t.Errorf("no test uses %s", file)
		}
	}
}

// TestATaskThatRaisesNoException ends as it does under billiard: before 4.3, which Celery 5.2 runs on, it ended the process.
func TestATaskThatRaisesNoException(t *testing.T) {
	for release, want := range map[string]struct {
		state celery.State
		text  string
	}{
		"celery-5.2":    {celery.StateLost, "Worker exited prematurely: exitcode 0 Job: 1."},
		"celery-5.5":    {celery.StateFailure, `"exc_type": "Base", "exc_message": ["of all"], "exc_module": "raises_base"`},
		"celery-latest": {celery.StateFailure, `"exc_type": "Base", "exc_message": ["of all"], "exc_module": "raises_base"`},
	} {
		t.Run(release, func(t *testing.T) {
			python := interpreter(t, release)
			app := start(t, Options{Interpreter: python, App: "raises_base", Dir: "testdata/zoo", Store: discard})
			client := startClient(t, python, "testdata/zoo", "raises_base")
			out, _ := child1(t, app).Execute(context.Background(), jobOf(client.one(t, "bad.delay()")))
			var text string
			if out.Loss != nil {
				text = out.Loss.Detail
			} else if len(out.Results) > 0 {
				text = string(out.Results[0].Document)
			}
			if out.State != want.state || !strings.Contains(text, want.text) {
				t.Errorf("%s %s", out.State, text)
			}
		})
	}
}

// What comes in may be anything, and is no reason for the process that forks to die.
func TestAnUnreadableMessageIsRejectedAndNoMore(t *testing.T) {
	z := startZoo(t, "hears_of_messages", "bad.delay()")
	zygote := z.app.PID()
	for i, message := range []string{
		`{"headers": {}, "properties": {"body_encoding": "base64"}, "body": null}`,
		`{"headers": [1], "properties": {}, "body": ""}`,
		`{"headers": {}, "properties": {"delivery_info": 1}, "content-type": {}, "body": 1}`,
		`null`, `{`, "\xff", "",
		strings.Repeat("[", 200_000),
	} {
		why := fmt.Sprintf("unreadable %d", i)
		z.app.Rejected(t.Context(), []byte(message), why)
		celerytest.Eventually(t, why, func() bool { return z.lines.find("rejected 'Message' "+why) != "" || z.app.PID() != zygote })
		if z.app.PID() != zygote {
			t.Fatalf("the zygote died of %.80q: %q", message, z.lines.all)
		}
	}
}

// The process that forks has its collector off, and lives as long as the node.
func TestTheGarbageOfReceiversIsCollected(t *testing.T) {
	z := startZoo(t, "hears_of_messages", "bad.delay()")
	for range 100 {
		z.app.Rejected(t.Context(), nil, "")
	}
	celerytest.Eventually(t, "what receivers leave to be collected", func() bool { return z.lines.find("collected") != "" })
}

// A receiver of task_received that hangs holds up what is claimed, as in Celery, but not the end of the node.
func TestAReceiverThatHangsDoesNotHoldUpTheEnd(t *testing.T) {
	z := startZoo(t, "hears_of_messages", `bad.delay("x" * 1_000_000)`)
	draining, cancel := context.WithCancel(t.Context())
	cancel()
	for range mostUntold + 1 {
		z.app.Received(draining, z.job.Task.Raw)
	}
	z.app.ShuttingDown("SIGTERM", "Warm", 0)
	if out, err := z.child.Execute(context.Background(), z.job); err != nil || out.State != celery.StateSuccess {
		t.Errorf("%s %v", out.State, err)
	}
	if err := z.app.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// A receiver that hangs for ever would end all forks: the process that it hangs in is replaced. Its children go on.
func TestAZygoteInWhichAReceiverHangsIsReplaced(t *testing.T) {
	z := startZoo(t, "hears_of_messages", `bad.delay("x" * 1_000_000)`)
	z.app.Received(t.Context(), z.job.Task.Raw)
	celerytest.Eventually(t, "the receiver", func() bool { return z.lines.find("dawdles") != "" })
	z.app.Adjust(time.Millisecond, 0)
	if _, err := z.app.Start(t.Context(), 2); err == nil {
		t.Error("it forks")
	}
	celerytest.Eventually(t, "where it hangs", func() bool { return z.lines.find("zygote does not answer") != "" && z.lines.find("in dawdle") != "" })
	z.app.Adjust(patience, 0)
	if out, err := z.child.Execute(t.Context(), z.job); err != nil || out.State != celery.StateSuccess {
		t.Errorf("%s %v", out.State, err)
	}
	executor, err := z.app.Start(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := executor.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// No child is asked for, but word of messages waits to be taken, and who claims them with it.
func TestAZygoteThatNoLongerListensIsReplaced(t *testing.T) {
	z := startZoo(t, "hears_of_messages", `bad.delay("x" * 1_000_000)`)
	zygote := z.app.PID()
	z.app.Received(t.Context(), z.job.Task.Raw)
	celerytest.Eventually(t, "the receiver", func() bool { return z.lines.find("dawdles") != "" })
	z.app.Adjust(time.Millisecond, 0)
	z.app.Received(t.Context(), z.job.Task.Raw)
	celerytest.Eventually(t, "where it hangs", func() bool { return z.lines.find("zygote does not answer") != "" && z.lines.find("in dawdle") != "" })
	z.app.Adjust(patience, 0)
	celerytest.Eventually(t, "another", func() bool { pid := z.app.PID(); return pid != 0 && pid != zygote })
}

// A receiver that returns is a sign of life, however many wait for their turn.
func TestAReceiverThatReturnsIsASign(t *testing.T) {
	z := startZoo(t, "hears_of_messages", "bad.delay()").app.current()
	sign := func() time.Time {
		z.mu.Lock()
		defer z.mu.Unlock()
		return z.sign
	}
	before := sign()
	z.event(map[string]any{"name": "heartbeat_sent"}, func() {})
	celerytest.Eventually(t, "a sign", func() bool { return sign().After(before) })
}

// When this process was stopped, or the machine with all of it, the time is over and the answer is there, unread.
func TestAZygoteIsNotEndedBecauseTheMachineStoodStill(t *testing.T) {
	z := startZoo(t, "hears_of_messages", "bad.delay()").app.current()
	z.mu.Lock()
	z.sign = time.Now().Add(-time.Hour)
	z.mu.Unlock()
	z.overdue(func() bool { return true }, false)
	select {
	case <-z.done:
		t.Error("it was ended")
	default:
	}
}

// Who reads what the zygote says never waits for the zygote to listen: that may be waiting to be read.
func TestAnEndedChildIsHeardOfWhileTheZygoteDoesNotListen(t *testing.T) {
	ours, theirs, err := child.Pair()
	if err != nil {
		t.Fatal(err)
	}
	z := &zygote{launched: &launched{conn: ours}, children: map[int]*process{}}
	sent := make(chan error)
	go func() { sent <- z.send(kindEvent, make([]byte, 8<<20)) }()
	celerytest.Eventually(t, "nothing more to go in", func() bool {
		if !z.wmu.TryLock() {
			return true
		}
		z.wmu.Unlock()
		return false
	})
	if err := z.handle(kindExited, make([]byte, 12)); err != nil {
		t.Error(err)
	}
	theirs.Close()
	if err := <-sent; err == nil {
		t.Error("it was read")
	}
	ours.Close()
}

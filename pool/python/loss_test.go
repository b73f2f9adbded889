package python

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
)

// whole starts testdata/apps/whole.py on the latest release, without any Redis.
func whole(t *testing.T, change func(*Options)) (*Application, *client) {
	t.Helper()
	python := interpreter(t, latest)
	o := Options{Interpreter: python, App: "whole", Dir: "testdata/apps", Store: discard}
	if change != nil {
		change(&o)
	}
	return start(t, o), startClient(t, python, "testdata/apps", "whole")
}

func TestLossSaysHowTheChildDied(t *testing.T) {
	app, client := whole(t, nil)
	for name, test := range map[string]struct {
		expression string
		cause      celery.LossCause
		detail     string
	}{
		"killed":      {`die.delay(9)`, celery.LossSignal, "Worker exited prematurely: signal 9 (SIGKILL) Job: "},
		"segfault":    {`die.delay(11)`, celery.LossSignal, "Worker exited prematurely: signal 11 (SIGSEGV) Job: "},
		"sys.exit":    {`leave.delay(3)`, celery.LossExited, "Worker exited prematurely: exitcode 3."},
		"sys.exit 0":  {`leave.delay(0)`, celery.LossExited, "Worker exited prematurely: exitcode 0."},
		"sys.exit by": {`leave.delay("a message")`, celery.LossExited, "Worker exited prematurely: exitcode 1."},
		"interrupted": {`interrupt.delay()`, celery.LossExited, "Worker exited prematurely: KeyboardInterrupt."},
		"os._exit":    {`vanish.delay(3)`, celery.LossExited, "Worker exited prematurely: exitcode 3 Job: "},
	} {
		t.Run(name, func(t *testing.T) {
			executor := child1(t, app)
			out, err := executor.Execute(context.Background(), jobOf(client.one(t, test.expression)))
			if !errors.Is(err, ErrGone) || out.State != celery.StateLost || out.Loss == nil {
				t.Fatalf("%+v %v", out, err)
			}
			if out.Loss.Cause != test.cause || !strings.HasPrefix(out.Loss.Detail, test.detail) || out.Loss.Memory == 0 {
				t.Errorf("%+v", *out.Loss)
			}
			again, err := executor.Execute(context.Background(), jobOf(client.one(t, `add.delay(1, 2)`)))
			if !errors.Is(err, ErrGone) || again.State != "" {
				t.Errorf("a dead child says of a task that it was not given: %+v %v", again, err)
			}
		})
	}
}

// The zygote may be busy with a receiver of the application when a child dies. That the end is told late is no breach of the protocol.
func TestADeathThatIsToldLateIsNoBreachOfTheProtocol(t *testing.T) {
	app, client := whole(t, nil)
	executor, job := child1(t, app), jobOf(client.one(t, `vanish.delay(3)`))
	if err := child.Signal(app.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ended := make(chan celery.Outcome, 1)
	go func() {
		out, _ := executor.Execute(context.Background(), job)
		ended <- out
	}()
	celerytest.Eventually(t, "the child to die", func() bool { return !child.Alive(executor.PID()) })
	executor.killIfAlive() // as lost does that has waited for long enough
	if err := child.Signal(app.PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if out := <-ended; out.Loss == nil || out.Loss.Cause != celery.LossExited || out.Loss.ExitCode != 3 {
		t.Errorf("%+v", out.Loss)
	}
}

func TestSoftLimitIsRaisedInTheTask(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	path := filepath.Join(t.TempDir(), "runs")
	job := jobOf(client.one(t, fmt.Sprintf(`soft.delay(%q)`, path)))
	go func() {
		celerytest.Eventually(t, "the task to run", func() bool { _, err := os.Stat(path); return err == nil })
		executor.softLimit(executor.running.Load(), job)
	}()
	out, err := executor.Execute(context.Background(), job)
	if err != nil || out.State != celery.StateSuccess || !strings.Contains(string(out.Results[0].Document), `"soft"`) {
		t.Fatalf("caught: %+v %v", out, err)
	}
	job.Task = client.one(t, `soft_uncaught.delay()`)
	job.Soft, job.Hard = 50*time.Millisecond, time.Minute
	out, err = executor.Execute(context.Background(), job)
	if err != nil || out.State != celery.StateFailure || !strings.Contains(out.Exception, "SoftTimeLimitExceeded") {
		t.Fatalf("uncaught: %+v %v", out, err)
	}
	job = jobOf(client.one(t, `add.delay(1, 2)`))
	for range 50 { // a signal that comes late is not for the next task
		executor.softLimit(0, job)
		if out, err = executor.Execute(context.Background(), job); err != nil || out.State != celery.StateSuccess {
			t.Fatalf("next: %+v %v", out, err)
		}
	}
}

func TestLateSoftLimitDoesNotHitTheNextTask(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	job := jobOf(client.one(t, `soft_uncaught.delay(0.0005)`))
	job.Soft = 700 * time.Microsecond
	next := jobOf(client.one(t, `add.delay(1, 2)`))
	for i := range 300 {
		if _, err := executor.Execute(context.Background(), job); err != nil {
			t.Fatal(err)
		}
		if out, err := executor.Execute(context.Background(), next); err != nil || out.State != celery.StateSuccess {
			t.Fatalf("%d: %+v %v", i, out, err)
		}
	}
}

func TestHardLimitKillsTheChild(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	job := jobOf(client.one(t, `soft_uncaught.delay()`))
	job.Hard = 50 * time.Millisecond
	out, err := executor.Execute(context.Background(), job)
	if !errors.Is(err, ErrGone) || out.State != celery.StateLost || out.Loss.Cause != celery.LossHardLimit || out.Loss.Limit != job.Hard {
		t.Fatalf("%+v %v", out.Loss, err)
	}
	if child.Alive(executor.PID()) {
		t.Error("the child lives")
	}
}

// reachHard has the hard limit reached when the file says that text.
func reachHard(t *testing.T, executor *Child, path, text string) {
	celerytest.Eventually(t, "the task to be there", func() bool { now, _ := os.ReadFile(path); return string(now) == text })
	executor.hardLimit(executor.running.Load())
}

// As in Celery's child the task is ended by SystemExit first. What it returns then counts for nothing.
func TestHardLimitIsRaisedInTheTask(t *testing.T) {
	app, client := whole(t, func(o *Options) { o.HardGrace = time.Minute })
	for name, c := range map[string]struct{ call, said string }{
		"ends":           {`hears.delay(%q)`, "runs SystemExit finally "},
		"returns":        {`hears.delay(%q, "return")`, "runs SystemExit finally "},
		"fails":          {`hears.delay(%q, "fail")`, "runs SystemExit finally "},
		"goes on for 30": {`hears.delay(%q, True)`, "runs SystemExit "},
	} {
		t.Run(name, func(t *testing.T) {
			executor := child1(t, app)
			path := filepath.Join(t.TempDir(), "said")
			job := jobOf(client.one(t, fmt.Sprintf(c.call, path)))
			job.Hard = time.Hour
			go func() {
				reachHard(t, executor, path, "runs ")
				if name == "goes on for 30" {
					celerytest.Eventually(t, "the task to hear of it", func() bool { now, _ := os.ReadFile(path); return string(now) == c.said })
					executor.proc.kill(celery.LossHardLimit) // as at the end of the grace
				}
			}()
			out, err := executor.Execute(context.Background(), job)
			if !errors.Is(err, ErrGone) || out.State != celery.StateLost || out.Loss.Cause != celery.LossHardLimit ||
				out.Loss.Detail != "Hard time limit (3600s) exceeded" {
				t.Errorf("%+v %v", out.Loss, err)
			}
			if said, _ := os.ReadFile(path); string(said) != c.said {
				t.Errorf("the task said %q", said)
			}
			if child.Alive(executor.PID()) {
				t.Error("the child lives")
			}
		})
	}
}

func TestATaskThatGoesOnAfterItsHardLimitIsKilled(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	path := filepath.Join(t.TempDir(), "said")
	job := jobOf(client.one(t, fmt.Sprintf(`hears.delay(%q, True)`, path)))
	go reachHard(t, executor, path, "runs ")
	out, err := executor.Execute(context.Background(), job)
	if !errors.Is(err, ErrGone) || out.State != celery.StateLost || out.Loss.Cause != celery.LossHardLimit || out.Loss.Signal != int(syscall.SIGKILL) {
		t.Errorf("%+v %v", out.Loss, err)
	}
}

// A limit may be over before the message is sent.
func TestALimitThatIsReachedAtOnceIsKept(t *testing.T) {
	app, client := whole(t, nil)
	for name, c := range map[string]struct {
		soft, hard time.Duration
		want       celery.State
	}{"soft": {1, time.Hour, celery.StateFailure}, "hard": {0, 1, celery.StateLost}} {
		t.Run(name, func(t *testing.T) {
			job := jobOf(client.one(t, `soft_uncaught.delay()`))
			job.Soft, job.Hard = c.soft, c.hard
			if out, _ := child1(t, app).Execute(context.Background(), job); out.State != c.want {
				t.Errorf("%s %+v", out.State, out.Loss)
			}
		})
	}
}

type terminated struct{ error }

func (terminated) LossCause() celery.LossCause { return celery.LossTerminated }

func TestCancelledContextKillsTheChild(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(50*time.Millisecond, func() { cancel(terminated{errors.New("revoked")}) })
	out, err := executor.Execute(ctx, jobOf(client.one(t, `soft_uncaught.delay()`)))
	if !errors.Is(err, ErrGone) || out.Loss == nil || out.Loss.Cause != celery.LossTerminated {
		t.Fatalf("%+v %v", out.Loss, err)
	}
}

func TestZygoteDeathLetsChildrenFinish(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	zygote := app.PID()
	ended := make(chan error, 1)
	go func() {
		out, err := executor.Execute(context.Background(), jobOf(client.one(t, `soft_uncaught.delay(0.5)`)))
		if err == nil && out.State != celery.StateSuccess {
			err = errors.New(string(out.State))
		}
		ended <- err
	}()
	if err := syscall.Kill(zygote, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	other := child1(t, app)
	if app.PID() == zygote || app.PID() == 0 {
		t.Error("no new zygote")
	}
	if out, err := other.Execute(context.Background(), jobOf(client.one(t, `add.delay(1, 2)`))); err != nil || out.State != celery.StateSuccess {
		t.Fatalf("child of the new zygote: %+v %v", out, err)
	}
	out, err := executor.Execute(context.Background(), jobOf(client.one(t, `die.delay(9)`)))
	if !errors.Is(err, ErrGone) || out.Loss.Signal != 9 {
		t.Fatalf("status of an orphan: %+v %v", out.Loss, err)
	}
}

func TestSignalsAreSent(t *testing.T) {
	app, client := whole(t, nil)
	app.Ready()
	executor := child1(t, app)
	out, err := executor.Execute(context.Background(), jobOf(client.one(t, `signals_heard.delay()`)))
	if err != nil {
		t.Fatal(err)
	}
	want := `["import_modules", "celeryd_init", "worker_init", "celeryd_after_setup", "worker_before_create_process", "worker_process_init"]`
	if doc := string(out.Results[0].Document); !strings.Contains(doc, want) {
		t.Error(doc)
	}
	app.ShuttingDown("SIGTERM", "Warm", 0)
}

func TestChildIgnoresTermAndInt(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if err := syscall.Kill(executor.PID(), sig); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Kill(app.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if out, err := executor.Execute(context.Background(), jobOf(client.one(t, `add.delay(1, 2)`))); err != nil || out.State != celery.StateSuccess {
		t.Fatalf("%+v %v", out, err)
	}
	child1(t, app)
}

// Celery's worker replaces handlers that the application has set for the signals by which services are ended.
func TestHandlersOfTheApplicationDoNotEndIt(t *testing.T) {
	app := start(t, Options{Interpreter: interpreter(t, latest), App: "ends_itself:app", Dir: "testdata/apps", Store: discard})
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if err := syscall.Kill(app.PID(), sig); err != nil {
			t.Fatal(err)
		}
	}
	pid := app.PID()
	child1(t, app)
	if app.PID() != pid {
		t.Error("another process was needed for a child")
	}
}

// A platform signals every process of a service, all at the same moment: none may get in the way of another.
func TestSignalsToAllProcessesAtOnce(t *testing.T) {
	app, client := whole(t, nil)
	ended := make(chan error)
	pids, paths := []int{app.PID()}, []string{}
	for range 8 {
		executor := child1(t, app)
		pids, paths = append(pids, executor.PID()), append(paths, filepath.Join(t.TempDir(), "short"))
		job := jobOf(client.one(t, "hears.delay("+strconv.Quote(paths[len(paths)-1])+")"))
		go func() {
			out, err := executor.Execute(context.Background(), job)
			if err == nil && out.State != celery.StateSuccess {
				err = fmt.Errorf("%s %s %+v", out.State, out.Exception, out.Loss)
			}
			ended <- err
		}()
	}
	for _, path := range paths {
		celerytest.Eventually(t, "the task to run", func() bool { said, _ := os.ReadFile(path); return string(said) == "runs " })
	}
	for range 200 { // fewer than would fill the stack of one that is interrupted in the handler of the one before
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGTERM)
		}
	}
	for _, path := range paths {
		if err := os.WriteFile(path+".end", nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range paths {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	child1(t, app) // the process that forks them is alive
}

func TestSpawnedChildren(t *testing.T) {
	app, client := whole(t, func(o *Options) { o.Mode = Spawn })
	executor := child1(t, app)
	if out, err := executor.Execute(context.Background(), jobOf(client.one(t, `add.delay(1, 2)`))); err != nil || out.State != celery.StateSuccess {
		t.Fatalf("%+v %v", out, err)
	}
	out, err := executor.Execute(context.Background(), jobOf(client.one(t, `die.delay(9)`)))
	if !errors.Is(err, ErrGone) || out.Loss == nil || out.Loss.Signal != 9 {
		t.Fatalf("%+v %v", out.Loss, err)
	}
}

func TestVerdictsAreRecorded(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	for name, test := range map[string]struct {
		expression string
		verdict    celery.Verdict
		documents  []string
	}{
		"worker lost": {`chain(add.s(1, 2), add.s(3)).apply_async()`, celery.Verdict{State: celery.StateFailure, Type: "WorkerLostError",
			Module: "billiard.exceptions", Args: []any{"Worker exited prematurely: signal 9 (SIGKILL) Job: 12."}, CallBack: true},
			[]string{`"exc_message": ["Worker exited prematurely: signal 9 (SIGKILL) Job: 12."], "exc_module": "billiard.exceptions"`,
				`"exc_type": "WorkerLostError"`}},
		"hard limit": {`add.delay(1, 2)`, celery.Verdict{State: celery.StateFailure, Type: "TimeLimitExceeded",
			Module: "billiard.exceptions", Args: []any{30}, CallBack: true}, []string{`"exc_type": "TimeLimitExceeded", "exc_message": [30]`}},
		"expired": {`add.delay(1, 2)`, celery.Verdict{State: celery.StateRevoked, Type: "TaskRevokedError",
			Module: "celery.exceptions", Args: []any{"expired"}}, []string{`"status": "REVOKED"`}},
		"terminated by a signal without a name": {`add.delay(1, 2)`, celery.Verdict{State: celery.StateRevoked, Type: "TaskRevokedError",
			Module: "celery.exceptions", Args: []any{"terminated"}, Signal: 40}, []string{`"status": "REVOKED"`}},
		"unregistered": {`app.send_task("nobody.knows")`, celery.Verdict{State: celery.StateFailure, Type: "NotRegistered",
			Module: "celery.exceptions", Args: []any{"nobody.knows"}}, []string{`"exc_type": "NotRegistered", "exc_message": ["nobody.knows"]`}},
		"errbacks alone": {`fail.apply_async(link_error=errback.s())`, celery.Verdict{State: celery.StateFailure, Type: "NoSuchClass",
			Module: "elsewhere", Args: []any{"why", []int{1}}, CallBack: true, Errbacks: true, Traceback: "Traceback"}, nil},
		"ignored result": {`ignored.delay()`, celery.Verdict{State: celery.StateRevoked, Args: []any{"revoked"}, Type: "TaskRevokedError"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			job := jobOf(client.send(t, test.expression)[0].task)
			job.Verdict = &test.verdict
			out, err := executor.Execute(context.Background(), job)
			if err != nil || out.State != test.verdict.State || out.Traceback != "" { // that of an error in recording it
				t.Fatalf("%+v %v", out, err)
			}
			if test.documents != nil && len(out.Results) == 0 || test.documents == nil && len(out.Results) > 0 {
				t.Fatalf("results: %s", out.Results)
			}
			for i, part := range test.documents {
				if doc := string(out.Results[min(i, len(out.Results)-1)].Document); !strings.Contains(doc, part) {
					t.Errorf("%s lacks %s", doc, part)
				}
			}
			if name == "worker lost" && len(out.Results) != 2 {
				t.Errorf("the rest of the chain has no result: %s", out.Results)
			}
		})
	}
}

// Without a broker the retry cannot be sent: the task fails, or its message goes back.
func TestARetryThatCannotBeSent(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	for back, want := range map[bool]celery.State{true: celery.StateRejected, false: celery.StateFailure} {
		job := jobOf(client.send(t, `add.delay(1, 2)`)[0].task)
		job.Verdict = &celery.Verdict{State: celery.StateRetry, Type: "WorkerLostError", Module: "billiard.exceptions", Args: []any{"gone"}, CallBack: true, Requeue: back}
		out, err := executor.Execute(context.Background(), job)
		if err != nil || out.State != want || out.Requeue != back || len(out.Results) == 1 == back {
			t.Errorf("back %t: %+v %v", back, out, err)
		}
	}
}

// A reload may have taken the task away since its process died.
func TestNothingToRetry(t *testing.T) {
	app, client := whole(t, nil)
	job := jobOf(client.one(t, `app.send_task("nobody.knows")`))
	job.Verdict = &celery.Verdict{State: celery.StateRetry, Type: "WorkerLostError", Module: "billiard.exceptions", Args: []any{"gone"}, CallBack: true}
	out, err := child1(t, app).Execute(context.Background(), job)
	if err != nil || out.State != celery.StateFailure || len(out.Results) != 1 || !strings.Contains(string(out.Results[0].Document), "WorkerLostError") {
		t.Errorf("%+v %v", out, err)
	}
}

func TestMessagesThatCannotBeRun(t *testing.T) {
	app, client := whole(t, func(o *Options) { o.Conf = map[string]any{"accept_content": []string{"json"}} })
	executor := child1(t, app)
	good := client.one(t, `add.delay(1, 2)`)
	bad := func(old, new string) *celery.Task {
		return taskOf(t, []byte(strings.Replace(string(good.Raw), old, new, 1)))
	}
	for name, test := range map[string]struct {
		task *celery.Task
		why  string
	}{
		"disallowed":     {client.one(t, `add.apply_async((1, 2), serializer="pickle")`), "content_type_refused"},
		"not JSON":       {bad(`"body": "`, `"body": "e", "was": "`), "undecodable"},
		"not compressed": {bad(`"lang": "py"`, `"lang": "py", "compression": "application/x-gzip"`), "undecodable"},
		"not a triple":   {bad(`"body": "`, `"body": "e30=", "was": "`), "undecodable"},
		"unregistered":   {client.one(t, `app.send_task("nobody.knows")`), "unknown_task"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := executor.Execute(context.Background(), jobOf(test.task))
			if err != nil || out.State != celery.StateFailure || out.Refused != test.why || len(out.Results) != 1 {
				t.Fatalf("%+v %v", out, err)
			}
		})
	}
}

func TestLinesBecomeRecords(t *testing.T) {
	var printed lockedBuffer
	python := interpreter(t, latest)
	app := start(t, Options{Interpreter: python, App: "whole", Dir: "testdata/apps", Store: discard,
		Log: hclog.New(&hclog.LoggerOptions{Output: &printed, JSONFormat: true})})
	client := startClient(t, python, "testdata/apps", "whole")
	executor := child1(t, app)
	task := client.one(t, `say.delay("hello there")`)
	if _, err := executor.Execute(context.Background(), jobOf(task)); err != nil {
		t.Fatal(err)
	}
	if err := executor.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if log := printed.String(); !strings.Contains(log, `"hello there","id":"`+task.ID+`"`) && !(strings.Contains(log, "hello there") && strings.Contains(log, task.ID)) {
		t.Error(log)
	}
}

// superviseUntilKilled is what a copy of the test binary does that a test kills.
func superviseUntilKilled() int {
	app, err := Start(context.Background(), Options{Interpreter: os.Getenv(supervisorEnv), App: "whole", Dir: "testdata/apps", Node: "celery@test"})
	if err != nil {
		return 1
	}
	executor, err := app.Start(context.Background(), 0)
	if err != nil {
		return 1
	}
	raw, err := os.ReadFile(os.Getenv(supervisorEnv + "_TASK"))
	if err != nil {
		return 1
	}
	println(app.PID(), executor.(*Child).PID())
	_, _ = executor.Execute(context.Background(), pool.Job{Task: &celery.Task{ID: "id", Raw: raw}})
	return 0
}

func TestATaskMayBeginASession(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	out, err := executor.Execute(context.Background(), jobOf(client.one(t, `begin_session.delay()`)))
	if err != nil || out.State != celery.StateSuccess || !strings.Contains(string(out.Results[0].Document), `"result": [true, true]`) {
		t.Errorf("%+v %v", out, err)
	}
	job := jobOf(client.one(t, `begin_session.delay()`)) // in a session of its own it is no longer refused by us, but by the kernel
	if out, err := executor.Execute(context.Background(), job); err != nil || out.State != celery.StateFailure {
		t.Errorf("%+v %v", out, err)
	}
}

// A message that is larger than what the channel takes is on its way until the child reads it.
func TestHardLimitWhileTheMessageIsNotRead(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	job := jobOf(client.one(t, `add.delay("x" * 4_000_000, "y")`))
	job.Hard = 100 * time.Millisecond
	if err := child.Signal(executor.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	out, err := executor.Execute(context.Background(), job)
	if !errors.Is(err, ErrGone) || out.Loss == nil || out.Loss.Cause != celery.LossHardLimit {
		t.Errorf("%+v %v", out.Loss, err)
	}
}

// A child that has reached its hard limit is there until it is killed, also if the task is then terminated.
func TestTerminatedAtItsHardLimit(t *testing.T) {
	app, client := whole(t, func(o *Options) { o.HardGrace = time.Minute })
	executor := child1(t, app)
	path := filepath.Join(t.TempDir(), "said")
	job := jobOf(client.one(t, fmt.Sprintf(`hears.delay(%q, True)`, path)))
	go func() {
		reachHard(t, executor, path, "runs ")
		celerytest.Eventually(t, "the limit", func() bool { now, _ := os.ReadFile(path); return string(now) == "runs SystemExit " })
		executor.Signal(job.Task, syscall.SIGTERM)
	}()
	out, _ := executor.Execute(context.Background(), job)
	if out.Loss == nil || out.Loss.Cause != celery.LossHardLimit || out.Loss.Signal != int(syscall.SIGKILL) {
		t.Errorf("%+v", out.Loss)
	}
}

// How a task ended that is killed for another reason in the same moment is known.
func TestATaskThatEndedBeforeItsChildIsKilledHasEnded(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	executor.proc.condemn(celery.LossShutdown, func() bool { return true })
	out, err := executor.Execute(context.Background(), jobOf(client.one(t, `add.delay(1, 2)`)))
	if !errors.Is(err, ErrGone) || out.State != celery.StateSuccess || len(out.Results) != 1 {
		t.Errorf("%+v %+v %v", out, out.Loss, err)
	}
}

// TimeLimitExceeded is recorded when the child is gone. Until then a chord must not count the task, nor anybody read that it succeeded.
func TestWhatATaskReturnsAfterItsHardLimitIsRecordedNowhere(t *testing.T) {
	r := celerytest.StartRedis(t)
	env := append(os.Environ(), "TEST_BACKEND="+r.URL(0))
	for name, how := range map[string]string{"returns": "return", "fails": "fail"} {
		t.Run(name, func(t *testing.T) {
			app, client := whole(t, func(o *Options) { o.HardGrace, o.Env = time.Minute, env })
			path := filepath.Join(t.TempDir(), "said")
			executor := child1(t, app)
			job := jobOf(client.one(t, fmt.Sprintf(`hears.apply_async((%q, %q), group_id="g", chord=add.s(1))`, path, how)))
			go reachHard(t, executor, path, "runs ")
			out, err := executor.Execute(context.Background(), job)
			if !errors.Is(err, ErrGone) || out.Loss == nil || out.Loss.Cause != celery.LossHardLimit {
				t.Errorf("%+v %v", out.Loss, err)
			}
			if keys := r.Client(0).Keys(t.Context(), "*").Val(); len(keys) > 0 {
				t.Errorf("it left %q", keys)
			}
		})
	}
}

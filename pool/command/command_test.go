package command_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/backend"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/pool/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type recorder struct{ said string }

func (r *recorder) Started(context.Context, *celery.Request) error { return nil }

func (r *recorder) Done(_ context.Context, _ backend.Record, value pyjson.Raw) (celery.Outcome, error) {
	r.said = "done " + string(value)
	return celery.Outcome{State: celery.StateSuccess}, nil
}

func (r *recorder) Failed(_ context.Context, _ backend.Record, exc celery.Exception, _ string) (celery.Outcome, error) {
	r.said = "failed " + exc.Repr()
	return celery.Outcome{State: celery.StateFailure}, nil
}

func (r *recorder) Retried(_ context.Context, _ backend.Record, exc *celery.Exception, after time.Duration, _ string) (celery.Outcome, error) {
	r.said = "retried " + exc.Repr() + " after " + after.String()
	return celery.Outcome{State: celery.StateRetry}, nil
}

func (r *recorder) Verdict(_ context.Context, _ backend.Record, v *celery.Verdict) (celery.Outcome, error) {
	r.said = "verdict " + v.Type
	return celery.Outcome{State: v.State}, nil
}

func sh(script string, args ...string) []string {
	return append([]string{"sh", "-c", script, "sh"}, args...)
}

func job(t *testing.T, sig *celery.Signature) pool.Job {
	t.Helper()
	plan, err := celery.NewSender().Apply(sig, nil, celery.Options{TaskID: "the-id"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	task, err := celery.Decode(plan.Messages[0].Raw, nil)
	if err != nil {
		t.Fatal(err)
	}
	return pool.Job{Task: task}
}

func executor(t *testing.T, spec command.Spec) (pool.Executor, *recorder) {
	t.Helper()
	r := &recorder{}
	spec.Task = "t.x"
	if spec.Input == "" {
		spec.Input = "none"
	}
	if spec.Result == "" {
		spec.Result = "text"
	}
	c, err := command.New(command.Options{Commands: []command.Spec{spec}, Recorder: r})
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.Start(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return e, r
}

func TestCommands(t *testing.T) {
	x := func(args ...any) *celery.Signature { return celery.S("t.x", args...) }
	cases := map[string]struct {
		spec command.Spec
		sig  *celery.Signature
		want string
	}{
		"text":                 {command.Spec{Run: sh("printf hello")}, x(), `done "hello"`},
		"json":                 {command.Spec{Run: sh(`echo '{"a": [1, NaN]}'`), Result: "json"}, x(), `done {"a": [1, NaN]}`},
		"no json":              {command.Spec{Run: sh("echo hello"), Result: "json"}, x(), `failed ValueError('stdout of sh is not JSON: malformed JSON: no value at byte 0')`},
		"nothing is null":      {command.Spec{Run: sh("true"), Result: "json"}, x(), `done null`},
		"none":                 {command.Spec{Run: sh("echo hello"), Result: "none"}, x(), `done null`},
		"stdin":                {command.Spec{Run: []string{"cat"}, Input: "json", Result: "json"}, x(1, "b").Kw("c", nil), `done {"id": "the-id", "name": "t.x", "args": [1, "b"], "kwargs": {"c": null}, "retries": 0, "root_id": "the-id", "parent_id": null}`},
		"stdin not read":       {command.Spec{Run: sh("exec <&-; echo ok"), Input: "json"}, x(strings.Repeat("x", 1<<20)), `done "ok\n"`},
		"places":               {command.Spec{Run: sh(`printf '%s|' "$@"`, "{arg0}", "--n={n}", "{{arg1}}", "{arg1}")}, x("a b", []int{1}).Kw("n", 3), `done "a b|--n=3|{arg1}|[1]|"`},
		"no shell":             {command.Spec{Run: []string{"printf", "%s", "{arg0}"}}, x("$(id); `id` ; rm -rf / && \"'"), `done "$(id); ` + "`id`" + ` ; rm -rf / && \"'"`},
		"missing":              {command.Spec{Run: []string{"echo", "{arg0}"}}, x(), `failed TypeError("x() missing 1 required positional argument: 'arg0'")`},
		"missing keyword":      {command.Spec{Run: []string{"echo", "{n}"}}, x(), `failed TypeError("x() missing 1 required keyword-only argument: 'n'")`},
		"surplus":              {command.Spec{Run: []string{"echo", "{arg0}"}}, x(1, 2), `failed TypeError('x() has no place for positional argument 2')`},
		"surplus keyword":      {command.Spec{Run: []string{"echo"}}, x().Kw("n", 1), `failed TypeError("x() got an unexpected keyword argument 'n'")`},
		"zero byte":            {command.Spec{Run: []string{"echo", "{arg0}"}}, x("a\x00b"), `failed TypeError('x() argument arg0 has a zero byte, which no program can be given')`},
		"status":               {command.Spec{Run: sh("echo oh >&2; exit 3")}, x(), `failed CalledProcessError(3, 'sh', None, 'oh')`},
		"retry":                {command.Spec{Run: sh("exit 75"), RetryOn: []int{75}, RetryAfter: time.Minute}, x(), `retried CalledProcessError(75, 'sh', None, '') after 1m0s`},
		"environment":          {command.Spec{Run: sh(`printf "$A $AGENSIUM_TASK_ID"`), Environment: map[string]string{"A": "b"}}, x(), `done "b the-id"`},
		"directory":            {command.Spec{Run: []string{"pwd"}, Directory: "/"}, x(), `done "/\n"`},
		"too much":             {command.Spec{Run: sh("yes"), MaxOutput: 1000}, x(), `failed ValueError('sh wrote more than 1000 bytes to stdout')`},
		"no program":           {command.Spec{Run: []string{"no-such-program-here"}}, x(), `failed FileNotFoundError('find program of task t.x: exec: "no-such-program-here": executable file not found in $PATH')`},
		"text not UTF-8":       {command.Spec{Run: sh(`printf 'ab\351'`)}, x(), `failed ValueError('stdout of sh is not UTF-8: byte 2')`},
		"half a pair":          {command.Spec{Run: []string{"printf", "%s", "{arg0}"}}, x(pyjson.Raw(`"a\ud800b"`)), `done "a\ud800b"`},
		"json not UTF-8":       {command.Spec{Run: sh(`printf '"\351"'`), Result: "json"}, x(), `failed ValueError('stdout of sh is not UTF-8: byte 1')`},
		"none not UTF-8":       {command.Spec{Run: sh(`printf '\351'`), Result: "none"}, x(), `done null`},
		"too large to be told": {command.Spec{Run: []string{"true", "{arg0}"}}, x(strings.Repeat("x", 1<<20)), `failed OSError('start /usr/bin/true: fork/exec /usr/bin/true: argument list too long: what is that large comes in on stdin, with input = "json"')`},
		"grandchild holds out": {command.Spec{Run: sh("sleep 1000 & echo ok")}, x(), `done "ok\n"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e, r := executor(t, c.spec)
			if _, err := e.Execute(t.Context(), job(t, c.sig)); err != nil || r.said != c.want {
				t.Errorf("got %s, %v\nwant %s", r.said, err, c.want)
			}
		})
	}
}

// write makes a file that may be run.
func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func TestAProgramIsFoundFromItsDirectoryAndItsPath(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/bin/tool", "#!/bin/sh\nprintf tool", 0o700)
	write(t, dir+"/bin/closed", "#!/bin/sh\n", 0o600)
	write(t, dir+"/bin/naked", "echo", 0o700)
	write(t, dir+"/bin/lone", "#!/no/such/interpreter\n", 0o700)
	cases := map[string]struct {
		spec command.Spec
		want string
	}{
		"relative":        {command.Spec{Run: []string{"./bin/tool"}, Directory: dir}, `done "tool"`},
		"on its own PATH": {command.Spec{Run: []string{"tool"}, Environment: map[string]string{"PATH": "/nowhere:" + dir + "/bin"}}, `done "tool"`},
		"not on its PATH": {command.Spec{Run: []string{"sh"}, Environment: map[string]string{"PATH": "/nowhere"}},
			`failed FileNotFoundError('find program of task t.x: exec: "sh": executable file not found in $PATH of the command\'s environment: /nowhere')`},
		"all in one":     {command.Spec{Run: []string{"cat -n"}}, `failed FileNotFoundError('find program of task t.x: exec: "cat -n": executable file not found in $PATH: each argument is an element of run, as in ["cat", "-n"]')`},
		"no directory":   {command.Spec{Run: []string{"./bin/tool"}, Directory: dir + "/no"}, `failed FileNotFoundError('find program of task t.x: working directory: stat DIR/no: no such file or directory')`},
		"may not be run": {command.Spec{Run: []string{"bin/closed"}, Directory: dir}, `failed PermissionError('find program of task t.x: exec: "DIR/bin/closed": permission denied')`},
		"no first line":  {command.Spec{Run: []string{dir + "/bin/naked"}}, `failed OSError('start DIR/bin/naked: fork/exec DIR/bin/naked: exec format error: it is no program of this system, nor a script whose first line is #! and its interpreter')`},
		"no interpreter": {command.Spec{Run: []string{dir + "/bin/lone"}}, `failed FileNotFoundError('start DIR/bin/lone: fork/exec DIR/bin/lone: no such file or directory: the program is there, but not the interpreter that its first line names, or a library')`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e, r := executor(t, c.spec)
			if _, err := e.Execute(t.Context(), job(t, celery.S("t.x"))); err != nil || strings.ReplaceAll(r.said, dir, "DIR") != c.want {
				t.Errorf("got %s, %v\nwant %s", r.said, err, c.want)
			}
		})
	}
}

// waiting writes its pid and that of a child of its own, and waits.
const waiting = `sleep 1000 & echo $! > "$1.tmp"; mv "$1.tmp" "$1"; wait`

// escaping has its child lead a session of its own.
const escaping = `setsid sh -c 'echo $$ > "$1.tmp"; mv "$1.tmp" "$1"; exec sleep 1000' sh "$1" & wait`

func TestLimitsAndKills(t *testing.T) {
	cases := map[string]struct {
		script     string
		soft, hard time.Duration
		end        string
		state      celery.State
		want       string
		cause      celery.LossCause
	}{
		"soft limit":         {waiting, 50 * time.Millisecond, 0, "", celery.StateFailure, "failed SoftTimeLimitExceeded()", ""},
		"soft limit, status": {`trap 'exit 9' TERM; ` + waiting, 50 * time.Millisecond, 0, "", celery.StateFailure, "failed SoftTimeLimitExceeded()", ""},
		"soft limit, used":   {`trap 'echo saved; exit 0' TERM; ` + waiting, 50 * time.Millisecond, 0, "", celery.StateSuccess, `done "saved\n"`, ""},
		"hard limit":         {`trap '' TERM; ` + waiting, 50 * time.Millisecond, 100 * time.Millisecond, "", celery.StateLost, "", celery.LossHardLimit},
		"hard, own session":  {escaping, 0, 50 * time.Millisecond, "", celery.StateLost, "", celery.LossHardLimit},
		"stopped, own too":   {escaping, 0, 0, "cancel", celery.StateLost, "", celery.LossShutdown},
		"killed, own too":    {escaping, 0, 0, "KILL", celery.StateLost, "", celery.LossTerminated},
		"stopped":            {waiting, 0, 0, "cancel", celery.StateLost, "", celery.LossShutdown},
		"terminated":         {waiting, 0, 0, "TERM", celery.StateLost, "", celery.LossTerminated},
		"terminated, status": {`trap 'exit 9' TERM; ` + waiting, 0, 0, "TERM", celery.StateLost, "", celery.LossTerminated},
		"terminated, used":   {`trap 'echo saved; exit 0' TERM; ` + waiting, 0, 0, "TERM", celery.StateSuccess, `done "saved\n"`, ""},
		"killed":             {"kill -9 $$", 0, 0, "", celery.StateLost, "", celery.LossSignal},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "pid")
			runs := func() bool { _, err := os.Stat(file); return err == nil }
			e, r := executor(t, command.Spec{Run: sh(c.script, file)})
			j := job(t, celery.S("t.x"))
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if c.end != "" {
				go func() {
					celerytest.Eventually(t, "the program runs", runs)
					if c.end == "cancel" {
						cancel(errors.New("drained"))
					} else if !e.(pool.Signaler).Signal(j.Task, unix.SignalNum("SIG"+c.end)) {
						t.Error("not sent")
					}
				}()
			}
			var out celery.Outcome
			var err error
			for scale := time.Duration(1); ; scale *= 2 { // until the limit leaves the program the time to begin
				j.Soft, j.Hard = scale*c.soft, scale*c.hard
				if out, err = e.Execute(ctx, j); runs() || c.soft+c.hard == 0 {
					break
				}
			}
			if errors.Is(err, command.ErrKilled) != (c.state == celery.StateLost) || out.State != c.state || r.said != c.want || out.Loss != nil && out.Loss.Cause != c.cause {
				t.Fatalf("got %+v %+v, %v, %q", out, out.Loss, err, r.said)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return // it never writes
			}
			var pid int
			if err := pyjson.Decode(pyjson.Trim(text), &pid, nil); err != nil {
				t.Fatal(err)
			}
			celerytest.Eventually(t, "the program's own child is gone", func() bool { return !child.Alive(pid) })
		})
	}
}

func TestTheProgramOfATaskIsTold(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	e, r := executor(t, command.Spec{Run: sh(`trap 'exit 0' TERM; echo $$ > "$1.tmp"; mv "$1.tmp" "$1"; while :; do sleep 0.01; done`, file)})
	j := job(t, celery.S("t.x"))
	pids := make(chan int, 1)
	go func() {
		celerytest.Eventually(t, "the program runs", func() bool { _, err := os.Stat(file); return err == nil && pool.PIDOf(e, j.Task) != 0 })
		pids <- pool.PIDOf(e, j.Task)
		e.(pool.Signaler).Signal(j.Task, unix.SIGTERM)
	}()
	if _, err := e.Execute(t.Context(), j); err != nil {
		t.Fatal(err, r.said)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if pid := <-pids; strings.TrimSpace(string(text)) != strconv.Itoa(pid) {
		t.Errorf("got %d, want %s", pid, text)
	}
	if pid := pool.PIDOf(e, j.Task); pid != 0 {
		t.Errorf("when it has ended: %d", pid)
	}
}

func TestMistakesInSpecs(t *testing.T) {
	ok := command.Spec{Task: "t", Run: []string{"x"}, Input: "json", Result: "json"}
	for name, change := range map[string]func(*command.Spec){
		"no task":           func(s *command.Spec) { s.Task = "" },
		"no program":        func(s *command.Spec) { s.Run = nil },
		"program by caller": func(s *command.Spec) { s.Run = []string{"{arg0}"} },
		"input":             func(s *command.Spec) { s.Input = "xml" },
		"result":            func(s *command.Spec) { s.Result = "xml" },
	} {
		spec := ok
		change(&spec)
		if _, err := command.New(command.Options{Commands: []command.Spec{spec}, Recorder: &recorder{}}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := command.New(command.Options{Commands: []command.Spec{ok, ok}, Recorder: &recorder{}}); err == nil {
		t.Error("the same task twice: taken")
	}
}

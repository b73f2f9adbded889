package python

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/pool/child"
)

// What a signal does to a task is what it does in Celery's own child, and only where it is meant for the task.
func TestSignalsForATask(t *testing.T) {
	app, client := whole(t, nil)
	const keepsOn = true
	cases := map[string]struct {
		signals []syscall.Signal
		keepsOn bool
		state   celery.State
		said    string
	}{
		"TERM":              {[]syscall.Signal{syscall.SIGTERM}, false, celery.StateLost, "runs SystemExit finally "},
		"HUP":               {[]syscall.Signal{syscall.SIGHUP}, false, celery.StateLost, "runs SystemExit finally "},
		"QUIT":              {[]syscall.Signal{syscall.SIGQUIT}, false, celery.StateLost, "runs SystemExit finally "},
		"USR1":              {[]syscall.Signal{syscall.SIGUSR1}, false, celery.StateFailure, "runs SoftTimeLimitExceeded finally "},
		"USR1 after QUIT":   {[]syscall.Signal{syscall.SIGQUIT, syscall.SIGUSR1}, keepsOn, celery.StateFailure, "runs SystemExit finally "},
		"USR2":              {[]syscall.Signal{syscall.SIGUSR2}, false, celery.StateLost, "runs "},
		"INT, short":        {[]syscall.Signal{syscall.SIGINT}, false, celery.StateSuccess, "runs finally "},
		"the service's own": {nil, false, celery.StateSuccess, "runs finally "},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			executor := child1(t, app)
			path := filepath.Join(t.TempDir(), "said")
			if c.state == celery.StateSuccess {
				path += "short"
			}
			said := func() string { text, _ := os.ReadFile(path); return string(text) }
			keep := map[bool]string{true: "True", false: "False"}[c.keepsOn]
			job := jobOf(client.one(t, "hears.delay("+strconv.Quote(path)+", "+keep+")"))
			var sending sync.WaitGroup
			sending.Go(func() {
				celerytest.Eventually(t, "the task to run", func() bool { return said() == "runs " })
				for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGINT} {
					_ = child.Signal(executor.PID(), s)
				}
				for i, s := range c.signals {
					celerytest.Eventually(t, "the signal before to be heard", func() bool { return len(strings.Fields(said())) == i+1 })
					if !executor.Signal(job.Task, s) {
						t.Errorf("%s was not sent", s)
					}
				}
				if err := os.WriteFile(path+".end", nil, 0o600); err != nil {
					t.Error(err)
				}
			})
			out, _ := executor.Execute(context.Background(), job)
			sending.Wait()
			if out.State != c.state || out.State == celery.StateLost && out.Loss.Cause != celery.LossTerminated || said() != c.said {
				t.Errorf("%+v %+v, the task said %q", out, out.Loss, said())
			}
			if executor.Signal(job.Task, syscall.SIGTERM) {
				t.Error("a task that has ended was sent a signal")
			}
		})
	}
}

// A task that caught its SystemExit is not sent another: it is to be killed.
func TestNoSecondSystemExit(t *testing.T) {
	app, client := whole(t, nil)
	executor := child1(t, app)
	path := filepath.Join(t.TempDir(), "said")
	job := jobOf(client.one(t, "hears.delay("+strconv.Quote(path)+", True)"))
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		heard := func(text string) func() bool {
			return func() bool { now, _ := os.ReadFile(path); return string(now) == text }
		}
		celerytest.Eventually(t, "the task to run", heard("runs "))
		executor.Signal(job.Task, syscall.SIGTERM)
		celerytest.Eventually(t, "the task to hear of it", heard("runs SystemExit "))
		if executor.Signal(job.Task, syscall.SIGQUIT) {
			t.Error("sent twice")
		}
		cancel(terminated{context.Canceled})
	}()
	out, _ := executor.Execute(ctx, job)
	if out.State != celery.StateLost || out.Loss.Cause != celery.LossTerminated {
		t.Errorf("%+v %+v", out, out.Loss)
	}
}

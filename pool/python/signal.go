package python

import (
	"encoding/binary"
	"syscall"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
)

// A child ignores the signals that a platform sends to every process of the service. One that is meant for its task comes
// with a frame that says so. Those that the child does not ignore need none.

// ends tells whether a signal raises SystemExit in the task.
func ends(s syscall.Signal) bool {
	return s == syscall.SIGTERM || s == syscall.SIGHUP || s == syscall.SIGQUIT
}

// Signal sends a signal to the task, as Celery's revoke with terminate does: TERM, HUP and QUIT raise SystemExit in it, USR1
// raises SoftTimeLimitExceeded, INT is ignored, others do what they do to a Python process. What has caught its SystemExit is
// not sent another: it is to be killed, as billiard's child exits at the second. See [pool.Signaler].
func (c *Child) Signal(t *celery.Task, signal syscall.Signal) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.task != t || ends(signal) && ends(c.asked) {
		return false
	}
	c.asked = signal
	return c.send(signal, false)
}

// send sends a signal to the task that runs; last tells the child not to end by itself. The caller holds mu.
func (c *Child) send(signal syscall.Signal, last bool) bool {
	if ends(signal) || signal == syscall.SIGUSR1 {
		body := append(binary.BigEndian.AppendUint64(nil, c.running.Load()), byte(signal), 0)
		if last {
			body[len(body)-1] = 1
		}
		if _, err := c.conn.Write(appendFrame(nil, kindCancel, len(body), body)); err != nil {
			return false // it is gone: read sees that too
		}
	}
	c.proc.signal(func(pid int) { _ = child.Signal(pid, signal) })
	return true
}

// softLimit has SoftTimeLimitExceeded raised in the task, if it is the one that runs still.
func (c *Child) softLimit(tag uint64, job pool.Job) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running.Load() != tag {
		return
	}
	c.log.Warn("soft time limit reached", "task", job.Task.DisplayName(), "id", job.Task.ID, "limit", job.Soft)
	c.send(syscall.SIGUSR1, false)
}

// hardLimit ends the child as billiard does: SystemExit in the task, so that its finally blocks run and what watches it hears of
// its end, and death a moment later. The child stays until then, so that what the task started is found.
func (c *Child) hardLimit(tag uint64) {
	runs := func() bool { return c.running.Load() == tag }
	if !c.proc.condemn(celery.LossHardLimit, runs) {
		return
	}
	time.AfterFunc(c.app.o.HardGrace, func() { c.proc.kill(celery.LossHardLimit) })
	c.mu.Lock() // held while a child that does not listen is written to: only its death ends that
	defer c.mu.Unlock()
	if runs() {
		c.send(syscall.SIGTERM, true)
	}
}

// wasAsked tells whether a signal was sent to the task that the child ran last.
func (c *Child) wasAsked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked != 0
}

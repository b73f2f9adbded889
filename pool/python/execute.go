package python

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
)

// ErrGone says that the child is gone. If the outcome that comes with it has no State, the task was not begun and may
// be given to another executor.
var ErrGone = errors.New("python child is gone")

// LossCauser is what the cause of a cancelled context may implement to say what a killed task died of. Without it the
// cause is [celery.LossShutdown].
type LossCauser interface{ LossCause() celery.LossCause }

const flagRepr = 1

// small frames are written in one piece.
const small = 32 << 10

// Execute implements [pool.Executor].
func (c *Child) Execute(ctx context.Context, job pool.Job) (celery.Outcome, error) {
	select {
	case <-c.proc.done:
		c.broken = true
		return celery.Outcome{}, fmt.Errorf("%w before it was given task %s", ErrGone, job.Task.ID)
	default:
	}
	tag := c.app.jobs.Add(1)
	if err := c.prepare(tag, job); err != nil {
		return celery.Outcome{}, err
	}
	c.out.begin(job.Task)
	defer c.out.end()
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() { c.proc.kill(lossCause(ctx)) })
		defer stop()
	}
	disarm, err := c.begin(tag, job)
	defer disarm()
	if err != nil {
		return c.lost(tag, job, err)
	}
	out, err := c.read(ctx, tag)
	c.mu.Lock()
	c.running.Store(0)
	c.task = nil
	c.mu.Unlock()
	doom := c.proc.doom()
	if err == nil && doom == celery.LossHardLimit {
		err = errors.New("the task ended after its hard limit")
	}
	if err != nil {
		return c.lost(tag, job, err)
	}
	c.maxRSS = out.MaxRSS
	if doom != "" {
		c.broken = true
		return out, fmt.Errorf("%w: killed when task %s had just ended", ErrGone, job.Task.ID)
	}
	return out, nil
}

// prepare puts the head of the run frame together: u64 tag, u8 flags, u32 length of JSON, JSON.
func (c *Child) prepare(tag uint64, job pool.Job) error {
	var meta []byte
	if job.Verdict != nil {
		var err error
		if meta, err = json.Marshal(map[string]any{"verdict": job.Verdict}); err != nil {
			return fmt.Errorf("encode verdict on task %s: %w", job.Task.ID, err)
		}
	}
	size := 13 + len(meta) + len(job.Task.Raw)
	if size > maxFrame {
		return fmt.Errorf("%w: task %s of %d bytes", ErrFrameTooLarge, job.Task.ID, size)
	}
	var flags byte
	if job.Repr {
		flags |= flagRepr
	}
	c.frame = appendFrame(c.frame[:0], kindRun, size)
	c.frame = binary.BigEndian.AppendUint64(c.frame, tag)
	c.frame = append(c.frame, flags)
	c.frame = binary.BigEndian.AppendUint32(c.frame, uint32(len(meta)))
	c.frame = append(c.frame, meta...)
	return nil
}

// begin sends the run frame and returns what disarms the limits. A limit that is reached before the frame is written is one of a task that
// runs: it finds the tag, and its signal comes after the frame.
func (c *Child) begin(tag uint64, job pool.Job) (disarm func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running.Store(tag)
	c.task, c.asked = job.Task, 0
	disarm = func() {}
	if job.Verdict == nil && (job.Soft > 0 || job.Hard > 0) {
		disarm = c.limit(tag, job)
	}
	return disarm, c.write(job.Task.Raw)
}

// write writes the frame that prepare has begun. The caller holds mu.
func (c *Child) write(raw []byte) error {
	if len(raw) <= small {
		c.frame = append(c.frame, raw...)
		_, err := c.conn.Write(c.frame)
		return err
	}
	if _, err := c.conn.Write(c.frame); err != nil {
		return err
	}
	_, err := c.conn.Write(raw)
	return err
}

// read waits for the end of the task and stores what the child wants stored before.
func (c *Child) read(ctx context.Context, tag uint64) (celery.Outcome, error) {
	for {
		k, body, err := readFrame(c.reader, maxFrame)
		if err != nil {
			return celery.Outcome{}, err
		}
		switch k {
		case kindDone:
			got, out, err := parseDone(body)
			if err == nil && got != tag {
				err = fmt.Errorf("%w: done with tag %d while %d runs", ErrMalformed, got, tag)
			}
			return out, err
		case kindLeave:
			c.leaving = string(body)
		case kindStore:
			if err := c.store(ctx, body); err != nil {
				return celery.Outcome{}, err
			}
		default:
			return celery.Outcome{}, fmt.Errorf("%w: kind %d", ErrMalformed, k)
		}
	}
}

func (c *Child) store(ctx context.Context, body []byte) error {
	result, rest, err := parseResult(body)
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("%w: store: %w", ErrMalformed, err)
	}
	var reply []byte
	if c.app.o.Store == nil {
		reply = []byte("the supervisor stores no results")
	} else if err := c.app.o.Store(ctx, []celery.Result{result}); err != nil {
		reply = []byte(err.Error())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.conn.Write(appendFrame(nil, kindStored, len(reply), reply))
	return err
}

// limit arms the time limits and returns what disarms them.
func (c *Child) limit(tag uint64, job pool.Job) (disarm func()) {
	var soft, hard *time.Timer
	if job.Soft > 0 && (job.Hard <= 0 || job.Soft < job.Hard) {
		soft = time.AfterFunc(job.Soft, func() { c.softLimit(tag, job) })
	}
	if job.Hard > 0 {
		hard = time.AfterFunc(job.Hard, func() { c.hardLimit(tag) })
	}
	return func() {
		if soft != nil {
			soft.Stop()
		}
		if hard != nil {
			hard.Stop()
		}
	}
}

// lost finds out how the child died under the task, and makes sure that it is dead.
func (c *Child) lost(tag uint64, job pool.Job, cause error) (celery.Outcome, error) {
	c.broken = true
	if !isEnd(cause) || c.proc.doom() != "" {
		c.proc.kill(celery.LossProtocol)
	}
	if !c.awaitEnd() {
		c.killIfAlive()
		c.await()
	}
	c.out.flush()
	exit, killed := c.proc.state()
	if killed == "" && c.wasAsked() {
		killed = celery.LossTerminated
	}
	loss := &celery.Loss{Cause: killed, PID: c.proc.pid, Signal: int(exit.Signal), ExitCode: exit.Code,
		Memory: max(exit.MaxRSS, c.maxRSS), Tail: c.out.tail()}
	switch {
	case killed == celery.LossHardLimit:
		loss.Limit = job.Hard
		loss.Detail = fmt.Sprintf("Hard time limit (%gs) exceeded", job.Hard.Seconds())
	case killed == celery.LossProtocol:
		loss.Detail = fmt.Sprintf("Worker broke the protocol: %v", cause)
	case killed != "":
		loss.Detail = "Worker was killed: " + string(killed)
	case exit.Signal == syscall.SIGKILL && c.app.oomKilled():
		loss.Cause = celery.LossOOM
	case exit.Signal != 0:
		loss.Cause = celery.LossSignal
	default:
		loss.Cause = celery.LossExited
	}
	if loss.Detail == "" && c.leaving != "" {
		loss.Detail = c.leaving
	}
	if loss.Detail == "" {
		loss.Detail = fmt.Sprintf("Worker exited prematurely: %s Job: %d.", exit, tag)
	}
	return celery.Outcome{State: celery.StateLost, MaxRSS: loss.Memory, Loss: loss},
		fmt.Errorf("%w: %s", ErrGone, loss.Detail)
}

// killIfAlive kills a child that closed its channel and lives on. If it does not, its zygote takes its time to tell how it ended.
func (c *Child) killIfAlive() {
	if child.Alive(c.proc.pid) {
		c.proc.kill(celery.LossProtocol)
	}
}

// awaitEnd gives a child that closed its channel a moment to end.
func (c *Child) awaitEnd() bool {
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-c.proc.done:
		return true
	case <-timer.C:
		return false
	}
}

func lossCause(ctx context.Context) celery.LossCause {
	var causer LossCauser
	if errors.As(context.Cause(ctx), &causer) {
		return causer.LossCause()
	}
	return celery.LossShutdown
}

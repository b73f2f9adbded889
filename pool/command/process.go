package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/pyjson"
	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/pool/handler"
)

const (
	tailLines = 20              // of stderr that are kept for the traceback
	lineLimit = 64 << 10        // of one line of stderr
	drainTime = 2 * time.Second // for output that lies in the pipes when the process has ended
)

// process is one run of a program.
type process struct {
	spec    *Spec
	argv    []string
	request *celery.Request
	victim  int                   // Options.OOMScoreAdj
	signals <-chan syscall.Signal // that somebody asks to be sent
	started func(pid int)
	log     hclog.Logger
}

// end is how it ended.
type end struct {
	exit    child.Exit
	stdout  []byte
	stderr  []string // the last lines
	tooLong bool     // stdout was larger than allowed
	soft    bool     // the soft limit was reached
	loss    *celery.Loss
}

func (e *end) tail() string { return strings.Join(e.stderr, "\n") }

// traceback is what stands for Python's: the last lines of stderr and the exception.
func (e *end) traceback(exc celery.Exception) string {
	if len(e.stderr) == 0 {
		return exc.LastLine() + "\n"
	}
	return e.tail() + "\n" + exc.LastLine() + "\n"
}

// do runs the program and returns when nothing of its group is left. An error means that it did not start.
func (p *process) do(ctx context.Context, soft, hard time.Duration) (end, error) {
	path, err := p.spec.Program()
	if err != nil {
		return end{}, err
	}
	pipes, err := openPipes(p.spec.Input == "json")
	if err != nil {
		return end{}, err
	}
	defer pipes.closeOurs()
	kills, _ := child.OOMKills()
	proc, err := child.Start(child.Spec{Path: path, Args: p.argv[1:], Dir: p.spec.Directory, Env: p.environment(),
		Input: pipes.stdin.theirs, Output: pipes.stdout.theirs, Errors: pipes.stderr.theirs, Bound: true})
	pipes.closeTheirs()
	if err != nil {
		return end{}, explained(err)
	}
	p.started(proc.PID())
	child.PreferAsVictim(proc.PID(), p.victim)
	p.log.Debug("command started", "pid", proc.PID(), "program", path)
	var e end
	var group sync.WaitGroup
	group.Go(func() { p.write(pipes.stdin.ours) })
	group.Go(func() { e.stdout, e.tooLong = p.read(pipes.stdout.ours, proc) })
	group.Go(func() { e.stderr = p.logLines(pipes.stderr.ours) })
	isSoft, asked, loss := p.wait(ctx, proc, soft, hard)
	_ = child.KillGroup(proc.PID()) // what it left behind in its group belongs to the task
	pipes.deadline(time.Now().Add(drainTime))
	group.Wait()
	e.soft, e.exit, e.loss = isSoft, proc.Exit(), loss
	expected := isSoft && e.exit.Signal == syscall.SIGTERM || e.tooLong
	if loss == nil && asked && !e.exit.Clean() {
		e.loss = &celery.Loss{Cause: celery.LossTerminated}
	}
	if e.loss == nil && e.exit.Signal != 0 && !expected {
		e.loss = &celery.Loss{Cause: celery.LossSignal}
		if now, ok := child.OOMKills(); ok && now > kills && e.exit.Signal == syscall.SIGKILL {
			e.loss.Cause = celery.LossOOM
		}
	}
	if e.loss != nil {
		e.loss.PID, e.loss.Signal, e.loss.ExitCode, e.loss.Memory, e.loss.Tail = proc.PID(), int(e.exit.Signal), e.exit.Code, e.exit.MaxRSS, e.stderr
		e.loss.Detail = fmt.Sprintf("%s ended: %s", p.spec.Run[0], e.exit)
	}
	return e, nil
}

// wait waits for the process and keeps its limits. TERM at the soft one is the program's chance to clean up. asked tells
// whether it was sent another signal.
func (p *process) wait(ctx context.Context, proc *child.Process, soft, hard time.Duration) (isSoft, asked bool, loss *celery.Loss) {
	softly, hardly := after(soft), after(hard)
	for {
		select {
		case <-proc.Done():
			return isSoft, asked, nil
		case <-softly:
			p.log.Warn("soft time limit", "pid", proc.PID(), "limit", soft, "next", "TERM")
			isSoft, softly = true, nil
			_ = syscall.Kill(-proc.PID(), syscall.SIGTERM)
		case <-hardly:
			p.log.Warn("hard time limit", "pid", proc.PID(), "limit", hard, "next", "kill")
			proc.KillTree()
			return isSoft, asked, &celery.Loss{Cause: celery.LossHardLimit, Limit: hard}
		case signal := <-p.signals:
			asked = true
			if signal == syscall.SIGKILL {
				proc.KillTree()
				continue
			}
			_ = syscall.Kill(-proc.PID(), signal)
		case <-ctx.Done():
			proc.KillTree()
			return isSoft, asked, &celery.Loss{Cause: handler.LossOf(ctx)}
		}
	}
}

func after(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil
	}
	return time.After(d)
}

func (p *process) environment() []string {
	env := os.Environ()
	for k, v := range p.spec.Environment {
		env = append(env, k+"="+v)
	}
	return append(env, "AGENSIUM_TASK="+p.spec.Task, "AGENSIUM_TASK_ID="+p.request.ID, fmt.Sprintf("AGENSIUM_TASK_RETRIES=%d", p.request.Retries))
}

// write gives the program its input.
func (p *process) write(stdin *os.File) {
	if stdin == nil {
		return
	}
	defer stdin.Close()
	r := p.request
	input, err := pyjson.Append(nil, []pyjson.Member{
		{Key: "id", Value: text(r.ID)}, {Key: "name", Value: text(r.Name)}, {Key: "args", Value: r.Args}, {Key: "kwargs", Value: r.Kwargs},
		{Key: "retries", Value: fmt.Append(nil, r.Retries)}, {Key: "root_id", Value: text(r.Root())}, {Key: "parent_id", Value: text(r.ParentID)},
	})
	if err == nil {
		_, err = stdin.Write(append(input, '\n'))
	}
	if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
		p.log.Debug("input not read to its end", "error", err)
	}
}

func text(s string) pyjson.Raw {
	if s == "" {
		return pyjson.Raw("null")
	}
	return pyjson.AppendString(nil, s)
}

// read takes in stdout, and kills a program that writes too much.
func (p *process) read(stdout *os.File, proc *child.Process) (out []byte, tooLong bool) {
	limit := p.spec.MaxOutput
	if limit <= 0 {
		limit = 1 << 20
	}
	out, err := io.ReadAll(io.LimitReader(stdout, limit+1))
	if errors.Is(err, os.ErrDeadlineExceeded) { // for those who hold it open; what lies there was written in time, and we are late
		out = append(out, lying(stdout, limit+1-int64(len(out)))...)
	}
	if int64(len(out)) > limit {
		p.log.Warn("output too large", "limit", fmt.Sprintf("%dB", limit), "pid", proc.PID(), "next", "kill")
		proc.KillTree()
		return out[:limit], true
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		p.log.Warn("stdout not read to its end", "error", err)
	}
	return out, false
}

// lying takes what lies in a pipe, without waiting for more.
func lying(pipe *os.File, most int64) []byte {
	raw, err := pipe.SyscallConn()
	if err != nil {
		return nil
	}
	rest := make([]byte, min(most, 1<<20)) // as much as a pipe may hold, as a rule
	n := 0
	_ = raw.Control(func(fd uintptr) {
		for n < len(rest) {
			k, err := syscall.Read(int(fd), rest[n:])
			if err == syscall.EINTR {
				continue
			}
			if k <= 0 || err != nil {
				return
			}
			n += k
		}
	})
	return rest[:n]
}

// logLines logs stderr and keeps its last lines.
func (p *process) logLines(stderr *os.File) []string {
	var last []string
	reader := bufio.NewReaderSize(stderr, lineLimit)
	for {
		line, _, err := reader.ReadLine() // a line that is too long comes in pieces
		if err != nil {
			return last
		}
		text := child.Printable(string(line))
		p.log.Info(text)
		if last = append(last, text); len(last) > tailLines {
			last = last[1:]
		}
	}
}

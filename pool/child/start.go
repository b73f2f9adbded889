package child

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Spec says what to start.
type Spec struct {
	Path   string
	Args   []string   // without the program's own name
	Dir    string     // empty: ours
	Env    []string   // nil: ours
	Files  []*os.File // fd 3 and following; the caller closes its copies after Start
	Input  *os.File   // stdin; nil: /dev/null
	Output *os.File   // stdout and stderr; nil: thrown away
	Errors *os.File   // stderr, if it is not to go where stdout goes

	// Bound has the kernel kill the process and its group when this process is gone. It gets one more file for that, behind Files. Not
	// everywhere: see Lifeline.
	Bound bool
}

// Process is a running child that leads a process group of its own. One goroutine waits for it.
type Process struct {
	cmd      *exec.Cmd
	lifeline *os.File // nil unless it is bound
	done     chan struct{}
	exit     Exit // set before done is closed
}

// Start starts a process.
func Start(s Spec) (*Process, error) {
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Dir, cmd.Env, cmd.ExtraFiles = s.Dir, s.Env, s.Files
	if s.Output != nil {
		cmd.Stdout, cmd.Stderr = s.Output, s.Output
	}
	if s.Input != nil {
		cmd.Stdin = s.Input
	}
	if s.Errors != nil {
		cmd.Stderr = s.Errors
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var hold, give *os.File
	if s.Bound {
		var err error
		if hold, give, err = Lifeline(); err != nil {
			return nil, err
		}
		defer give.Close()
		cmd.ExtraFiles = append(s.Files[:len(s.Files):len(s.Files)], give)
	}
	release := ownStart()
	if err := cmd.Start(); err != nil {
		release(0)
		hold.Close()     // harmless if there is none
		if s.Dir != "" { // a directory that is missing is told as a missing program
			if _, missing := os.Stat(s.Dir); missing != nil {
				err = fmt.Errorf("working directory: %w", missing)
			}
		}
		return nil, fmt.Errorf("start %s: %w", s.Path, err)
	}
	if s.Bound { // who is killed before this leaves a process behind: the kernel binds only a group that is there
		bind(give, cmd.Process.Pid)
	}
	release(cmd.Process.Pid)
	p := &Process{cmd: cmd, lifeline: hold, done: make(chan struct{})}
	go p.wait()
	return p, nil
}

func (p *Process) wait() {
	defer close(p.done)
	defer p.lifeline.Close() // of a process that is not bound: harmless
	defer Disown(p.PID())
	err := p.cmd.Wait()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		p.exit = Exit{Code: -1}
		return
	}
	p.exit = exitOf(p.cmd.ProcessState)
}

// PID is the process's id and that of its group.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process is gone and reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit tells how the process ended. To be called after Done.
func (p *Process) Exit() Exit { return p.exit }

// Kill kills the process and its group, not descendants that lead groups of their own, and waits until the process is
// gone, for at most a few seconds: one that hangs in the kernel cannot be waited for.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return
	default:
	}
	_ = KillGroup(p.PID())
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
	}
}

// KillTree is Kill, for those descendants too that left the group. One whose own parent has ended is not found.
func (p *Process) KillTree() {
	select {
	case <-p.done:
		return
	default:
	}
	KillTree(p.PID())
	p.Kill()
}

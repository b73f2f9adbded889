package python

import (
	"context"
	"sync"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool/child"
)

// process is a child as an operating system process, whoever its parent is. It is the zygote's child, or ours after
// the zygote's death or in mode Spawn. Its pid is not given to another process before done is closed.
type process struct {
	pid  int
	done chan struct{} // closed when it is gone and reaped

	mu     sync.Mutex
	gone   bool       // it ended; only its group may still be signalled
	exit   child.Exit // valid once gone
	killed celery.LossCause
}

func newProcess(pid int) *process {
	child.Own(pid)
	return &process{pid: pid, done: make(chan struct{})}
}

// signal does something with the pid while it is certain to be this process's.
func (p *process) signal(do func(pid int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.gone {
		do(p.pid)
	}
}

// kill kills the process with its group and descendants. The first cause counts.
func (p *process) kill(cause celery.LossCause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return
	}
	if p.killed == "" {
		p.killed = cause
	}
	child.KillTree(p.pid)
}

// condemn says what the process is about to be killed for, if that is so still, and reports whether it was not said before.
func (p *process) condemn(cause celery.LossCause, still func() bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || p.killed != "" || !still() {
		return false
	}
	p.killed = cause
	return true
}

// doom is what it is to be killed for, or was; empty: nothing.
func (p *process) doom() celery.LossCause {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

// exited is called when the process is a zombie. What is left of its group goes too, unless it ended as it should.
func (p *process) exited(exit child.Exit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return
	}
	p.gone, p.exit = true, exit
	if !exit.Clean() {
		_ = child.KillGroup(p.pid)
	}
}

// reaped is called when the process is no longer there.
func (p *process) reaped(maxRSS int64) {
	p.mu.Lock()
	p.exit.MaxRSS = maxRSS
	p.mu.Unlock()
	child.Disown(p.pid)
	close(p.done)
}

// awaitAsOrphan waits for a process whose zygote has died.
func (p *process) awaitAsOrphan() {
	exit, _ := child.AwaitOrphan(context.Background(), p.pid)
	p.exited(exit)
	p.reaped(exit.MaxRSS)
}

// state tells how the process ended and whether we killed it, and why. To be called after done.
func (p *process) state() (child.Exit, celery.LossCause) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit, p.killed
}

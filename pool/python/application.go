package python

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
)

// ErrClosed says that the application was closed.
var ErrClosed = errors.New("python application is closed")

// Application is one generation of a user's Celery application: a factory of children that run its tasks. Its methods
// may be called by anybody.
type Application struct {
	o    Options
	info Info
	jobs atomic.Uint64 // numbers tasks, as Celery's pool does; tags of frames
	ooms atomic.Int64  // processes that the kernel had killed when last looked

	cancel context.CancelFunc
	kept   chan struct{} // closed when keep has ended
	warm   atomic.Bool   // a warm shutdown: children may linger
	untold chan struct{} // one for each message that the zygote is to be told of

	mu      sync.Mutex
	zygote  *zygote       // nil while there is none
	changed chan struct{} // closed and replaced when zygote changes
	closed  bool
	start   time.Duration // Options.StartTimeout of now
	victim  int           // Options.OOMScoreAdj of now
	asleep  chan struct{} // closed when somebody needs the zygote again; nil: it does not sleep
}

var _ pool.Factory = (*Application)(nil)

// Start imports the application in a zygote and returns when it is ready to make children. The error is a
// *[StartError] if the application is at fault. If the zygote dies its children are waited for where this process is a subreaper
// ([child.BecomeSubreaper]); where it is none they are watched, and how they ended is not known.
func Start(ctx context.Context, o Options) (*Application, error) {
	o = o.withDefaults()
	a := &Application{o: o, changed: make(chan struct{}), kept: make(chan struct{}), untold: make(chan struct{}, mostUntold)}
	a.Adjust(o.StartTimeout, o.OOMScoreAdj)
	z, err := startZygote(ctx, o, a.startTimeout)
	if err != nil {
		return nil, err
	}
	keeping, cancel := context.WithCancel(context.Background())
	a.info, a.zygote, a.cancel = z.info, z, cancel
	kills, _ := child.OOMKills()
	a.ooms.Store(kills)
	go a.keep(keeping)
	return a, nil
}

// Adjust changes Options.StartTimeout and Options.OOMScoreAdj for what starts from now on.
func (a *Application) Adjust(startTimeout time.Duration, oomScoreAdj int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.start, a.victim = startTimeout, oomScoreAdj
}

// options are those of now.
func (a *Application) options() Options {
	a.mu.Lock()
	defer a.mu.Unlock()
	o := a.o
	o.StartTimeout, o.OOMScoreAdj = a.start, a.victim
	return o
}

func (a *Application) startTimeout() time.Duration { return a.options().StartTimeout }

// Info is the report on the application.
func (a *Application) Info() Info { return a.info }

// PID is the process id of the zygote, 0 while there is none.
func (a *Application) PID() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.zygote == nil {
		return 0
	}
	return a.zygote.proc.PID()
}

// keep starts a new zygote when the one there is dies. Its children go on meanwhile.
func (a *Application) keep(ctx context.Context) {
	defer close(a.kept)
	z := a.current()
	for attempt := 0; ; {
		began := time.Now()
		if z != nil {
			select {
			case <-z.done:
			case <-ctx.Done():
				return
			}
			if wake := a.sleptWith(z); wake != nil {
				select {
				case <-wake:
				case <-ctx.Done():
					return
				}
				attempt = 0
			} else {
				a.o.Log.Error("zygote died: its children go on", "pid", z.proc.PID(), "reason", z.proc.Exit().String(), "next", "restart")
				a.set(nil)
				if time.Since(began) > time.Minute {
					attempt = 0
				}
			}
		}
		attempt++
		if attempt > 1 && !wait(ctx, backoff(attempt-1)) {
			return
		}
		var err error
		if z, err = startZygote(ctx, a.options(), a.startTimeout); err != nil {
			if ctx.Err() != nil {
				return
			}
			a.o.Log.Error("zygote did not start", "attempt", attempt, "next", "retry", "error", err)
			continue
		}
		a.o.Log.Info("zygote started", "pid", z.proc.PID(), "attempt", attempt)
		a.set(z)
	}
}

// Sleep ends the zygote, which sends Celery's worker_shutdown, until the next child is asked for: that then waits for the import. It
// returns when the zygote is gone.
func (a *Application) Sleep(ctx context.Context) {
	a.mu.Lock()
	z := a.zygote
	if a.closed || z == nil || z.wake != nil {
		a.mu.Unlock()
		return
	}
	z.wake = make(chan struct{})
	a.asleep, a.zygote = z.wake, nil
	a.mu.Unlock()
	a.o.Log.Info("application unloaded", "pid", z.proc.PID(), "next", "the next task has it imported again")
	z.quit(ctx, a.o.CloseTimeout)
}

// sleptWith is what wakes the application that was put to sleep with this zygote; nil if it was not.
func (a *Application) sleptWith(z *zygote) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return z.wake
}

// backoff is 0.1 s doubling up to 10 s, with jitter.
func backoff(attempt int) time.Duration {
	d := min(100*time.Millisecond<<min(attempt-1, 10), 10*time.Second)
	return d/2 + rand.N(d/2)
}

func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (a *Application) current() *zygote {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.zygote
}

func (a *Application) set(z *zygote) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.zygote = z
	close(a.changed)
	a.changed = make(chan struct{})
}

// await returns the zygote as soon as there is one.
func (a *Application) await(ctx context.Context) (*zygote, error) {
	for {
		a.mu.Lock()
		z, changed, closed := a.zygote, a.changed, a.closed
		if a.asleep != nil {
			close(a.asleep)
			a.asleep = nil
		}
		a.mu.Unlock()
		if closed {
			return nil, ErrClosed
		}
		if z != nil {
			return z, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for a zygote: %w", context.Cause(ctx))
		}
	}
}

// Start makes a child and returns when it has said hello.
func (a *Application) Start(ctx context.Context, slot int) (pool.Executor, error) {
	timeout := a.startTimeout()
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("not ready within the start timeout of %s", timeout))
	defer cancel()
	make := a.fork
	if a.o.Mode == Spawn {
		make = a.spawn
	}
	for {
		c, err := make(ctx, slot)
		if errors.Is(err, errZygoteGone) && ctx.Err() == nil {
			continue // await sees to it that this does not spin: the dead one is replaced first
		}
		if err != nil {
			return nil, fmt.Errorf("start python child: %w", err)
		}
		return c, nil
	}
}

func (a *Application) fork(ctx context.Context, slot int) (*Child, error) {
	z, err := a.await(ctx)
	if err != nil {
		return nil, err
	}
	c := &Child{app: a, slot: slot}
	var out *os.File
	if c.proc, out, err = a.forkFrom(ctx, z, c); err == nil {
		return c, c.greet(ctx, out)
	}
	if errors.Is(err, errZygoteGone) {
		select {
		case <-z.done:
		case <-ctx.Done():
		}
		a.forget(z)
	}
	return nil, err
}

// forkFrom has the zygote fork a process with the other ends of c's channel and lifeline and of the output that it returns. Ours of
// the ends that we give away are closed when it returns: as long as anybody else had them, the child's death would not be seen.
func (a *Application) forkFrom(ctx context.Context, z *zygote, c *Child) (*process, *os.File, error) {
	conn, theirs, err := child.Pair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	hold, give, err := child.Lifeline()
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	defer give.Close()
	out, printed, err := os.Pipe()
	if err != nil {
		conn.Close()
		hold.Close()
		return nil, nil, fmt.Errorf("make output pipe: %w", err)
	}
	defer printed.Close()
	proc, err := z.fork(ctx, c.slot, theirs, give, printed)
	if err != nil {
		conn.Close()
		hold.Close()
		out.Close()
		return nil, nil, err
	}
	c.conn, c.lifeline = conn, hold
	return proc, out, nil
}

// forget takes a dead zygote away before keep does.
func (a *Application) forget(z *zygote) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.zygote == z {
		a.zygote = nil
	}
}

// spawn starts an interpreter of its own as a child.
func (a *Application) spawn(ctx context.Context, slot int) (*Child, error) {
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	l, err := launch(a.o, "child", slot)
	if err != nil {
		return nil, err
	}
	c := &Child{app: a, slot: slot, conn: l.conn, lifeline: l.lifeline, proc: newProcess(l.proc.PID())}
	go func() {
		<-l.proc.Done()
		exit := l.proc.Exit()
		c.proc.exited(exit)
		c.proc.reaped(exit.MaxRSS)
	}()
	return c, c.greet(ctx, l.output)
}

// Ready has Celery's worker_ready sent in the zygote.
func (a *Application) Ready() { a.event(map[string]any{"name": "worker_ready"}) }

// Heartbeat has Celery's heartbeat_sent sent in the zygote.
func (a *Application) Heartbeat() { a.event(map[string]any{"name": "heartbeat_sent"}) }

// ShuttingDown has Celery's worker_shutting_down sent in the zygote: the name of the signal, "Warm" or "Cold", and the
// exit status to be.
func (a *Application) ShuttingDown(sig, how string, exitcode int) {
	a.warm.Store(how == "Warm")
	a.event(map[string]any{"name": "worker_shutting_down", "sig": sig, "how": how, "exitcode": exitcode})
}

// Received has Celery's task_received sent in the zygote, if the application listens to it.
func (a *Application) Received(ctx context.Context, envelope []byte) {
	if a.info.Receives {
		a.told(ctx, "task_received", envelope, "")
	}
}

// Rejected has Celery's task_rejected sent in the zygote, if the application listens to it. As there, why is empty for what is no task.
func (a *Application) Rejected(ctx context.Context, envelope []byte, why string) {
	if a.info.Rejects {
		a.told(ctx, "task_rejected", envelope, why)
	}
}

// mostUntold bounds how many messages are kept until the zygote takes word of them.
const mostUntold = 64

// told sends a signal about a message. While many wait to be sent it waits, too, until ctx ends: Celery's consumer also goes no faster
// than its receivers. A zygote that sleeps is waited for: whatever is received wakes it.
func (a *Application) told(ctx context.Context, name string, envelope []byte, why string) {
	sent := func() { <-a.untold }
	select {
	case a.untold <- struct{}{}:
	case <-ctx.Done():
		sent = func() {}
	}
	fields := map[string]any{"name": name, "envelope": envelope, "why": why}
	if z := a.current(); z != nil {
		z.event(fields, sent)
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), a.options().StartTimeout)
		defer cancel()
		if z, err := a.await(ctx); err == nil {
			z.event(fields, sent)
		} else {
			sent()
		}
	}()
}

func (a *Application) event(fields map[string]any) {
	if z := a.current(); z != nil {
		z.event(fields, func() {})
	}
}

// Close ends the zygote, which sends Celery's worker_shutdown. Children are their slots' to close, before.
func (a *Application) Close(ctx context.Context) error {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		<-a.kept
		return nil
	}
	a.closed = true
	a.mu.Unlock()
	a.cancel()
	<-a.kept
	if z := a.current(); z != nil {
		z.quit(ctx, a.o.CloseTimeout)
	}
	return nil
}

// oomKilled tells whether the kernel killed a process of ours for lack of memory since it was asked last.
func (a *Application) oomKilled() bool {
	kills, ok := child.OOMKills()
	return ok && a.ooms.Swap(kills) < kills
}

func newReader(c *Child) *bufio.Reader { return bufio.NewReaderSize(c.conn, 8<<10) }

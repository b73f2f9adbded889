package supervisor

import (
	"context"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/python"
)

// generation is one import of the application, with the children that came of it, and what runs in Go beside it. It makes the pool's
// executors until another one takes its place, and ends when its last executor is gone.
type generation struct {
	app     *python.Application // nil: only tasks in Go and commands
	goTasks *goTasks            // nil: only the application
	factory pool.Factory        // both; set before the first start
	imposed map[string]any      // settings of Celery that we set over the application's
	empty   chan struct{}       // closed when it was replaced and has no child any more

	mu       sync.Mutex
	children int         // executors that run or start
	next     *generation // that took its place
}

var _ pool.Factory = (*generation)(nil)

func newGeneration(app *python.Application, imposed map[string]any) *generation {
	return &generation{app: app, imposed: imposed, empty: make(chan struct{})}
}

// Start implements [pool.Factory]. A slot that was about to ask a generation that has been replaced gets its child of the next one.
func (g *generation) Start(ctx context.Context, slot int) (pool.Executor, error) {
	g.mu.Lock()
	if next := g.next; next != nil {
		g.mu.Unlock()
		return next.Start(ctx, slot)
	}
	g.children++
	g.mu.Unlock()
	executor, err := g.factory.Start(ctx, slot)
	if err != nil {
		g.left()
		return nil, err
	}
	m := member{executor, sync.OnceFunc(g.left)}
	if p, ok := executor.(pool.Process); ok {
		return memberProcess{m, p}, nil
	}
	return m, nil
}

// replace lets next make the children from now on.
func (g *generation) replace(next *generation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = next
	if g.children == 0 {
		close(g.empty)
	}
}

func (g *generation) left() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.children--
	if g.children == 0 && g.next != nil {
		close(g.empty)
	}
}

// member is an executor that its generation counts.
type member struct {
	pool.Executor
	left func()
}

// Close implements [pool.Executor].
func (m member) Close(ctx context.Context) error {
	defer m.left()
	return m.Executor.Close(ctx)
}

// Signal implements [pool.Signaler].
func (m member) Signal(t *celery.Task, signal syscall.Signal) bool {
	s, ok := m.Executor.(pool.Signaler)
	return ok && s.Signal(t, signal)
}

// PIDOf implements [pool.Runner].
func (m member) PIDOf(t *celery.Task) int { return pool.PIDOf(m.Executor, t) }

type memberProcess struct {
	member
	pool.Process
}

// ready and stops tell the application what Celery's worker tells it.
func (g *generation) ready() {
	if g.app != nil {
		g.app.Ready()
	}
}

func (g *generation) stops(sig, how string, exitcode int) {
	if g.app != nil {
		g.app.ShuttingDown(sig, how, exitcode)
	}
}

// close ends the application and the connections of what runs in Go.
func (g *generation) close(log hclog.Logger) {
	if err := g.goTasks.close(); err != nil {
		log.Warn("close connections of Go tasks", "error", err)
	}
	if g.app == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := g.app.Close(ctx); err != nil {
		log.Warn("close application", "error", err)
	}
}

// application is that of the present generation; nil if there is none.
func (s *Supervisor) application() *python.Application { return s.generation.Load().app }

// closeApplication ends all generations.
func (s *Supervisor) closeApplication() {
	close(s.ending)
	s.generation.Load().close(s.log)
	s.retiring.Wait()
}

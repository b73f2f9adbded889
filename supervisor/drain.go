package supervisor

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
)

// errDrainOver is why a job is killed at the end of a drain. Its message went back before, unless it was acknowledged early.
var errDrainOver = errors.New("the drain is over")

// stopping hears once that the supervisor is to end, and how: warm, let running tasks end until the deadline; cold, at
// once. A cold stop may follow a warm one.
type stopping struct {
	warmOnce, coldOnce sync.Once
	warm, cold         chan struct{}
	mu                 sync.Mutex
	why                string
	failure            error
}

func newStopping() *stopping {
	return &stopping{warm: make(chan struct{}), cold: make(chan struct{})}
}

func (s *stopping) begin(why string) {
	s.warmOnce.Do(func() {
		s.mu.Lock()
		s.why = why
		s.mu.Unlock()
		close(s.warm)
	})
}

func (s *stopping) now(why string) {
	s.begin(why)
	s.coldOnce.Do(func() { close(s.cold) })
}

// how describes the stop as Celery's worker_shutting_down signal does.
func (s *stopping) how() (signal, how string, exitcode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	signal, how = strings.TrimPrefix(s.why, "signal "), "Warm"
	select {
	case <-s.cold:
		how = "Cold"
	default:
	}
	if s.failure != nil {
		exitcode = 1
	}
	return signal, how, exitcode
}

// fail begins a drain at whose end the process exits with err.
func (s *stopping) fail(err error) {
	s.mu.Lock()
	if s.failure == nil {
		s.failure = err
	}
	s.mu.Unlock()
	s.begin(err.Error())
}

func (s *stopping) reason() (why string, failure error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.why, s.failure
}

// claims is what a drain needs of the broker.
type claims interface {
	Drain()
	Settle(ctx context.Context, done broker.Finished) error
}

// drain ends the work of a pool in order: claim no more, let running tasks end, put back what still runs when the time
// is over, then kill it. The message goes back before the child dies, so that a SIGKILL by the platform in between loses nothing.
type drain struct {
	claims claims
	pool   *pool.Pool
	source *source
	cold   <-chan struct{}
	margin time.Duration // between the budget and the end that the platform makes
	log    hclog.Logger
}

func (d drain) run(why string, budget time.Duration) {
	d.claims.Drain()
	running := len(d.pool.Running())
	d.log.Info("draining", "reason", why, "running", running, "limit", budget, "next", "running tasks may end, no more are claimed")
	begun := time.Now()

	ctx, cancel := context.WithTimeoutCause(context.Background(), budget, errDrainOver)
	defer cancel()
	go func() {
		select {
		case <-d.cold:
			cancel()
		case <-ctx.Done():
		}
	}()
	if d.pool.Close(ctx) == nil {
		d.log.Info("drained", "took", time.Since(begun).Round(time.Millisecond), "ended", running)
		return
	}
	back := d.source.takeBack((*holding).late)
	for _, delivery := range back {
		d.putBack(delivery, broker.Settlement{Action: broker.PutBack})
	}
	broker.AtPutBack.Pass()
	d.log.Warn("drain is over", "took", time.Since(begun).Round(time.Millisecond), "put_back", len(back), "next", "kill what still runs")
	d.pool.Kill(errDrainOver)
	last, done := context.WithTimeout(context.Background(), d.grace())
	defer done()
	if err := d.pool.Close(last); err != nil {
		d.log.Error("close pool", "error", err)
	}
	// Those that are acknowledged early do not run again: their slots recorded that they were lost. Where that took too long it is left to
	// whoever claims them next.
	for _, delivery := range d.source.takeBack(func(*holding) bool { return true }) {
		d.putBack(delivery, broker.Settlement{Action: broker.Requeue, Died: true})
	}
}

// killGrace is how long killed executors may take to be gone.
const killGrace = 2 * time.Second

// grace is that, and leaves some of a short margin for what follows: a Go handler that does not end takes all of it.
func (d drain) grace() time.Duration {
	if d.margin > 0 {
		return min(killGrace, d.margin*2/3)
	}
	return killGrace
}

// putBack returns the message of a task in progress to its queue.
func (d drain) putBack(delivery *celery.Delivery, settlement broker.Settlement) {
	ctx, cancel := context.WithTimeout(context.Background(), killGrace)
	defer cancel()
	if err := d.claims.Settle(ctx, broker.Finished{Delivery: delivery, Settlement: settlement}); err != nil {
		d.log.Error("put back", "queue", delivery.Queue, "error", err, "next", "the lease will end and another node takes it")
	}
}

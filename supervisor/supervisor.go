package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/celery/control"
	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/pool/handler"
	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/admin"
	"github.com/agensium/agensium/supervisor/config"
	"github.com/agensium/agensium/supervisor/reload"
)

// Supervisor is one running node. What is set once before the pool starts is not guarded; the settings are read through
// current and replaced as a whole.
type Supervisor struct {
	o        Options
	log      hclog.Logger
	output   io.Writer
	logFile  *os.File
	signals  *signals
	stopping *stopping
	begun    time.Time
	node     string

	loaded     atomic.Pointer[config.Loaded] // what was read for the start
	current    atomic.Pointer[settings]
	embedded   *embedded
	generation atomic.Pointer[generation]
	retiring   sync.WaitGroup // generations that end
	ending     chan struct{}  // closed when those have to end now
	broker     *broker.Broker
	control    *control.Control
	pool       *pool.Pool
	source     *source
	tally      tally
	consumed   consumed
	scaler     *scaler
	estimates  *estimates
	watcher    *reload.Watcher
	applier    *applier
	stored     atomic.Pointer[fromRedis] // nil: nowhere to look

	target       *redisconn.Target // of the broker
	turns        turns
	asked        askedLimits
	terminations terminations
	overdue      handler.Overdue             // Go handlers that were given up
	revokedKnown sync.Once                   // the first tasks waited for the list of the revoked
	rebeat       chan struct{}               // the heartbeats have other settings
	renew        func(context.Context) error // starts a new generation of the application; nil: it is never started anew

	admin     *admin.Server // nil: none
	systemd   *systemd      // nil: not under systemd
	calm      *calm         // log
	printed   hclog.Logger  // for what applications write themselves
	life      *life
	parts     atomic.Pointer[parts]
	metrics   *admin.Metrics
	waits     waits
	glance    glance
	decisions decisions
	reloads   reloads
}

// settings are a snapshot of everything that decides about tasks.
type settings struct {
	*config.Effective
	info  python.Info
	tasks map[string]celery.TaskOptions
}

func newSupervisor(o Options) (*Supervisor, error) {
	s := &Supervisor{o: o, begun: time.Now(), stopping: newStopping(), ending: make(chan struct{}), rebeat: make(chan struct{}, 1), output: o.Stderr, estimates: newEstimates()}
	if s.output == nil {
		s.output = os.Stderr
	}
	c := o.Loaded.Config
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this host: %w", err)
	}
	s.node = config.NodeName(c.Node, host)
	if c.Log.File != "" {
		f, err := os.OpenFile(config.LogFile(c.Log.File, s.node), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, &SetupError{Err: fmt.Errorf("open log: %w", err), Hint: "check log.file, or --logfile"}
		}
		s.logFile, s.output = f, f
	}
	log, printed := newLoggers(c.Log, s.output)
	s.calm, s.printed = newCalm(log), printed
	s.log, s.life = s.calm, newLife(s.begun)
	s.reloads.taken, s.reloads.changed = s.begun, s.life.tell
	s.metrics = admin.NewMetrics(s.sample)
	s.tally.metrics = s.metrics
	s.signals = newSignals(o.Signals)
	s.signals.warm, s.signals.cold = s.stopping.begin, s.stopping.now
	s.applier = newApplier(s)
	s.renew = s.applier.Renew
	s.watcher = reload.New(o.Loaded.Input(), o.Loaded, s.applier.take, s.log.Named("config"))
	s.signals.reload = s.reload
	s.systemd = newSystemd(s)
	s.loaded.Store(o.Loaded)
	return s, nil
}

func (s *Supervisor) closeLog() {
	if s.logFile != nil {
		s.logFile.Close()
	}
}

// serve is the node's life: everything is started in order, and stopped in the reverse order when a stop is asked for.
func (s *Supervisor) serve() error {
	for _, note := range s.loaded.Load().Notes {
		s.log.Info("note: " + note.String())
	}
	for !s.loaded.Load().Config.Broker.Consume {
		if goOn, err := s.rest(); !goOn {
			return err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var loops sync.WaitGroup
	defer loops.Wait()
	defer cancel() // before loops.Wait

	if s.o.Handlers == nil { // a handler may start processes of its own and wants their status; orphans go to PID 1, see Run
		if err := child.BecomeSubreaper(); err != nil {
			s.log.Debug("orphans of children are not reaped", "error", err)
		}
		loops.Go(func() { child.ReapStrangers(ctx) })
	}
	collectSeldom()
	s.limitMemory(s.loaded.Load().Config.Scaling)
	if err := s.startEmbedded(ctx, &loops); err != nil {
		return err
	}
	if s.embedded != nil {
		defer s.embedded.close()
	}
	if err := s.startApplication(ctx); err != nil {
		if errors.Is(err, context.Canceled) { // only a stop cancels it
			why, failure := s.stopping.reason()
			s.log.Info("ended", "reason", why, "found", "the application was still being imported")
			return failure
		}
		return err
	}
	defer s.closeApplication()
	s.takeStored(ctx)
	if err := s.connect(ctx); err != nil {
		return err
	}
	if !s.o.Quiet {
		s.banner(s.output)
	}
	return s.work(ctx)
}

// rest is what USE_CELERY=false asks for: stay up and consume nothing, until the settings say otherwise or somebody ends it.
func (s *Supervisor) rest() (goOn bool, err error) {
	why := s.loaded.Load().Origins["broker.consume"].String() + " says so"
	s.log.Warn("consuming nothing", "reason", why, "next", "wait for other settings, or a signal to end")
	s.life.is(resting, why)
	for {
		select {
		case <-s.stopping.warm:
			why, err := s.stopping.reason()
			s.life.drains(why, 0)
			s.log.Info("ended", "reason", why)
			return false, err
		case <-s.applier.wake:
		}
		r, _ := s.applier.next()
		if r != nil {
			s.loaded.Store(r.Loaded)
			s.applier.took()
		}
		if r != nil && r.Loaded.Config.Broker.Consume {
			s.applier.importAnew(false) // it is imported now, and who asked hears of it when the node works
			return true, nil
		}
		s.applier.settled()
	}
}

func (s *Supervisor) startEmbedded(ctx context.Context, loops *sync.WaitGroup) error {
	c := s.loaded.Load().Config.Broker
	if c.URL != config.Embedded {
		return nil
	}
	e, err := startEmbedded(c.EmbeddedListen)
	if err != nil {
		return &SetupError{Err: err, Hint: "set broker.embedded_listen to a free port on 127.0.0.1"}
	}
	s.embedded = e
	loops.Go(func() { e.age(ctx) })
	s.log.Warn("embedded broker: for a first try, it keeps nothing when this process ends", "url", e.url)
	return nil
}

// work runs tasks until a stop is asked for, and drains.
func (s *Supervisor) work(ctx context.Context) error {
	c := s.current.Load().Config
	s.source = newSource(s)
	s.pool = pool.New(pool.Options{
		Source: s.source, Factory: s.generation.Load(), Log: s.log.Named("pool"), Grace: closeTimeout, Limits: poolLimits(c.Pool),
		Hooks: pool.Hooks{
			Started: func(_ int, took time.Duration) { s.tally.childStarted(took); s.scaler.started(took) },
			Closed:  func(_ int, reason pool.Reason) { s.tally.childClosed(reason); s.scaler.nudge() },
		},
	})
	ctx, cancel := context.WithCancel(ctx)
	var loops sync.WaitGroup
	defer loops.Wait()
	defer cancel()
	serving := make(chan error, 1)
	go func() { serving <- s.broker.Run(context.Background()) }() // ends with sayGoodbye, whatever else ends
	if s.control != nil {
		s.listenForPeers(ctx)
		s.followStored(ctx)
		loops.Go(func() { s.control.Run(ctx) })
	}
	if f := s.stored.Load(); f != nil {
		loops.Go(func() { f.run(ctx) })
	}
	s.scaler = newScaler(s)
	s.listenForFleet(ctx)
	s.consumes()
	loops.Go(func() { s.scaler.run(ctx) })
	loops.Go(func() { s.heartbeats(ctx) })
	loops.Go(func() { s.watch().run(ctx) })
	s.applier.begin(s.loaded.Load())
	applied, stopApplying := s.applying(ctx)

	var failure error
	connected := s.broker.Connected()
	for ending := false; !ending; {
		select {
		case <-connected:
			connected = nil
			s.generation.Load().ready()
			s.log.Info(s.node + " ready.")
		case failure = <-serving:
			s.stopping.fail(failure)
			ending = true
		case <-s.stopping.warm:
			ending = true
		}
	}
	if s.control != nil {
		s.control.Events.Leave()
	}
	stopApplying()
	<-applied
	why, asked := s.stopping.reason()
	s.generation.Load().stops(s.stopping.how())
	s.drain(why)
	return errors.Join(failure, asked, s.sayGoodbye())
}

func (s *Supervisor) drain(why string) {
	limits := s.current.Load().Config.Drain
	budget := limits.Budget()
	s.life.drains(why, budget)
	drain{claims: s.broker, pool: s.pool, source: s.source, cold: s.stopping.cold, margin: limits.Margin, log: s.log}.run(why, budget)
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	ended    chan struct{} // closed when serve has returned
	begun    time.Time
	node     string

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
	revokedKnown sync.Once                   // the first tasks waited for the list of the revoked
	renew        func(context.Context) error // starts a new generation of the application; nil: it is never started anew

	admin     *admin.Server // nil: none
	systemd   *systemd      // nil: not under systemd
	calm      *calm         // log
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
	s := &Supervisor{o: o, begun: time.Now(), stopping: newStopping(), ended: make(chan struct{}), ending: make(chan struct{}), output: o.Stderr, estimates: newEstimates()}
	if s.output == nil {
		s.output = os.Stderr
	}
	c := o.Loaded.Config
	if c.Log.File != "" {
		f, err := os.OpenFile(c.Log.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return nil, &SetupError{Err: fmt.Errorf("open log: %w", err), Hint: "check log.file, or --logfile"}
		}
		s.logFile, s.output = f, f
	}
	s.calm = newCalm(newLogger(c.Log, s.output))
	s.log, s.life = s.calm, newLife(s.begun)
	s.reloads.taken = s.begun
	s.metrics = admin.NewMetrics(s.sample)
	s.tally.metrics = s.metrics
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("name of this host: %w", err)
	}
	s.node = config.NodeName(c.Node, host)
	s.signals = newSignals(o.Signals)
	s.signals.warm, s.signals.cold = s.stopping.begin, s.stopping.now
	s.applier = newApplier(s)
	s.renew = s.applier.Renew
	s.watcher = reload.New(o.Loaded.Input(), o.Loaded, s.applier.take, s.log.Named("config"))
	s.signals.reload = s.reload
	s.systemd = newSystemd(s)
	return s, nil
}

func (s *Supervisor) closeLog() {
	if s.logFile != nil {
		s.logFile.Close()
	}
}

// serve is the node's life: everything is started in order, and stopped in the reverse order when a stop is asked for.
func (s *Supervisor) serve() error {
	defer close(s.ended)
	for _, note := range s.o.Loaded.Notes {
		s.log.Info("note: " + note.String())
	}
	for !s.o.Loaded.Config.Broker.Consume {
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
	s.limitMemory()
	if err := s.startEmbedded(ctx, &loops); err != nil {
		return err
	}
	if s.embedded != nil {
		defer s.embedded.close()
	}
	if err := s.startApplication(ctx); err != nil {
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
	s.log.Warn("consuming nothing", "reason", s.o.Loaded.Origins["broker.consume"].String()+" says so", "next", "wait for other settings, or a signal to end")
	s.life.is(resting, s.o.Loaded.Origins["broker.consume"].String()+" says so")
	for {
		select {
		case <-s.stopping.warm:
			why, err := s.stopping.reason()
			s.life.drains(why, 0)
			s.log.Info("ended", "reason", why)
			return false, err
		case <-s.applier.wake:
		}
		if r, _ := s.applier.next(); r != nil && r.Loaded.Config.Broker.Consume {
			s.o.Loaded = r.Loaded
			return true, nil
		}
	}
}

func (s *Supervisor) startEmbedded(ctx context.Context, loops *sync.WaitGroup) error {
	c := s.o.Loaded.Config.Broker
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

// startApplication imports the application and settles what its settings and ours make together.
func (s *Supervisor) startApplication(ctx context.Context) error {
	if s.withoutPython(s.o.Loaded.Config) {
		s.generation.Store(newGeneration(nil, nil))
		s.adopt(s.o.Loaded, python.Info{})
		return nil
	}
	s.life.is(starting, "importing "+s.o.Loaded.Config.Python.App)
	set, fallback := s.o.Loaded.Overrides()
	o, why, err := s.pythonOptions(&s.o.Loaded.Effective, set, fallback, s.o.Loaded.Vars)
	if err != nil {
		return &SetupError{Err: err}
	}
	if err := checkURLs(o.Conf); err != nil {
		return err
	}
	starting, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.stopping.warm:
			cancel()
		case <-starting.Done():
		}
	}()
	app, err := python.Start(starting, o)
	if err != nil {
		return s.startError(err)
	}
	s.generation.Store(newGeneration(app, set))
	info := app.Info()
	for _, w := range info.Warnings {
		s.log.Warn("application", "warning", w)
	}
	s.adopt(s.o.Loaded, info)
	s.log.Debug("application imported", "took", fmt.Sprintf("%.3fs", info.Seconds), "interpreter", o.Interpreter, "reason", why)
	return nil
}

// startError tells what an import error says, and whether a restart may cure it.
func (s *Supervisor) startError(err error) error {
	var bad *python.StartError
	if !errors.As(err, &bad) {
		return err
	}
	notes, hint := bad.Notes(), bad.Hint()
	if hint != "" {
		notes = notes[:len(notes)-1] // said last of all
	}
	if len(notes) > 0 {
		s.log.Error("application does not start", "found", strings.Join(notes, "\n"))
	}
	if bad.Module != "" || bad.Type == "AttributeError" || bad.Type == "SyntaxError" {
		return &SetupError{Err: bad, Hint: hint}
	}
	if hint != "" {
		return fmt.Errorf("%w; %s", bad, hint)
	}
	return bad
}

// store keeps what a task says of itself while it runs.
func (s *Supervisor) store(ctx context.Context, results []celery.Result) error {
	return s.broker.Store(ctx, results)
}

// closeTimeout bounds each step of the end that does not depend on tasks.
const closeTimeout = 5 * time.Second

const hintURLs = "set broker.url and results.url, or CELERY_BROKER_URL and CELERY_RESULT_BACKEND"

// connect checks where broker and results are, and prepares broker and control. No connection stays open yet.
func (s *Supervisor) connect(ctx context.Context) error {
	now := s.current.Load()
	target, results, err := s.targets(now)
	if err != nil {
		return &SetupError{Err: err, Hint: hintURLs}
	}
	if err := s.checkFitness(ctx, target); err != nil {
		return err
	}
	c := now.Config
	s.target = target
	s.consumed.set(c.Consumed())
	s.broker, err = broker.New(broker.Options{
		Target: target, Results: results, Node: s.node, Version: s.o.Version, StateDir: s.stateDir(),
		Queues: c.Consumed(), QueueOrder: c.Broker.QueueOrder, KeyPrefix: c.Broker.KeyPrefix, Separator: c.Broker.Separator,
		PrioritySteps: c.Broker.PrioritySteps, VisibilityTimeout: c.Broker.VisibilityTimeout,
		UnackedKey: text(now.info.Settings.BrokerTransport["unacked_key"]), UnackedIndexKey: text(now.info.Settings.BrokerTransport["unacked_index_key"]),
		UnackedMutexKey: text(now.info.Settings.BrokerTransport["unacked_mutex_key"]),
		ResultExpires:   c.Results.Expires, MaxBlocked: c.Broker.MaxBlocked, BlockTimeout: c.Broker.BlockTimeout,
		MaxDeliveries: c.Tasks.MaxDeliveries, MaxDeadLetters: c.DeadLetters.Max, DeadLetterAge: c.DeadLetters.MaxAge,
		BusyLease: c.Lease.TTL, IdleLease: c.Lease.IdleTTL, LookEvery: c.Lease.Look, PeersEvery: c.Lease.LookWithPeers, Quarantine: c.Lease.Quarantine,
		DialTimeout: c.Broker.ConnectTimeout, IOTimeout: c.Broker.SocketTimeout, Log: s.log.Named("broker"),
		Judge: func(queue string, raw []byte) broker.Settlement { return s.source.judge(queue, raw) }, // Run comes after work made the source
	})
	if err != nil {
		return &SetupError{Err: fmt.Errorf("broker: %w", err)}
	}
	s.turns = turns{shared: turnsOf(c.Broker.KeyPrefix, s.broker.Do), log: s.log.Named("task"), next: map[string]time.Time{}}
	if err := s.fill(s.generation.Load(), now, target, results); err != nil {
		return err
	}
	if !c.Control.Enabled {
		return nil
	}
	s.control, err = control.New(control.Options{
		Name: s.node, Log: s.log.Named("control"), Node: s.controlled(),
		Names:       control.NewNames(target.DB, now.info.Settings.BrokerTransport, text(now.info.Conf["control_exchange"]), text(now.info.Conf["event_exchange"])),
		Connect:     redisClient(target, "control"),
		Events:      control.EventOptions{Enabled: c.Events.Enabled, Every: c.Events.Heartbeat, Version: now.info.Celery, Load: s.tally.load},
		RevokedMost: c.Control.RevokesMax, RevokedAge: c.Control.RevokeExpire,
	})
	if err != nil {
		return fmt.Errorf("remote control: %w", err)
	}
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
	s.generation.Load().ready()
	s.applier.begin(s.o.Loaded)
	applied, stopApplying := s.applying(ctx)
	s.log.Info(s.node + " ready.")

	var failure error
	select {
	case failure = <-serving:
		s.stopping.fail(failure)
	case <-s.stopping.warm:
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

// listenForPeers has the broker look for other nodes when one says that it is there.
func (s *Supervisor) listenForPeers(ctx context.Context) {
	err := s.control.Subscribe(ctx, s.broker.NoticeChannel(), func(string) { s.broker.Notice() })
	if err != nil {
		s.log.Warn("listen for other nodes", "error", err, "next", "look for them from time to time")
	}
}

func (s *Supervisor) drain(why string) {
	budget := s.current.Load().Config.Drain.Budget()
	s.life.drains(why, budget)
	drain{claims: s.broker, pool: s.pool, source: s.source, cold: s.stopping.cold, log: s.log}.run(why, budget)
}

func (s *Supervisor) sayGoodbye() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := s.broker.Close(ctx); err != nil {
		return fmt.Errorf("close broker: %w", err)
	}
	return nil
}

// stateDir is where locks tell the next node on this host that this one is alive; empty if there is no such place.
func (s *Supervisor) stateDir() string {
	dir := os.Getenv("STATE_DIRECTORY") // systemd
	if dir == "" {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("agensium-%d", os.Getuid()))
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		s.log.Warn("no directory for locks", "error", err, "next", "after a crash a restart waits for the lease")
		return ""
	}
	return dir
}

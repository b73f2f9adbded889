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

	current   atomic.Pointer[settings]
	embedded  *embedded
	app       *python.Application // nil: only tasks in Go and commands
	goTasks   *goTasks            // nil: only the application
	factory   pool.Factory
	broker    *broker.Broker
	control   *control.Control
	pool      *pool.Pool
	source    *source
	tally     tally
	consumed  consumed
	scaler    *scaler
	estimates *estimates

	target       *redisconn.Target // of the broker
	turns        turns
	asked        askedLimits
	terminations terminations
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
	s := &Supervisor{o: o, begun: time.Now(), stopping: newStopping(), ended: make(chan struct{}), output: o.Stderr, estimates: newEstimates()}
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
	if !s.o.Loaded.Config.Broker.Consume {
		return s.rest()
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var loops sync.WaitGroup
	defer loops.Wait()
	defer cancel() // before loops.Wait

	if s.o.Handlers == nil { // a handler may start processes of its own and wants their status
		if err := child.BecomeSubreaper(); err != nil {
			s.log.Debug("orphans of children are not reaped", "error", err)
		}
		loops.Go(func() { child.ReapStrangers(ctx) })
	}
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
	if err := s.connect(ctx); err != nil {
		return err
	}
	if !s.o.Quiet {
		s.banner(s.output)
	}
	return s.work(ctx)
}

// rest is what USE_CELERY=false asks for: stay up and consume nothing.
func (s *Supervisor) rest() error {
	s.log.Warn("consuming nothing", "reason", s.o.Loaded.Origins["broker.consume"].String()+" says so", "next", "waiting for a signal to end")
	s.life.is(resting, s.o.Loaded.Origins["broker.consume"].String()+" says so")
	<-s.stopping.warm
	why, err := s.stopping.reason()
	s.life.drains(why, 0)
	s.log.Info("ended", "reason", why)
	return err
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
	c := s.o.Loaded.Config
	if s.withoutPython() {
		s.adopt(s.o.Loaded, python.Info{})
		return nil
	}
	s.life.is(starting, "importing "+c.Python.App)
	path, why, err := config.Interpreter(c.Python, os.LookupEnv)
	if err != nil {
		return &SetupError{Err: err}
	}
	set, fallback := s.o.Loaded.Overrides()
	if s.embedded != nil {
		set["broker_url"], set["result_backend"] = s.embedded.url, s.embedded.url
	}
	if err := checkURLs(set); err != nil {
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
	o := python.Options{
		Interpreter: path, App: c.Python.App, Dir: c.Python.Directory, Env: environment(c.Python.Environment, s.o.Loaded.Vars),
		Mode: c.Python.Start, Node: s.node, Include: c.Python.Include, Concurrency: c.Pool.Concurrency, Exclude: c.Broker.Exclude,
		LogLevel: celeryLevel(c.Log.Level), Conf: set, Defaults: fallback, Store: s.store, StartTimeout: c.Python.StartTimeout,
		Log: everyLine(s.log).Named("python"),
	}
	if s.o.Loaded.Origins.Set("broker.queues") {
		o.Queues = c.Broker.Queues
	}
	app, err := python.Start(starting, o)
	if err != nil {
		return s.startError(err)
	}
	s.app = app
	info := app.Info()
	for _, w := range info.Warnings {
		s.log.Warn("application", "warning", w)
	}
	s.adopt(s.o.Loaded, info)
	s.log.Debug("application imported", "took", fmt.Sprintf("%.3fs", info.Seconds), "interpreter", path, "reason", why)
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
	if s.factory, err = s.executors(now, target, results); err != nil {
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
		Source: s.source, Factory: s.factory, Log: s.log.Named("pool"), Grace: closeTimeout,
		Limits: pool.Limits{MaxTasks: c.Pool.MaxTasksPerChild, MaxMemory: int64(c.Pool.MaxMemoryPerChild), MaxAge: c.Pool.MaxAgePerChild},
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
		loops.Go(func() { s.control.Run(ctx) })
	}
	s.scaler = newScaler(s)
	s.consumes()
	loops.Go(func() { s.scaler.run(ctx) })
	loops.Go(func() { s.heartbeats(ctx) })
	loops.Go(func() { s.watch().run(ctx) })
	s.applicationReady()
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
	why, asked := s.stopping.reason()
	s.applicationStops()
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

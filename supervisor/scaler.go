package supervisor

import (
	"context"
	"maps"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/autoscale"
	"github.com/agensium/agensium/supervisor/config"
	"github.com/agensium/agensium/supervisor/limits"
)

// scaler asks the scaling decision how many slots there should be and tells the pool. It looks when something happened that may
// change the answer, and otherwise when the decision says.
type scaler struct {
	pool      *pool.Pool
	settings  func() *settings
	depths    func(context.Context) (map[string]int, error)
	queues    func() []string
	estimates *estimates
	claims    holder
	fleet     *fleet
	self      func() string // the broker's incarnation
	app       func() *python.Application
	limits    *limits.Reader
	zygote    func() int64 // resident memory, bytes
	processes bool         // a slot is a process
	log       hclog.Logger
	note      func(time.Time, autoscale.Decision) // for the status
	draining  func() bool                         // the slots go, whatever the load is
	wake      chan struct{}
	resting   atomic.Bool // nothing is looked at for long, unless somebody says that something happened

	// of run alone
	spare    bool                // the broker may hold a message for a slot that is to come
	paused   bool                // the broker claims nothing
	empty    time.Time           // since when there has been no slot; zero: there are some
	slept    *python.Application // was unloaded since; nil: none
	shared   shared              // what the broker was told last
	sleepers sync.WaitGroup
	private  map[int]int64 // memory of each slot's child, when last looked

	mu        sync.Mutex // guards what follows
	temporary autoscale.Temporary
	asked     *askedBounds // of --autoscale, by remote control; nil: as the settings say
	last      autoscale.Decision
	startTime time.Duration
	usages    usages
	cpu       map[int]cpuSeen
	seen      map[string]int // waiting messages by queue, counted for somebody who looks; nil: no news
	perTask   float64        // processors that a running task uses, a slowly fading maximum
}

// holder is what the scaler needs of the broker.
type holder interface {
	Spare(told func()) // hold one message for a slot that is to come
	Held() bool        // there is one
	Pause(on bool)     // claim nothing
	SetShares(most int, of map[string]broker.Share)
}

// What Redis connections a node has for itself, and a child at the most: one to publish with, one for results.
const (
	ownConnections   = 8
	childConnections = 2
)

type cpuSeen struct {
	used time.Duration
	when time.Time
}

func newScaler(s *Supervisor) *scaler {
	reader, err := limits.Open()
	if err != nil {
		s.log.Debug("read limits of memory and processors", "error", err)
	}
	return &scaler{
		pool: s.pool, processes: s.generation.Load().app != nil, settings: s.current.Load, depths: s.broker.Depths, queues: s.consumed.list, estimates: s.estimates,
		fleet: &fleet{meet: s.broker.Meet, log: s.log.Named("fleet")}, self: func() string { return s.broker.Status().Incarnation },
		claims: s.broker, app: func() *python.Application { return s.generation.Load().app }, limits: reader, zygote: func() int64 { return s.current.Load().info.RSS }, log: s.log.Named("scaling"),
		note: s.decisions.note, draining: func() bool { return s.life.now().phase == draining }, wake: make(chan struct{}, 1), startTime: 20 * time.Millisecond, usages: newUsages(), cpu: map[int]cpuSeen{}, private: map[int]int64{},
	}
}

// nudge makes the scaler look now. It never waits and may be called by anyone.
func (c *scaler) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// taken is told of each task that a slot got, which may have been the last idle one.
func (c *scaler) taken() {
	if c.resting.Load() {
		c.nudge()
	}
}

// started notes how long an executor took to start.
func (c *scaler) started(took time.Duration) {
	c.mu.Lock()
	c.startTime = (3*c.startTime + took) / 4
	c.mu.Unlock()
	c.nudge()
}

// run decides until ctx ends.
func (c *scaler) run(ctx context.Context) {
	var state autoscale.State
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer c.sleepers.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		now := time.Now()
		var decision autoscale.Decision
		policy, sample := c.policy(), c.sample(ctx, now)
		state, decision = autoscale.Decide(policy, state, sample, now)
		c.resting.Store(decision.NextCheck > time.Second)
		if !c.draining() {
			c.follow(decision)
		}
		c.share(decision.Capacity)
		c.hold(policy, sample, decision)
		timer.Reset(min(decision.NextCheck, c.sleep(ctx, sample.Slots, decision, now)))
	}
}

// follow tells the pool, and the log if something changed.
func (c *scaler) follow(d autoscale.Decision) {
	c.mu.Lock()
	before := c.last
	c.last = d
	c.mu.Unlock()
	c.note(time.Now(), d)
	c.relieve(d.Pressure)
	c.pool.Resize(d.Target)
	if d.Target != before.Target || d.Bound != before.Bound {
		fields := []any{"before", before.Target}
		if d.Bound != "" {
			fields = append(fields, "bound", d.Bound)
		}
		c.log.Info(d.Reason, fields...) // which begins with the target
	}
}

// policy is what settings and remote control ask for now.
func (c *scaler) policy() autoscale.Policy {
	p := policyOf(c.settings().Effective)
	if !c.processes && !c.settings().Origins.Set("scaling.min") {
		p = autoscale.Fixed(p.Max) // slots that are goroutines cost nothing
	}
	c.mu.Lock()
	p.Temporary = c.temporary
	if c.asked != nil {
		p.Max, p.Min = c.asked.most, c.asked.least
	}
	c.mu.Unlock()
	return p
}

// policyOf reads the settings: --concurrency alone asks for a fixed number, as with Celery.
func policyOf(e *config.Effective) autoscale.Policy {
	c := e.Config
	if !c.Broker.Consume {
		return autoscale.Fixed(0)
	}
	most := c.Pool.Concurrency
	if e.Origins["pool.concurrency"].Name == "--concurrency" && !e.Origins.Set("scaling.min") {
		return autoscale.Fixed(most)
	}
	return autoscale.Policy{
		Min: c.Scaling.Min, Max: most, SLO: c.Scaling.SLO, Window: c.Scaling.Window, ZeroAfter: c.Scaling.ZeroAfter, Starts: c.Pool.MaxStarting,
	}
}

// bound sets what remote control asks for, until the next one.
func (c *scaler) bound(t autoscale.Temporary) {
	c.mu.Lock()
	c.temporary = t
	c.mu.Unlock()
	c.nudge()
}

// sample looks at everything that the decision needs. The queues are counted, which costs commands, only when it matters: no slot
// is idle that every queue may use, the broker would not take a message without one either, and there could be more of them.
func (c *scaler) sample(ctx context.Context, now time.Time) autoscale.Sample {
	status := c.pool.Status()
	s := autoscale.Sample{Slots: autoscale.Slots{Idle: status.Count(pool.Idle), Busy: status.Count(pool.Busy), Starting: status.Count(pool.Starting)}}
	var due map[string]int
	if c.claims.Held() {
		s.Slots.Owed = 1
	}
	p, minima := c.policy(), c.settings().Config.Scaling.Queues
	s.Heard = c.spare && s.Slots.Owed == 0 && len(minima) == 0
	open := s.Slots.Idle - c.estimates.kept(c.queues(), minima) // idle slots that wait on every queue
	if fixed := p.Min >= p.Max; !fixed && open <= 0 && !s.Heard && s.Slots.Busy+s.Slots.Owed > 0 && s.Slots.Busy+s.Slots.Starting < p.Max {
		var err error
		if due, err = c.depths(ctx); err != nil {
			c.log.Debug("queues not counted", "error", err)
			s.Unknown = true
		}
	} else if due = c.noticed(); open > 0 || s.Heard || s.Slots.Busy == 0 {
		due = map[string]int{} // an idle slot, or the broker for one to come, waits on every queue: they are empty
	} else {
		s.Unknown = due == nil
	}
	c.fleet.look(ctx, c.settings().Config.Scaling.Fleet && s.Slots.Busy+s.Slots.Owed > 0, now, c.ourselves(s.Slots))
	s.Self, s.Peers = c.self(), c.fleet.list()
	c.estimates.sample(&s, c.queues(), due, minima, c.fleet.queue, now)
	c.look(&s, status, now)
	return s
}

// notice is told what waits in the queues by who has counted it for another reason.
func (c *scaler) notice(due map[string]int) {
	c.mu.Lock()
	c.seen = due
	c.mu.Unlock()
	c.nudge()
}

// noticed is what was told since the last time; nil: nothing.
func (c *scaler) noticed() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	due := c.seen
	c.seen = nil
	return due
}

// look reads memory and processors, of this node and of its children.
func (c *scaler) look(s *autoscale.Sample, status pool.Status, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.StartTime = c.startTime
	if c.limits == nil || !c.processes {
		return
	}
	var largest, private int64
	c.perTask *= 0.999
	seen := make(map[int]cpuSeen, len(status.Slots))
	clear(c.private)
	for _, slot := range status.Slots {
		if slot.PID == 0 {
			continue
		}
		usage, err := c.usages.of(slot.PID, now)
		if err != nil {
			continue
		}
		private += usage.Private
		c.private[slot.ID] = usage.Private
		largest = max(largest, usage.Private)
		if was, ok := c.cpu[slot.PID]; ok && slot.State == pool.Busy && now.Sub(was.when) > 100*time.Millisecond {
			c.perTask = max(c.perTask, min(1, float64(usage.CPU-was.used)/float64(now.Sub(was.when))))
		}
		seen[slot.PID] = cpuSeen{usage.CPU, now}
	}
	c.cpu = seen
	maps.DeleteFunc(c.usages.last, func(pid int, _ reading) bool { _, lives := seen[pid]; return !lives })
	set := c.settings().Config
	s.Memory = memoryOf(c.limits, int64(set.Scaling.MemoryLimit), c.zygote(), private)
	s.Memory.Child = c.estimates.childMemory(largest, autoscale.GuessChild(c.zygote(), int64(set.Pool.MaxMemoryPerChild)))
	if p, ok := c.limits.Pressure(); ok {
		s.Memory.Some, s.Memory.Full = p.Some, p.Full
	}
	cores, _ := c.limits.Cores(runtime.NumCPU())
	s.CPU = autoscale.CPU{Cores: cores, PerTask: c.perTask}
	if budget := set.Broker.MaxConnections; budget > 0 {
		s.Connections = max(1, (budget-ownConnections)/childConnections)
	}
}

// memoryOf is what there is and what is used, by the limit of the system or the configured one, whichever is less.
func memoryOf(r *limits.Reader, configured, zygote, children int64) autoscale.Memory {
	m := r.Memory()
	if configured > 0 && (m.Limit == 0 || configured < m.Limit) {
		own, _ := child.ResidentOf(os.Getpid())
		return autoscale.Memory{Limit: configured, Used: own + zygote + children, Children: children}
	}
	return autoscale.Memory{Limit: m.Limit, Used: m.Used, Children: children}
}

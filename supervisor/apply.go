package supervisor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
	"github.com/agensium/agensium/supervisor/reload"
)

// errSuperseded ends the start of a generation whose settings have changed again.
var errSuperseded = errors.New("the settings have changed again")

// applier takes over settings that were read again, one reading after the other. What can fail comes first: after an error
// everything is as it was. Of several readings that wait the last one counts.
type applier struct {
	s    *Supervisor
	log  hclog.Logger
	wake chan struct{}

	mu      sync.Mutex // guards what follows
	waiting *reload.Result
	asked   uint64                  // the newest reload asked for that a reading answers, be it one that waits
	refused error                   // of the newest reading; nil: it was not
	anew    bool                    // a reload was asked for: the reading that waits goes with a new generation, whatever it says
	renewal []chan<- error          // who asked for a new generation whatever the settings say
	abandon context.CancelCauseFunc // ends the start of a generation; nil: none starts

	// of run alone
	accepted *config.Config // what was asked for last, what needs a restart included
	loaded   *config.Loaded // the reading that is in force
}

func newApplier(s *Supervisor) *applier {
	return &applier{s: s, log: everyLine(s.log).Named("config"), wake: make(chan struct{}, 1)}
}

// importAnew has the application imported anew with the reading that is applied next, whatever that says: its code may be another. Or not
// any more.
func (a *applier) importAnew(anew bool) {
	a.mu.Lock()
	a.anew = anew
	a.mu.Unlock()
}

// take is what the watcher reports to. The first reading that answers a reload goes with a new generation, or refuses it.
func (a *applier) take(r reload.Result) {
	a.mu.Lock()
	a.refused = r.Err
	a.mu.Unlock()
	if r.Err != nil {
		a.refuse(r)
	}
	a.mu.Lock()
	if r.Err == nil {
		a.waiting, a.anew = &r, a.anew || r.Asked > a.asked
		if a.abandon != nil {
			a.abandon(errSuperseded)
		}
	}
	a.asked = r.Asked
	a.mu.Unlock()
	a.nudge()
}

// settled tells those who asked for a reload that it has gone well or not, unless a reading waits that answers it.
func (a *applier) settled() {
	a.mu.Lock()
	asked, waits := a.asked, a.waiting != nil
	a.mu.Unlock()
	if !waits {
		a.s.reloads.answer(asked)
	}
}

func (a *applier) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// refuse says what is wrong with the settings. Those in force stay.
func (a *applier) refuse(r reload.Result) {
	a.s.reloads.note(time.Now(), r.Err)
	const refused, next = "reload refused", "keep the old settings"
	var problems config.Problems
	if !errors.As(r.Err, &problems) {
		a.log.Error(refused, "reason", r.Cause, "error", r.Err, "next", next)
		return
	}
	for _, p := range problems {
		a.log.Error(refused, "reason", r.Cause, "file", p.File, "line", p.Line, "key", p.Key, "error", p.Message, "hint", p.Hint, "next", next)
	}
}

// next is the reading that waits, and who waits for a new generation.
func (a *applier) next() (*reload.Result, []chan<- error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, renewal := a.waiting, a.renewal
	a.waiting, a.renewal = nil, nil
	return r, renewal
}

// begin notes what the node started with.
func (a *applier) begin(loaded *config.Loaded) {
	a.accepted, a.loaded = a.s.current.Load().Config, loaded
	a.s.reloads.from(storedVersion(loaded))
}

// applying runs the applier until stop is called or ctx ends, and then closes done.
func (s *Supervisor) applying(ctx context.Context) (done <-chan struct{}, stop context.CancelFunc) {
	ctx, stop = context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.applier.run(ctx)
	}()
	return ended, stop
}

// watchSettings is the actor that reads the settings again. It never ends because a file is bad, or because it cannot be watched.
func (s *Supervisor) watchSettings(ctx context.Context) error {
	if err := s.watcher.Run(ctx); err != nil {
		s.log.Warn("watch the settings", "error", err)
	}
	<-ctx.Done()
	return nil
}

// run applies until ctx ends.
func (a *applier) run(ctx context.Context) {
	defer func() {
		_, renewal := a.next()
		answer(renewal, context.Cause(ctx))
	}()
	a.settled() // what the start took
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		}
		r, renewal := a.next()
		if r != nil {
			a.apply(ctx, r)
		}
		if len(renewal) > 0 {
			answer(renewal, a.renew(ctx))
		}
		if ctx.Err() == nil { // else it may have been given up
			a.settled()
		}
	}
}

func answer(all []chan<- error, err error) {
	for _, c := range all {
		c <- err
	}
}

// Renew starts a new generation with the settings in force, and returns when it makes the children.
func (a *applier) Renew(ctx context.Context) error {
	done := make(chan error, 1)
	a.mu.Lock()
	a.renewal = append(a.renewal, done)
	a.mu.Unlock()
	a.nudge()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (a *applier) renew(ctx context.Context) error {
	now := a.s.current.Load()
	next, info, err := a.start(ctx, now.Effective, a.loaded)
	if err == nil {
		renewed := a.s.newSettings(now.Effective, info)
		if err = a.fill(next, renewed); err == nil {
			a.s.current.Store(renewed)
			a.s.succeed(next)
		}
	}
	return err
}

// fill completes a generation, or ends it.
func (a *applier) fill(g *generation, now *settings) error {
	target, results, err := a.s.targets(now)
	if err == nil {
		err = a.s.fill(g, now, target, results)
	}
	if err != nil {
		g.close(a.log)
	}
	return err
}

// gaveUp tells whether a setting that was imposed on the application is not set any more. What the application itself says of it shows
// only when it is imported anew.
func (a *applier) gaveUp(e *config.Effective) bool {
	set, _ := e.Overrides()
	for name := range a.s.generation.Load().imposed {
		if _, ok := set[name]; !ok {
			return true
		}
	}
	return false
}

// apply takes over one reading, all of it or nothing.
func (a *applier) apply(ctx context.Context, r *reload.Result) {
	now := a.s.current.Load()
	wanted, taken := a.s.resolve(r.Loaded, now.info), a.s.resolve(r.Loaded, now.info)
	taken.Pin(now.Effective)
	possible := config.Diff(now.Config, taken.Config)
	variables := changedNames(a.loaded.Vars, r.Loaded.Vars)

	info := now.info
	var next *generation
	a.mu.Lock()
	anew := a.anew && !a.s.withoutPython(taken.Config)
	a.anew = false
	a.mu.Unlock()
	if anew {
		a.log.Info("importing the application anew", "reason", r.Cause)
	}
	if anew || len(variables) > 0 || a.gaveUp(taken) || slices.ContainsFunc(possible, renews) {
		var err error
		next, info, err = a.start(ctx, taken, r.Loaded)
		if err == nil {
			wanted, taken = a.s.resolve(r.Loaded, info), a.s.resolve(r.Loaded, info)
			taken.Pin(now.Effective)
			err = a.fill(next, a.s.newSettings(taken, info))
		}
		if err != nil && (errors.Is(err, errSuperseded) || ctx.Err() != nil) {
			if anew {
				a.importAnew(true)
			}
			return
		}
		if err != nil {
			a.s.reloads.note(time.Now(), err)
			a.log.Error("new generation did not start", "reason", r.Cause, "error", err, "next", "keep the old one and the old settings")
			return
		}
	}

	changes := config.Diff(a.accepted, wanted.Config) // what the application says itself shows where a setting was given up
	a.accepted, a.loaded = wanted.Config, r.Loaded
	a.s.current.Store(a.s.newSettings(taken, info))
	a.s.turnTo(ctx, now.Config, taken.Config)
	if next != nil {
		a.s.succeed(next)
	}
	a.tell(changes, variables, now.Effective, wanted) // now: who reads that a setting changed may count on it
	for _, note := range taken.Notes {
		if !slices.Contains(now.Notes, note) {
			a.log.Info("note", "key", note.Key, "text", note.Text)
		}
	}
	a.took()
	a.s.reloads.from(storedVersion(r.Loaded))
	if len(changes) == 0 && len(variables) == 0 && (next == nil || anew) && r.Cause != causeStart {
		a.log.Info("settings are as they were", "reason", r.Cause)
	}
}

// took notes that a reading is in force.
func (a *applier) took() {
	a.s.reloads.note(time.Now(), nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused != nil { // while this reading was applied
		a.s.reloads.stands(a.refused)
	}
}

// start imports the application anew. The old generation works on meanwhile.
func (a *applier) start(ctx context.Context, e *config.Effective, loaded *config.Loaded) (*generation, python.Info, error) {
	var none python.Info
	if a.s.withoutPython(e.Config) {
		return newGeneration(nil, nil), none, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.mu.Lock()
	a.abandon = cancel
	superseded := a.waiting != nil
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.abandon = nil
		a.mu.Unlock()
	}()
	if superseded {
		return nil, none, errSuperseded
	}
	set, _ := e.Overrides()
	_, fallback := loaded.Overrides()
	for name, running := range map[string]string{"broker_url": e.Config.Broker.URL, "result_backend": e.Config.Results.URL} {
		if _, ok := fallback[name]; ok {
			fallback[name] = running // a change of it needs a restart
		}
	}
	o, _, err := a.s.pythonOptions(e, set, fallback, loaded.Vars)
	if err != nil {
		return nil, none, err
	}
	a.log.Info("new generation", "interpreter", o.Interpreter, "app", o.App, "next", "import the application")
	app, err := python.Start(ctx, o)
	if err != nil && context.Cause(ctx) == errSuperseded {
		return nil, none, errSuperseded
	}
	var bad *python.StartError
	if errors.As(err, &bad) {
		for _, line := range bad.Notes() {
			a.log.Error("application", "note", line)
		}
	}
	if err != nil {
		return nil, none, err
	}
	for _, w := range app.Info().Warnings {
		a.log.Warn("application", "warning", w)
	}
	return newGeneration(app, set), app.Info(), nil
}

// storedVersion is the version of the settings in Redis that were read with the others.
func storedVersion(l *config.Loaded) int {
	if doc := l.Input().Stored; doc != nil {
		return doc.Version
	}
	return 0
}

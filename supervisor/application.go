package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
)

// startApplication imports the application and settles what its settings and ours make together.
func (s *Supervisor) startApplication(ctx context.Context) error {
	l := s.loaded.Load()
	if s.withoutPython(l.Config) {
		s.generation.Store(newGeneration(nil, nil))
		s.adopt(l, python.Info{})
		return nil
	}
	s.life.is(starting, "importing "+l.Config.Python.App)
	set, fallback := l.Overrides()
	o, why, err := s.pythonOptions(&l.Effective, set, fallback, l.Vars)
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
	info := app.Info()
	if err := somethingToRun(l.Config, info); err != nil {
		return errors.Join(err, app.Close(ctx))
	}
	s.generation.Store(newGeneration(app, set))
	for _, w := range info.Warnings {
		s.log.Warn("application", "warning", w)
	}
	s.adopt(l, info)
	s.log.Debug("application imported", "took", fmt.Sprintf("%.3fs", info.Seconds), "interpreter", o.Interpreter, "reason", why)
	return nil
}

// somethingToRun refuses to start where no application was named and none was found: Celery's default one has no tasks but its own,
// unless a celeryconfig.py brings some.
func somethingToRun(c *config.Config, info python.Info) error {
	if c.Python.App != "" {
		return nil
	}
	for name := range info.Tasks {
		if !strings.HasPrefix(name, "celery.") {
			return nil
		}
	}
	return &SetupError{Err: errors.New("there is nothing to run: no application is named, and Celery's default one has no tasks"),
		Hint: "name the application, as with celery: agensium worker -A module:app; or set python.app or CELERY_APP"}
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
	if bad.OfTheCode() {
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

// pythonOptions says how the application is to be started.
func (s *Supervisor) pythonOptions(e *config.Effective, set, fallback map[string]any, vars map[string]string) (o python.Options, why string, err error) {
	c := e.Config
	path, why, err := config.Interpreter(c.Python, os.LookupEnv)
	if err != nil {
		return o, "", fmt.Errorf("find the interpreter: %w", err)
	}
	if s.embedded != nil {
		set = maps.Clone(set)
		set["broker_url"], set["result_backend"] = s.embedded.url, s.embedded.url
	}
	o = python.Options{
		Interpreter: path, App: c.Python.App, Dir: c.Python.Directory, Env: environment(c.Python.Environment, vars),
		Mode: c.Python.Start, Node: s.node, Include: c.Python.Include, Concurrency: c.Pool.Concurrency, Exclude: c.Broker.Exclude,
		LogLevel: celeryLevel(c.Log.Level), Conf: set, Defaults: fallback, Store: s.store, StartTimeout: c.Python.StartTimeout, OOMScoreAdj: c.Pool.OOMScoreAdj,
		Log: everyLine(s.log).Named("python"), Printed: s.printed.Named("python"),
	}
	if e.Origins.Set("broker.queues") {
		o.Queues = c.Broker.Queues
	}
	return o, why, nil
}

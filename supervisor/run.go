package supervisor

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/oklog/run"

	"github.com/agensium/agensium/celery"
	"github.com/agensium/agensium/pool/child"
	"github.com/agensium/agensium/supervisor/config"
)

// Options say what to run. The zero value runs what agensium.toml and the environment say, as the program does.
type Options struct {
	Handlers *celery.Mux      // tasks that run in this process; nil: none
	Loaded   *config.Loaded   // the settings; nil: agensium.toml here, .env and the environment. What they were read from is watched
	Stderr   io.Writer        // banner and log; nil: os.Stderr
	Signals  <-chan os.Signal // nil: those of the process
	Quiet    bool             // no banner
	Version  string           // of the program
}

// SetupError is an error that a restart does not cure: something is set up wrong, and Hint says what to do.
type SetupError struct {
	Err  error
	Hint string
}

func (e *SetupError) Error() string { return e.Err.Error() }
func (e *SetupError) Unwrap() error { return e.Err }

// Run runs a supervisor until a signal or ctx ends it, and returns when everything it started has ended: nil after an orderly
// drain. Several may run in one process if each has Signals of its own. With Handlers and no application no Python is
// started; with both, a task that has a handler runs there.
//
// As PID 1 of a container with Handlers, and without Signals of its own, Run starts the program again as a child, since somebody has to reap
// orphans who cannot be mistaken for a handler that waits for a process of its own. PID 1 then hands on signals, and ends with
// the child's exit status without returning from Run.
func Run(ctx context.Context, o Options) error {
	if o.Handlers != nil && o.Signals == nil && os.Getpid() == 1 {
		status, err := child.Init()
		if err == nil {
			os.Exit(status)
		}
		hclog.Default().Warn("orphans are not reaped", "error", err)
	}
	if o.Loaded == nil {
		var err error
		if o.Loaded, err = config.Load(config.Input{}); err != nil {
			return &SetupError{Err: fmt.Errorf("read settings: %w", err), Hint: "see agensium.toml and the environment"}
		}
	}
	s, err := newSupervisor(o)
	if err != nil {
		return err
	}
	defer s.closeLog()
	if err := s.openAdmin(); err != nil {
		return err
	}

	var g run.Group
	s.actor(&g, "supervisor", s.serve, func(error) { s.stopping.begin("another part of the process ended") })
	s.actor(&g, "signals", s.signals.run, s.signals.stop)
	watching, stopWatching := context.WithCancel(context.Background())
	s.actor(&g, "config", func() error { return s.watchSettings(watching) }, func(error) { stopWatching() })
	if s.admin != nil {
		s.actor(&g, "admin", s.admin.Run, func(error) { s.admin.Stop() }) // stays up during the drain
	}
	if s.systemd != nil {
		s.actor(&g, "systemd", s.systemd.run, s.systemd.stop)
	}
	ended := make(chan struct{})
	s.actor(&g, "context", func() error {
		select {
		case <-ctx.Done():
			s.stopping.begin("asked by the program")
		case <-ended:
		}
		<-ended // the group ends when serve does, not when somebody asks for it, and with serve's error, which the group has by now
		return nil
	}, func(error) { close(ended) })
	return g.Run()
}

func (s *Supervisor) actor(g *run.Group, name string, execute func() error, interrupt func(error)) {
	g.Add(func() error {
		err := execute()
		s.log.Debug("actor ended", "actor", name, "error", err)
		return named(name, err)
	}, interrupt)
}

func named(name string, err error) error {
	if err == nil || name == "supervisor" {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

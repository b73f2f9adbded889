package supervisor

import (
	"context"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
)

// Inspection is what a worker with the same settings would work with.
type Inspection struct {
	*config.Effective                   // the application's settings included, unless it could not be started
	Broker, Results   *redisconn.Target // nil for the embedded broker, which exists only while a worker runs
	Interpreter, Why  string            // path, and how it was found
	Info              python.Info
	StartError        error // why the application could not be started

	Resolve func(*config.Loaded) *config.Effective // adds what the application says to other settings
}

// Inspect imports the application as Run does, settles the settings, and ends what it started. An application that does not start
// is part of the findings; the error is about the settings.
func Inspect(ctx context.Context, o Options) (*Inspection, error) {
	silent := hclog.NewNullLogger()
	s := &Supervisor{o: o, log: silent, printed: silent, stopping: newStopping(), life: newLife(time.Now()), ending: make(chan struct{})}
	s.loaded.Store(o.Loaded)
	s.current.Store(&settings{Effective: &o.Loaded.Effective})
	found := &Inspection{}
	if c := o.Loaded.Config.Python; c.App != "" {
		found.Interpreter, found.Why, _ = config.Interpreter(c, os.LookupEnv)
		if found.StartError = s.startApplication(ctx); found.StartError == nil {
			s.closeApplication()
			found.Info = s.current.Load().info
		}
	}
	now := s.current.Load()
	found.Effective = now.Effective
	found.Resolve = func(l *config.Loaded) *config.Effective {
		if now.info.Celery == "" { // no application, or it did not start
			return &l.Effective
		}
		return s.resolve(l, now.info)
	}
	if now.Config.Broker.URL == config.Embedded {
		return found, nil
	}
	var err error
	if found.Broker, found.Results, err = s.targets(now); err != nil {
		return nil, &SetupError{Err: err, Hint: hintURLs}
	}
	return found, nil
}

package supervisor

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/agensium/agensium/celery/broker"
	"github.com/agensium/agensium/pool"
	"github.com/agensium/agensium/supervisor/admin"
	"github.com/agensium/agensium/supervisor/config"
)

// defaultListen is where the admin server listens unless somebody wants it elsewhere.
const defaultListen = "127.0.0.1:8080"

// openAdmin opens the admin address, before the application is imported. Two nodes on one host that both have the default run
// both, one of them without HTTP; who asks for a certain address gets it or an error.
func (s *Supervisor) openAdmin() error {
	c := s.loaded.Load().Config.Admin
	if c.Listen == "" {
		return nil
	}
	server, err := admin.Listen(c.Listen, admin.Options{
		Node: adminNode{s}, Name: s.node, Home: s.home(), Metrics: s.metrics.Handler(), Token: func() string { return s.configNow().Admin.Token }, Log: s.log.Named("admin"),
	})
	if err == nil {
		s.admin = server
		s.log.Info("admin server", "address", server.Addr(), "serves", "/livez /readyz /metrics /status")
		return nil
	}
	why := err.Error()
	if errors.Is(err, syscall.EADDRINUSE) {
		why = c.Listen + " is in use, by another node perhaps"
	}
	if c.Listen != defaultListen && s.loaded.Load().Origins.Set("admin.listen") {
		return &SetupError{Err: fmt.Errorf("admin server: %w", err), Hint: fmt.Sprintf("give admin.listen (%s) a free address, or \"\" for none", s.loaded.Load().Origins["admin.listen"])}
	}
	s.log.Warn("no admin server", "address", c.Listen, "reason", why,
		"next", "go on without health, metrics and status over HTTP; set admin.listen to a free address, or to \"\" for none")
	return nil
}

// home is where the node is at home: its settings file, or without one the directory that it works in.
func (s *Supervisor) home() string {
	if s.loaded.Load().Path != "" {
		return absolute(s.loaded.Load().Path)
	}
	return absolute(".")
}

// absolute falls back to the path as it is if the directory is gone.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// configNow are the settings in place, those of the files until the application has been imported.
func (s *Supervisor) configNow() *config.Config {
	if now := s.current.Load(); now != nil {
		return now.Config
	}
	return s.loaded.Load().Config
}

// adminNode is the node as the admin server may use it.
type adminNode struct{ *Supervisor }

func (n adminNode) Reload(reason string) { n.signals.reload(reason) }
func (n adminNode) Drain(reason string)  { n.stopping.begin(reason) }

// parts are those of a node that runs.
type parts struct {
	broker *broker.Broker
	pool   *pool.Pool
}

// running returns the parts; they are nil until the node begins to consume.
func (s *Supervisor) running() parts {
	if p := s.parts.Load(); p != nil {
		return *p
	}
	return parts{}
}

// consumes notes that the node has all its parts and begins to consume.
func (s *Supervisor) consumes() {
	s.parts.Store(&parts{s.broker, s.pool})
	s.life.is(consuming, strings.Join(s.consumed.list(), ", "))
}

// watch keeps an eye on progress.
func (s *Supervisor) watch() *watch {
	return &watch{
		broker: s.broker, life: s.life, log: s.log.Named("progress"), stalls: func() { s.tally.stalls.Add(1) }, give: s.stopping.fail,
		timeout: func() time.Duration { return s.configNow().Broker.StallTimeout },
	}
}

// reload has the settings read again, those in Redis first, and the application imported anew. It does not wait.
func (s *Supervisor) reload(why string) {
	if f := s.stored.Load(); f != nil {
		f.reload(why)
		return
	}
	s.read(why)
}

func (s *Supervisor) read(why string) { s.reloads.ask(s.watcher.Reload(why)) }

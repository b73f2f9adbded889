package check

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor/config"
)

// Subject is what [Run] looks at.
type Subject struct {
	Settings *config.Effective // the application's settings included, if it could be imported
	Broker   *redisconn.Target // nil: the embedded one
	Results  *redisconn.Target // nil, or the same as Broker: no Redis of its own
	App      *Application      // nil: no application is configured
	Env      config.Lookup     // nil: os.LookupEnv
	Resolver *net.Resolver     // nil: the system's
	Each     func(Result)      // is called with each result as soon as it is there; may be nil
}

const (
	patience   = 10 * time.Second // for a connection or an answer, unless the settings have less
	keyExpires = time.Minute      // of our own keys, should nobody delete them
)

// Run goes through all steps. It ends early where a step leaves nothing to ask the next one about.
func Run(ctx context.Context, s Subject) Report {
	if s.Env == nil {
		s.Env = os.LookupEnv
	}
	if s.Resolver == nil {
		s.Resolver = net.DefaultResolver
	}
	r := &run{Subject: s}
	if s.Broker == nil {
		r.add(warning("url", "Set broker.url to a Redis of your own for anything else.", "embedded: each worker starts a Redis of its own, for a first try; it keeps nothing"))
	} else {
		r.redis(ctx, s.Broker, "broker.url", "", s.connections())
	}
	if s.Results != nil && !s.Results.Same(s.Broker) {
		r.redis(ctx, s.Results, "results.url", "results ", 1)
	}
	if s.App != nil {
		r.application()
	}
	return r.report
}

// run is one check under way.
type run struct {
	Subject
	prefix string // of the names of steps
	report Report
}

func (r *run) add(result Result) Result {
	result.Name = r.prefix + result.Name
	r.report = append(r.report, result)
	if r.Each != nil {
		r.Each(result)
	}
	return result
}

// redis looks at one Redis. needs is the number of connections that one node opens to it.
func (r *run) redis(ctx context.Context, t *redisconn.Target, key, prefix string, needs int) {
	r.prefix = prefix
	defer func() { r.prefix = "" }()
	r.add(ok("url", "%s (%s)", t, r.Settings.Origins[key]))
	for _, note := range t.Notes {
		r.add(warning("url", "", "%s", note))
	}
	f := r.ask(ctx, t, needs)
	if name, _, _ := r.whose(t.Host, f); f != nil || name != plain { // whose it is may explain why it cannot be reached
		r.add(r.provider(t, f))
	}
}

// ask does all that takes a connection. It returns nil if it had to end early.
func (r *run) ask(ctx context.Context, t *redisconn.Target, needs int) facts {
	if !r.reach(ctx, t) {
		return nil
	}
	s := r.open(t)
	defer s.close()
	if !s.greet(ctx) {
		return nil
	}
	f, err := readFacts(ctx, s.client)
	if err != nil {
		r.add(refused("server", "INFO", err))
		return nil
	}
	if r.add(f.server()).Mark == Failed || !s.work(ctx) {
		return nil
	}
	r.add(f.memory())
	r.add(f.persistence())
	r.add(f.connections(needs))
	r.add(f.database(t))
	r.add(s.latency(ctx))
	return f
}

// connections is how many one node opens to its broker.
func (s *Subject) connections() int {
	c := s.Settings.Config
	n := 2 + min(len(c.Consumed())*len(c.Broker.PrioritySteps), c.Broker.MaxBlocked) // commands, further commands, waiting
	if c.Control.Enabled {
		n++
	}
	return n
}

func (s *Subject) timeout() time.Duration {
	return min(patience, s.Settings.Config.Broker.ConnectTimeout)
}

func shown(d time.Duration) time.Duration {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond)
	case d < time.Second:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(10 * time.Millisecond)
}

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
	Nothing  bool              // and nothing else that could run
	Env      config.Lookup     // nil: os.LookupEnv
	Resolver *net.Resolver     // nil: the system's
	Each     func(Result)      // is called with each result as soon as it is there; may be nil
}

// forResultsPrefix begins the names of the steps of a Redis that is only for results.
const forResultsPrefix = "results "

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
	apart := s.Results != nil && !s.Results.Same(s.Broker) // the results are somewhere else
	of := forMessages
	if s.Results != nil && !apart {
		of |= forResults
	}
	if s.Broker == nil {
		r.add(warning("url", "Set broker.url to a Redis of your own for anything else.", "embedded: each worker starts a Redis of its own, for a first try; it keeps nothing"))
	} else {
		r.redis(ctx, s.Broker, of)
	}
	if apart {
		r.prefix = forResultsPrefix
		r.redis(ctx, s.Results, forResults)
		r.prefix = ""
	}
	switch {
	case s.App != nil:
		r.application()
	case s.Nothing:
		r.add(warning("application", "Name it: agensium check -A module:app; or set python.app or CELERY_APP.", "none is named: only Redis was looked at"))
	}
	r.commands(s.Settings.Config.Commands)
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

// redis looks at one Redis.
func (r *run) redis(ctx context.Context, t *redisconn.Target, of role) {
	key := "broker.url"
	if of == forResults {
		key = "results.url"
	}
	r.add(ok("url", "%s (%s)", t, r.Settings.Origins[key]))
	for _, note := range t.Notes {
		r.add(warning("url", "", "%s", note))
	}
	if of == forResults && r.sameServer() { // what is true of the server has been said
		s := r.open(t, of)
		defer s.close()
		if s.greet(ctx) {
			s.prove(ctx)
		}
		return
	}
	f := r.ask(ctx, t, of)
	if name, _, _ := r.whose(t.Host, f); f != nil || name != plain { // whose it is may explain why it cannot be reached
		r.add(r.provider(t, f, of))
	}
}

// ask does all that takes a connection. It returns nil if it had to end early.
func (r *run) ask(ctx context.Context, t *redisconn.Target, of role) facts {
	if !r.reach(ctx, t) {
		return nil
	}
	s := r.open(t, of)
	defer s.close()
	if !s.greet(ctx) {
		return nil
	}
	f, err := readFacts(ctx, s.client)
	if err != nil {
		r.add(refused("server", "INFO", err))
		return nil
	}
	if r.add(f.server()).Mark == Failed || !s.prove(ctx) {
		return nil
	}
	r.add(f.memory())
	r.add(f.persistence())
	r.add(f.connections(r.connections(of)))
	r.add(f.database(t))
	r.add(s.latency(ctx))
	return f
}

// sameServer tells whether broker and results differ in the database only, or in the user.
func (s *Subject) sameServer() bool {
	b, r := s.Broker, s.Results
	return b != nil && b.Master == "" && r.Master == "" && b.Unix == r.Unix && b.Addr() == r.Addr() && (b.TLS() == nil) == (r.TLS() == nil)
}

// connections is how many one node opens: to claim and settle, to look around, to wait, two of remote control, one for results that are not with
// the messages. Those of Celery's own code in the children come on top.
func (s *Subject) connections(of role) int {
	if of == forResults {
		return 1
	}
	c := s.Settings.Config
	n := 2 + min(len(c.Consumed())*len(c.Broker.PrioritySteps), c.Broker.MaxBlocked)
	if c.Control.Enabled {
		n += 2
	}
	if s.Results != nil && of&forResults == 0 && s.sameServer() {
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

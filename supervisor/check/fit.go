package check

import (
	"context"
	"net"
	"time"

	"github.com/agensium/agensium/celery/redisconn"
	"github.com/agensium/agensium/supervisor/config"
)

// startPatience bounds [Fit]: a worker waits no longer for it at its start.
const startPatience = 5 * time.Second

// Fit is the check that a worker does at its start: one connection, one pipeline. It returns what deserves a look, marked Failed
// where no waiting will help and the worker should not go on. A Redis that is not there, or tells nothing, is not unfit.
func Fit(ctx context.Context, t *redisconn.Target, settings *config.Effective) Report {
	f, to, unfit := meet(ctx, t, "broker")
	if f == nil {
		return unfit
	}
	s := Subject{Settings: settings}
	server := f.server()
	if server.Cause == redisconn.ReadOnly {
		server.Mark = Warning // a failover may be under way
	}
	results := Report{server, f.memory(), f.connections(s.connections(forMessages | forResults))}
	if t.TLS() == nil && to != nil {
		results = append(results, unprotected(t, to))
	}
	var report Report
	for _, r := range results {
		if r.Mark != OK && f.told(r.Name) {
			report = append(report, r)
		}
	}
	return report
}

// FitForResults does the same for a result store on a server of its own.
func FitForResults(ctx context.Context, t *redisconn.Target) Report {
	_, _, unfit := meet(ctx, t, "results")
	return unfit
}

// meet connects and asks; without an answer it says why, if that will not pass by itself.
func meet(ctx context.Context, t *redisconn.Target, step string) (facts, net.Addr, Report) {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	var to net.Addr
	client := t.Client(redisconn.ClientOptions{
		Name: "agensium-check", DialTimeout: startPatience, ReadTimeout: startPatience, WriteTimeout: startPatience,
		OnDial: func(c net.Conn) { to = c.RemoteAddr() },
	})
	defer client.Close()
	f, err := readFacts(ctx, client)
	if err != nil {
		c := redisconn.Classify(err)
		r := unanswered(ctx, t, refused(step, "connect", err))
		if r.Cause == c.Name && (c.Retryable || c.Name == redisconn.Other) {
			return nil, nil, nil // the broker says so itself, and goes on trying
		}
		return nil, nil, Report{r}
	}
	return f, to, nil
}

// told tells whether a result rests on something: at every start of a worker, what a provider keeps to itself is no news.
func (f facts) told(step string) bool {
	switch step {
	case "server":
		return f["redis_version"] != ""
	case "memory":
		return f["maxmemory-policy"] != ""
	case "connections":
		return f["maxclients"] != "" && f["connected_clients"] != ""
	}
	return true
}

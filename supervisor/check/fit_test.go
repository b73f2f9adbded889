package check

import (
	"context"
	"testing"

	"github.com/agensium/agensium/celery/celerytest"
	"github.com/agensium/agensium/celery/redisconn"
)

func fit(t *testing.T, url string) Report {
	t.Helper()
	return Fit(context.Background(), target(t, url, nil), settings(t))
}

func TestStartWithFitBroker(t *testing.T) {
	s := celerytest.StartRedis(t)
	p := celerytest.StartProxy(t, s.Addr())
	if r := fit(t, p.URL(0)); len(r) != 0 {
		t.Errorf("%+v", r)
	}
	if n := len(p.Requests()); n > 7 {
		t.Errorf("%d commands: %v", n, p.Requests())
	}
}

func TestStartWithDoubtfulBroker(t *testing.T) {
	s := celerytest.StartRedis(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--maxclients", "5")
	r := fit(t, s.URL(0))
	r.expect(t, "memory", Warning, "", "noeviction")
	r.expect(t, "connections", Warning, "", "too few")
	if !r.OK() {
		t.Error("a worker can go on")
	}
}

// What may pass is waited for; for what will not a worker does not wait.
func TestStartGoesOnOrStops(t *testing.T) {
	a := newAuthority(t)
	locked := celerytest.StartRedis(t, "--requirepass", secret)
	cluster := celerytest.StartRedis(t, "--cluster-enabled", "yes")
	replica := celerytest.StartRedis(t, "--replicaof", "127.0.0.1 1")
	full := celerytest.StartRedis(t, "--maxclients", "1")
	only := full.Client(0) // the connection that has asked whether the server is ready may not be gone yet
	celerytest.Eventually(t, "the only connection", func() bool { return only.Ping(t.Context()).Err() == nil })
	secure := target(t, a.url(a.serve(t, "127.0.0.1", day), ""), nil)
	for name, c := range map[string]struct {
		url   string
		mark  Mark // empty: nothing to say
		cause string
	}{
		"not there":          {"redis://127.0.0.1:1", "", ""},
		"no password":        {locked.URL(0), Failed, redisconn.Auth},
		"wrong password":     {as(locked, ":no"), Failed, redisconn.Auth},
		"no connection left": {full.URL(0), "", ""},
		"no such database":   {as(locked, ":"+secret) + "99", Failed, redisconn.WrongDB},
		"cluster mode":       {cluster.URL(0), Failed, redisconn.Cluster},
		"replica":            {replica.URL(0), Warning, redisconn.ReadOnly},
		"unknown authority":  {secure.String(), Failed, redisconn.TLS},
		"plain to TLS":       {"redis://" + secure.Addr(), Failed, redisconn.TLS},
	} {
		t.Run(name, func(t *testing.T) {
			r := fit(t, c.url)
			if c.mark == "" && len(r) == 0 {
				return
			}
			if len(r) == 0 || r[0].Mark != c.mark || r[0].Cause != c.cause {
				t.Errorf("got %+v", r)
			}
		})
	}
}

// A user that may not look at the server is no reason to warn at every start.
func TestStartWithSilentBroker(t *testing.T) {
	s := celerytest.StartRedis(t)
	do(t, s.Client(0), "ACL", "SETUSER", "shy", "on", ">"+secret, "~*", "&*", "+@all", "-info", "-config")
	if r := fit(t, as(s, "shy:"+secret)); len(r) != 0 {
		t.Errorf("%+v", r)
	}
}

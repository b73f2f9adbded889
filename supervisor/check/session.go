package check

import (
	"context"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/agensium/agensium/celery/redisconn"
)

// session is a connection that proves each thing that the broker, the results and remote control do.
type session struct {
	*run
	target *redisconn.Target
	client *redis.Client
	to     net.Addr // of the last connection
	role   role
	family string // what the names begin with that our own keys and channel are among
	name   string // what these begin with
}

func (r *run) open(t *redisconn.Target, of role) *session {
	s := &session{run: r, target: t, role: of, family: r.Settings.Config.Broker.KeyPrefix + "agensium:"}
	if of == forResults { // a user of that Redis may have nothing to do with other names
		s.family = resultKeys
	}
	s.name = s.family + "check:" + uuid.NewString()
	s.client = t.Client(redisconn.ClientOptions{
		Name: "agensium-check", DialTimeout: r.timeout(), ReadTimeout: r.timeout(), WriteTimeout: r.timeout(),
		OnDial: func(c net.Conn) { s.to = c.RemoteAddr() },
	})
	return s
}

func (s *session) close() { _ = s.client.Close() }

// greet logs in, selects the database and says PING. It tells whether it makes sense to go on.
func (s *session) greet(ctx context.Context) bool {
	begun := time.Now()
	err := s.client.Ping(ctx).Err()
	switch redisconn.Classify(err).Name {
	case "":
		s.add(s.login())
		s.add(ok("ping", "PONG in %s", shown(time.Since(begun))))
		return true
	case redisconn.Auth:
		s.add(refused("auth", "log in", err))
	case redisconn.WrongDB, redisconn.Cluster:
		s.add(s.login())
		s.add(refused("database", fmt.Sprintf("select database %d", s.target.DB), err))
	case redisconn.NoPerm: // it may still do the rest
		s.add(s.login())
		s.add(refused("ping", "PING", err))
		return true
	default:
		s.add(unanswered(ctx, s.target, refused("ping", "PING", err)))
	}
	return false
}

func (s *session) login() Result {
	user := s.target.Username
	switch {
	case user != "":
		return ok("auth", "logged in as %s", user)
	case s.target.HasPassword():
		return ok("auth", "logged in with a password")
	case loopback(s.to):
		return ok("auth", "no password is wanted")
	}
	return warning("auth", "Set a password (requirepass, or ACL users) and put it into the URL.",
		"no password is wanted: whoever reaches this address can read and write all tasks")
}

func loopback(a net.Addr) bool {
	tcp, isTCP := a.(*net.TCPAddr)
	return !isTCP || tcp.IP.IsLoopback()
}

const (
	pings = 50
	slow  = 20 * time.Millisecond
)

// latency measures the time to and fro. Each task takes at least one such round.
func (s *session) latency(ctx context.Context) Result {
	var times []time.Duration
	for begun := time.Now(); len(times) < pings && time.Since(begun) < 3*time.Second; {
		sent := time.Now()
		if err := s.client.Ping(ctx).Err(); err != nil {
			return refused("latency", "PING", err)
		}
		times = append(times, time.Since(sent))
	}
	slices.Sort(times)
	half, most := times[len(times)/2], times[len(times)*99/100]
	if half >= slow {
		return warning("latency", "Put agensium and Redis into the same region: each task waits for at least one round.",
			"p50 %s, p99 %s of %d PINGs", shown(half), shown(most), len(times))
	}
	return ok("latency", "p50 %s, p99 %s of %d PINGs", shown(half), shown(most), len(times))
}

func (s *session) key(name string) string { return s.name + ":" + name }

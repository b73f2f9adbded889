package check

import (
	"context"
	"errors"
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
	name   string   // what our own keys and channel begin with
}

func (r *run) open(t *redisconn.Target) *session {
	s := &session{run: r, target: t, name: r.Settings.Config.Broker.KeyPrefix + "agensium:check:" + uuid.NewString()}
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

// proof is one thing that has to work.
type proof struct {
	name, text string
	try        func(context.Context) (doing string, err error)
}

// work does what the broker does, on keys of its own. It tells whether the server is still there.
func (s *session) work(ctx context.Context) bool {
	defer s.clean()
	for _, p := range []proof{
		{"set/get/del", "SET with expiry, GET, DEL", s.keys},
		{"lists", "LPUSH, LMOVE, BLMOVE", s.lists},
		{"scripts", "MULTI, EVAL, hashes, sorted sets", s.scripts},
		{"pub/sub", "SUBSCRIBE, PUBLISH", s.pubsub},
	} {
		begun := time.Now()
		doing, err := p.try(ctx)
		if err == nil {
			s.add(ok(p.name, "%s in %s", p.text, shown(time.Since(begun))))
			continue
		}
		if s.add(refused(p.name, doing, err)).Cause == redisconn.Unreachable {
			return false
		}
	}
	return true
}

func (s *session) key(name string) string { return s.name + ":" + name }

func (s *session) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout())
	defer cancel()
	for _, name := range []string{"value", "queue", "claim", "hash", "set"} { // one by one: a cluster would refuse them all
		_ = s.client.Del(ctx, s.key(name)).Err()
	}
}

func (s *session) keys(ctx context.Context) (string, error) {
	key := s.key("value")
	if err := s.client.Set(ctx, key, "fit", keyExpires).Err(); err != nil {
		return "SET", err
	}
	got, err := s.client.Get(ctx, key).Result()
	if err == nil && got != "fit" {
		err = fmt.Errorf("SET wrote %q, GET reads %q", "fit", got)
	}
	if err != nil {
		return "GET", err
	}
	return "DEL", s.client.Del(ctx, key).Err()
}

// lists does what claims do, the blocking command both with and without something to move.
func (s *session) lists(ctx context.Context) (string, error) {
	queue, claim := s.key("queue"), s.key("claim")
	if err := s.client.LPush(ctx, queue, "message").Err(); err != nil {
		return "LPUSH", err
	}
	if err := s.client.PExpire(ctx, queue, keyExpires).Err(); err != nil {
		return "PEXPIRE", err
	}
	if err := s.client.LMove(ctx, queue, claim, "RIGHT", "LEFT").Err(); err != nil {
		return "LMOVE", err
	}
	if err := s.client.PExpire(ctx, claim, keyExpires).Err(); err != nil {
		return "PEXPIRE", err
	}
	for range 2 { // the second time there is nothing to move
		err := s.client.Do(ctx, "BLMOVE", claim, queue, "RIGHT", "LEFT", "0.05").Err()
		if err != nil && !errors.Is(err, redis.Nil) {
			return "BLMOVE", err
		}
	}
	return "DEL", s.client.Del(ctx, queue).Err()
}

// script touches what the broker's scripts touch.
const script = `redis.call('HSET', KEYS[1], 'tag', ARGV[1])
redis.call('ZADD', KEYS[2], 1, 'tag')
return redis.call('HDEL', KEYS[1], 'tag') + redis.call('ZREM', KEYS[2], 'tag')`

func (s *session) scripts(ctx context.Context) (string, error) {
	hash, set := s.key("hash"), s.key("set")
	_, err := s.client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.HSet(ctx, hash, "field", "message")
		p.PExpire(ctx, hash, keyExpires)
		p.ZAdd(ctx, set, redis.Z{Score: 1, Member: "field"})
		p.PExpire(ctx, set, keyExpires)
		return nil
	})
	if err != nil {
		return "MULTI with HSET, ZADD", err
	}
	removed, err := s.client.Eval(ctx, script, []string{hash, set}, "message").Int()
	if err == nil && removed != 2 {
		err = fmt.Errorf("the script removed %d entries, not 2", removed)
	}
	if err != nil {
		return "EVAL", err
	}
	if err := s.client.Del(ctx, hash).Err(); err != nil {
		return "DEL", err
	}
	return "DEL", s.client.Del(ctx, set).Err()
}

func (s *session) pubsub(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	channel := s.key("channel")
	sub := s.client.Subscribe(ctx, channel)
	defer sub.Close()
	if _, err := sub.ReceiveTimeout(ctx, s.timeout()); err != nil {
		return "SUBSCRIBE", err
	}
	if err := s.client.Publish(ctx, channel, "fit").Err(); err != nil {
		return "PUBLISH", err
	}
	_, err := sub.ReceiveTimeout(ctx, s.timeout())
	return "receive what was published", err
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

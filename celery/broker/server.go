package broker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// server tells whether it is still the same process that answers as our Redis. Another one (restarted, or a replica after a failover) may
// have forgotten the last writes: claim keys that we deleted are there again with their messages, and claims that we made are back in
// their queues. Nothing is written under the old names then: a new incarnation begins, which looks what is left, and the old names are
// swept like those of a dead node.
type server struct {
	mu    sync.Mutex
	run   string    // its run_id; empty: whoever answers next
	began time.Time // when that process did; zero: it does not tell

	silent   time.Time // since when it has not taken our writes; zero: it does
	regained time.Time // when it took them again after so long that leases of others may have ended
}

var errServerChanged = errors.New("another Redis process answers, which may have forgotten the last writes")

// greet is called on each new connection. A server that does not tell who it is passes.
func (b *Broker) greet(ctx context.Context, conn *redis.Conn) error {
	b.tally.commands.add(purposeRegistry, 1)
	info, err := conn.Info(ctx, "server").Result()
	if err != nil {
		if answered(err) {
			err = nil
		}
		return err
	}
	run := field(info, "run_id:")
	b.known.mu.Lock()
	defer b.known.mu.Unlock()
	if up, err := strconv.Atoi(field(info, "uptime_in_seconds:")); err == nil {
		b.known.began = time.Now().Add(-time.Duration(up+1) * time.Second) // at the earliest
	}
	switch {
	case run == "" || run == b.known.run:
	case b.known.run == "":
		b.known.run = run
	default:
		b.lease.lose(lapseServer)
		return errServerChanged
	}
	return nil
}

// meet takes whoever answers next for the server. The engine calls it when it begins an incarnation.
func (s *server) meet() {
	s.mu.Lock()
	s.run = ""
	s.mu.Unlock()
}

// heard takes in how a write that was sent at that time ended. If Redis refused it (full, a replica, a script …) or took its time, other
// nodes could not renew their leases either.
func (s *server) heard(sent time.Time, err error, lease time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent.IsZero() || sent.Before(s.silent) {
		s.silent = sent
	}
	switch {
	case refused(err) != nil:
		s.silent = s.silent.Add(-lease) // nobody's are taken, and who knows since when
	case answered(err):
		if time.Since(s.silent) > lease/10 {
			s.regained = time.Now()
		}
		s.silent = time.Time{}
	}
}

// back returns for how long yet a node that was there before this Redis process, or before it took writes again, is given time to renew its
// lease: if it could not, that the lease has ended proves nothing.
func (s *server) back(started time.Time, grace time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wait time.Duration
	for _, at := range []time.Time{s.began, s.regained} {
		if !at.IsZero() && !started.IsZero() && started.Before(at) {
			wait = max(wait, time.Until(at.Add(grace)))
		}
	}
	return wait
}

// beganEmpty tells whether the process that answered INFO is known to have begun with no data at all: no snapshot, no log of commands, no
// master that it copied. One that does not tell, as before Redis 7, is not known to.
func beganEmpty(answer *redis.Cmd) bool {
	info, err := answer.Text()
	return err == nil && field(info, "rdb_last_load_keys_loaded:") == "0" && field(info, "aof_enabled:") == "0" &&
		field(info, "role:") == "master" && field(info, "second_repl_offset:") == "-1"
}

// field is a value of INFO.
func field(info, name string) string {
	_, rest, _ := strings.Cut(info, name)
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

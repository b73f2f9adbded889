package broker

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// server tells whether it is still the same process that answers as our Redis. Another one (restarted, or a replica after a failover) may
// have forgotten the last writes: claim keys that we deleted are there again with their messages, and claims that we made are back in
// their queues. Nothing is written under the old names then: a new incarnation begins, which looks what is left, and the old names are
// swept like those of a dead node.
type server struct {
	mu  sync.Mutex
	run string // its run_id; empty: whoever answers next
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
	_, rest, _ := strings.Cut(info, "run_id:")
	run, _, _ := strings.Cut(rest, "\r\n")
	b.known.mu.Lock()
	defer b.known.mu.Unlock()
	switch {
	case run == "" || run == b.known.run:
	case b.known.run == "":
		b.known.run = run
	default:
		b.lease.lose()
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

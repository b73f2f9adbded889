package supervisor

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// embedded is the Redis in this process: for a first try, in memory only.
type embedded struct {
	server *miniredis.Miniredis
	url    string
}

// startEmbedded listens on addr, which must be on loopback: the server has no password.
func startEmbedded(addr string) (*embedded, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("embedded broker: address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("embedded broker: %s is not a loopback address, and the embedded broker has no password", addr)
	}
	server := miniredis.NewMiniRedis()
	if err := server.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("embedded broker: listen on %s: %w", addr, err)
	}
	return &embedded{server: server, url: "redis://" + server.Addr() + "/0"}, nil
}

// age lets keys expire: the server has no clock of its own.
func (e *embedded) age(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.server.FastForward(time.Second)
		case <-ctx.Done():
			return
		}
	}
}

func (e *embedded) close() { e.server.Close() }

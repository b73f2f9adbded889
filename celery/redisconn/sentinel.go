package redisconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// findMaster asks the sentinels in turn for the address of the master. It is asked anew for every connection: after
// a failover the old connections break or are refused as read-only, and the next one goes to the new master.
func (t *Target) findMaster(ctx context.Context, timeout time.Duration) (string, error) {
	each := timeout / time.Duration(len(t.sentinels)+1) // a dead sentinel must not use up the time of the others
	var failures []error
	for _, addr := range t.sentinels {
		master, err := t.askSentinel(ctx, addr, each)
		if err == nil {
			return master, nil
		}
		if errors.Is(err, redis.Nil) {
			err = errUnknownMaster
		}
		failures = append(failures, fmt.Errorf("sentinel %s: %w", addr, err))
	}
	return "", fmt.Errorf("ask for the address of master %q: %w", t.Master, errors.Join(failures...))
}

var errUnknownMaster = errors.New("does not know this master")

func (t *Target) askSentinel(ctx context.Context, addr string, timeout time.Duration) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c := redis.NewSentinelClient(&redis.Options{
		Addr: addr,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return undialed(dial(ctx, network, addr, t.sentinel.tls, nil))
		},
		Protocol:              2,
		Username:              t.sentinel.username,
		Password:              t.sentinel.password,
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           timeout,
		ReadTimeout:           timeout,
		ContextTimeoutEnabled: true,
		PoolSize:              1,
		PipelinePoolSize:      -1,
		DisableIdentity:       true,
	})
	defer func() { _ = c.Close() }()
	at, err := c.GetMasterAddrByName(ctx, t.Master).Result()
	if err != nil {
		return "", err
	}
	if len(at) != 2 {
		return "", fmt.Errorf("answered with %d elements, not host and port", len(at))
	}
	return net.JoinHostPort(at[0], at[1]), nil
}

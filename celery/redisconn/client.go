package redisconn

import (
	"context"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// What go-redis logs by itself, one line for each dial that did not succeed, is in the errors that it returns.
func init() { logging.Disable() }

const (
	defaultDialTimeout = 5 * time.Second
	defaultIOTimeout   = 10 * time.Second
)

// ClientOptions says how a client is to behave. Zero timeouts mean the transport options socket_timeout and
// socket_connect_timeout, and without these 10 s and 5 s.
type ClientOptions struct {
	Name         string // CLIENT SETNAME; empty: the transport option client_name
	PoolSize     int    // most connections that it opens; 0 means 1
	DialTimeout  time.Duration
	ReadTimeout  time.Duration // of one reply; a blocking command adds its own timeout
	WriteTimeout time.Duration
	// OnDial is called with each new connection, below TLS and before anything is sent, on the goroutine that dials.
	// To close it is the way to end a blocking command.
	OnDial func(net.Conn)
	// OnConnect is called with each new connection after its handshake, before the first command. Its error ends the connection, and is the
	// error of that command.
	OnConnect func(context.Context, *redis.Conn) error
}

// Client returns a client that is not connected yet. It opens a connection when a command needs one, repeats
// nothing (a command that was cut may have been done), honours the deadline of a command's context, and sends nothing
// on connect but HELLO 2 (or AUTH where HELLO is refused), SELECT and CLIENT SETNAME. The caller closes it.
//
// Cancelling a context does not end a command that waits for its reply: its deadline, the read timeout or closing
// the connection does.
func (t *Target) Client(o ClientOptions) *redis.Client {
	if o.Name == "" {
		o.Name = t.clientName
	}
	o.DialTimeout = firstSet(o.DialTimeout, t.connectTimeout, defaultDialTimeout)
	o.ReadTimeout = firstSet(o.ReadTimeout, t.socketTimeout, defaultIOTimeout)
	o.WriteTimeout = firstSet(o.WriteTimeout, t.socketTimeout, defaultIOTimeout)
	size := max(o.PoolSize, 1)
	return redis.NewClient(&redis.Options{
		Addr:       t.Addr(),
		ClientName: o.Name,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return undialed(t.dial(ctx, o.DialTimeout, o.OnDial))
		},
		OnConnect:             o.OnConnect,
		Protocol:              2,
		Username:              t.Username,
		Password:              t.password,
		DB:                    t.DB,
		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           o.DialTimeout,
		ReadTimeout:           o.ReadTimeout,
		WriteTimeout:          o.WriteTimeout,
		ContextTimeoutEnabled: true,
		PoolSize:              size,
		MaxActiveConns:        size,
		PipelinePoolSize:      -1, // pipelines use the pool's connections, not ten more
		ConnMaxIdleTime:       -1,
		DisableIdentity:       true,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	})
}

func firstSet(ds ...time.Duration) time.Duration {
	for _, d := range ds {
		if d > 0 {
			return d
		}
	}
	return 0
}

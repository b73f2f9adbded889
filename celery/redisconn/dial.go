package redisconn

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"syscall"
	"time"
)

// A connection that has died without a word is noticed by keepalive probes when it waits (30 s + 3 × 5 s), by
// TCP_USER_TIMEOUT when it sends, and by the read deadline in either case.
const userTimeout = 20 * time.Second

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3}

// HandshakeError is a TLS handshake that did not come about.
type HandshakeError struct {
	Addr string
	Err  error
}

func (e *HandshakeError) Error() string {
	return fmt.Sprintf("TLS handshake with %s: %v", e.Addr, e.Err)
}
func (e *HandshakeError) Unwrap() error { return e.Err }

// dial connects to the target, or to the master that its sentinels name, and shakes hands.
func (t *Target) dial(ctx context.Context, timeout time.Duration, onDial func(net.Conn)) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	network, addr := "tcp", t.Addr()
	switch {
	case t.Unix:
		network = "unix"
	case t.Master != "":
		var err error
		if addr, err = t.findMaster(ctx, timeout); err != nil {
			return nil, err
		}
	}
	return dial(ctx, network, addr, t.tls, onDial)
}

func dial(ctx context.Context, network, addr string, config *tls.Config, onDial func(net.Conn)) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: keepAlive, Control: control}
	raw, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if onDial != nil {
		onDial(raw)
	}
	if config == nil {
		return &checkedConn{greeting{Conn: raw}, raw.(syscall.Conn)}, nil
	}
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(addr)
	}
	conn := tls.Client(raw, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, &HandshakeError{Addr: addr, Err: err}
	}
	return &checkedConn{greeting{Conn: conn, secure: true}, raw.(syscall.Conn)}, nil
}

// checkedConn lets go-redis see whether the server has closed an idle connection before it is used. Under TLS there is something to
// read then, too: in the protocol that we speak, only what ends the connection comes unasked.
type checkedConn struct {
	greeting
	raw syscall.Conn
}

func (c *checkedConn) SyscallConn() (syscall.RawConn, error) { return c.raw.SyscallConn() }

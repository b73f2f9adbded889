package redisconn

import (
	"net"
	"time"
)

// undialed makes a dial that did not succeed look to go-redis like a connection that breaks at once, with the error of
// the dial. After as many failed dials as its pool has places go-redis would answer all commands with the last error
// and dial once a second by itself, even a while after the client is closed; but when to try again is our caller's.
func undialed(conn net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return &stillborn{err: &layer{err}}, nil
	}
	return conn, nil
}

// layer is taken off by go-redis, which hands out errors.Unwrap of what broke a handshake.
type layer struct{ error }

func (l *layer) Unwrap() error { return l.error }

// stillborn is a connection that was never there.
type stillborn struct{ err error }

func (c *stillborn) Read([]byte) (int, error)         { return 0, c.err }
func (c *stillborn) Write([]byte) (int, error)        { return 0, c.err }
func (c *stillborn) Close() error                     { return nil }
func (c *stillborn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *stillborn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *stillborn) SetDeadline(time.Time) error      { return nil }
func (c *stillborn) SetReadDeadline(time.Time) error  { return nil }
func (c *stillborn) SetWriteDeadline(time.Time) error { return nil }

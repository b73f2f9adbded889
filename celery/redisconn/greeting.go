package redisconn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"
)

// RefusedError is what a server said before it hung up, such as "ERR max number of clients reached". Without it the
// caller would only see the connection end: go-redis takes any error in reply to HELLO for an old server.
type RefusedError struct {
	Reply string // without the leading dash
	Err   error  // how the connection ended
}

func (e *RefusedError) Error() string { return e.Reply }
func (e *RefusedError) Unwrap() error { return e.Err }

// errHungUp is a connection that the server closed before it said anything, as one that speaks TLS does.
var errHungUp = errors.New("server closed the connection before the first reply")

// errSpeaksTLS is an answer in TLS to a plain connection.
var errSpeaksTLS = errors.New("server answered in TLS")

// greeting listens to the first words of a server. When the connection ends right after an error, the end is
// reported as that error; when it ends before any word, the end of a TLS connection is part of the handshake: only after
// its own part of that does a client hear what the server thinks of its certificate.
type greeting struct {
	net.Conn
	secure bool
	over   bool   // the server has accepted us: nothing to do any more
	first  []byte // what the server said first, if it was an error
}

func (c *greeting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.over {
		return n, err
	}
	return n, c.heard(p[:n], err)
}

// Write reports what the server said before it closed, if it did so before we had written.
func (c *greeting) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil || c.over || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	words := make([]byte, 512)
	_ = c.Conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	m, readErr := c.Conn.Read(words)
	if isAlert(readErr) {
		err = readErr
	}
	return n, c.heard(words[:m], err)
}

func (c *greeting) heard(p []byte, err error) error {
	switch {
	case len(p) > 0 && c.first == nil && p[0] == '-':
		line, _, _ := bytes.Cut(p[1:], []byte("\r\n"))
		c.first = bytes.Clone(line)
	case len(p) > 1 && c.first == nil && (p[0] == 0x15 || p[0] == 0x16) && p[1] == 3:
		return &layer{errSpeaksTLS}
	case len(p) > 0:
		c.over, c.first = true, nil
	}
	switch {
	case err == nil, c.over, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, net.ErrClosed):
		return err
	case c.first != nil:
		return &layer{&RefusedError{Reply: strings.ToValidUTF8(string(c.first), "?"), Err: err}}
	case c.secure:
		return &layer{&HandshakeError{Addr: c.RemoteAddr().String(), Err: err}}
	}
	return &layer{fmt.Errorf("%w: %w", errHungUp, err)}
}

// isAlert tells whether the error is what the other side of TLS said when it broke off.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

package redisconn

import (
	"bytes"
	"errors"
	"io"
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
// reported as that error.
type greeting struct {
	net.Conn
	over  bool   // the server has accepted us: nothing to do any more
	first []byte // what came with the first read, if it was an error
}

func (c *greeting) Read(p []byte) (int, error) {
	if c.over {
		return c.Conn.Read(p)
	}
	n, err := c.Conn.Read(p)
	return n, c.heard(p[:n], err)
}

// Write reports what the server said before it closed, if it did so before we had written.
func (c *greeting) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil || c.over || errors.Is(err, os.ErrDeadlineExceeded) {
		return n, err
	}
	if c.first == nil {
		words := make([]byte, 512)
		_ = c.Conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if m, _ := c.Conn.Read(words); m > 0 {
			_ = c.heard(words[:m], nil)
		}
	}
	return n, c.heard(nil, err)
}

func (c *greeting) heard(p []byte, err error) error {
	switch {
	case len(p) > 0 && c.first == nil && p[0] == '-':
		line, _, _ := bytes.Cut(p[1:], []byte("\r\n"))
		c.first = bytes.Clone(line)
	case len(p) > 1 && c.first == nil && (p[0] == 0x15 || p[0] == 0x16) && p[1] == 3:
		return errSpeaksTLS
	case len(p) > 0:
		c.over, c.first = true, nil
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if c.first != nil {
		return &RefusedError{Reply: strings.ToValidUTF8(string(c.first), "?"), Err: err}
	}
	if errors.Is(err, io.EOF) && len(p) == 0 {
		return errHungUp
	}
	return err
}

package redisconn

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// control bounds the time that sent bytes may stay without acknowledgement.
func control(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	if ctl := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	}); ctl != nil {
		return ctl
	}
	if err == unix.ENOPROTOOPT || err == unix.EPERM {
		return nil // a sandbox that does not know it: keepalive and deadlines remain
	}
	return err
}

//go:build !linux

package redisconn

import "syscall"

// control has nothing to set: TCP_USER_TIMEOUT is Linux's.
func control(string, string, syscall.RawConn) error { return nil }

package child

import (
	"fmt"
	"net"
	"os"
)

// Pair makes a socketpair: our end, ready for use, and the end that is for a child.
func Pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := socketpair()
	if err != nil {
		return nil, nil, fmt.Errorf("make socketpair: %w", err)
	}
	mine := os.NewFile(uintptr(fds[0]), "channel")
	theirs = os.NewFile(uintptr(fds[1]), "channel of child")
	conn, err := net.FileConn(mine)
	mine.Close()
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("use socketpair: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}

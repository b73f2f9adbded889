package python

import "golang.org/x/sys/unix"

// waiting tells how many bytes lie in a pipe.
func waiting(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ) // FIONREAD
	if err != nil {
		return 0
	}
	return n
}

package child

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// bind has the kernel kill the group of pid when the other end of the lifeline is closed, for as long as somebody in the group holds this
// one. A program that closes what it does not know lives on; nothing else would change that.
func bind(give *os.File, pid int) {
	raw, err := give.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if _, err := unix.FcntlInt(fd, unix.F_SETOWN, -pid); err != nil {
			return
		}
		if _, err := unix.FcntlInt(fd, unix.F_SETSIG, int(syscall.SIGKILL)); err != nil {
			return
		}
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err == nil {
			_, _ = unix.FcntlInt(fd, unix.F_SETFL, flags|unix.O_ASYNC)
		}
	})
}

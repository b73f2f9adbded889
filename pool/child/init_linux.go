package child

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// Init is for a process that is PID 1 and cannot reap whatever it is handed, since somebody in it waits for processes of his own. It
// starts this program again as its child, hands signals on to it, and reaps everything. It returns the child's exit status when
// that has ended, and an error if it could not be started.
func Init() (status int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this program: %w", err)
	}
	heard := make(chan os.Signal, 64)
	signal.Notify(heard)
	defer signal.Stop(heard)
	// In a group of its own: what a terminal sends to the group of this process is handed on, and must not come twice.
	pid, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start this program again below PID 1: %w", err)
	}
	for {
		switch sig := (<-heard).(syscall.Signal); sig {
		case syscall.SIGCHLD:
			if status, ended := reapAll(pid); ended {
				return status, nil
			}
		case syscall.SIGURG, syscall.SIGPIPE: // the Go runtime's own, and this process's
		default:
			_ = syscall.Kill(pid, sig)
		}
	}
}

// reapAll reaps whatever has ended, and tells the exit status of one of them.
func reapAll(of int) (status int, ended bool) {
	for {
		var s unix.WaitStatus
		pid, err := unix.Wait4(-1, &s, unix.WNOHANG, nil)
		switch {
		case err == unix.EINTR:
			continue
		case pid <= 0 || err != nil:
			return status, ended
		case pid == of && s.Signaled():
			status, ended = 128+int(s.Signal()), true
		case pid == of:
			status, ended = s.ExitStatus(), true
		}
	}
}

package child

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Exit is how a process ended.
type Exit struct {
	Code   int            // -1 if it was killed by a signal, or if nobody knows
	Signal syscall.Signal // 0 if it exited by itself
	MaxRSS int64          // high-water mark of its resident memory, bytes; 0 if unknown
}

// String is the exit as Celery words it: "signal 9 (SIGKILL)" or "exitcode 3" (billiard/common.py human_status).
func (e Exit) String() string {
	if e.Signal == 0 {
		return fmt.Sprintf("exitcode %d", e.Code)
	}
	if name := unix.SignalName(e.Signal); name != "" {
		return fmt.Sprintf("signal %d (%s)", int(e.Signal), name)
	}
	return fmt.Sprintf("signal %d", int(e.Signal))
}

// Clean tells whether the process ended by itself and without complaint.
func (e Exit) Clean() bool { return e.Signal == 0 && e.Code == 0 }

func exitOf(state *os.ProcessState) Exit {
	exit := Exit{Code: state.ExitCode()}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		exit.Code, exit.Signal = -1, status.Signal()
	}
	exit.MaxRSS = maxRSS(state)
	return exit
}

package child

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// BecomeSubreaper has the kernel give us the children of descendants that died, so that they can be waited for.
func BecomeSubreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	return nil
}

// ReapStrangers reaps orphans that were handed to us and that nobody here owns, until ctx ends. One is enough.
func ReapStrangers(ctx context.Context) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	for {
		reapStrangers()
		select {
		case <-ctx.Done():
			return
		case <-ended:
		}
	}
}

func reapStrangers() {
	owned.RLock()
	defer owned.RUnlock()
	for _, pid := range ownChildren() {
		if _, ours := owned.pids[pid]; !ours {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}

// ownChildren lists our direct children, dead ones included.
func ownChildren() []int {
	var pids []int
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// AwaitOrphan waits until pid, which is our child only if its parent died and we are a subreaper, has ended, and reaps
// it. It reports false if the exit status is not to be had.
func AwaitOrphan(ctx context.Context, pid int) (Exit, bool) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer unix.Close(fd)
		for ctx.Err() == nil {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 200)
			if n > 0 || err != nil && err != unix.EINTR {
				break
			}
		}
	}
	if ctx.Err() != nil {
		return Exit{Code: -1}, false
	}
	var status unix.WaitStatus
	var usage unix.Rusage
	if got, err := unix.Wait4(pid, &status, unix.WNOHANG, &usage); err != nil || got != pid {
		return Exit{Code: -1}, false
	}
	exit := Exit{Code: status.ExitStatus(), MaxRSS: usage.Maxrss * 1024}
	if status.Signaled() {
		exit.Code, exit.Signal = -1, status.Signal()
	}
	return exit, true
}

func maxRSS(state *os.ProcessState) int64 {
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss * 1024
	}
	return 0
}

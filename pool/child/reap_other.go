//go:build !linux

package child

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
)

// BecomeSubreaper reports that this system has no subreapers.
func BecomeSubreaper() error { return errors.New("become subreaper: not on this system") }

// ReapStrangers waits for the end of ctx: no strangers are handed to us on this system.
func ReapStrangers(ctx context.Context) { <-ctx.Done() }

// AwaitOrphan waits until pid has ended. Its exit status is not to be had.
func AwaitOrphan(ctx context.Context, pid int) (Exit, bool) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(pid, 0) == nil {
		select {
		case <-ctx.Done():
			return Exit{Code: -1}, false
		case <-tick.C:
		}
	}
	return Exit{Code: -1}, false
}

func maxRSS(state *os.ProcessState) int64 {
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		return int64(usage.Maxrss)
	}
	return 0
}

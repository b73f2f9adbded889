package supervisor

import (
	"os"
	"runtime/debug"
	"slices"

	"github.com/agensium/agensium/pool/python"
	"github.com/agensium/agensium/supervisor/config"
	"github.com/agensium/agensium/supervisor/limits"
)

const (
	ownShare = 4         // of the memory there is, one part in so many is for this process
	ownLeast = 128 << 20 // bytes
	leastOwn = 1 << 20   // bytes that a child has for itself
)

// limitMemory has this process collect garbage rather than take more than a part of the memory there is, by the limit of the system or
// the configured one: most of it is for the children. GOMEMLIMIT, if it is set, counts instead.
func (s *Supervisor) limitMemory(c config.Scaling) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	reader, err := limits.Open()
	if err != nil {
		return // the scaler says it
	}
	if m := memoryOf(reader, int64(c.MemoryLimit), 0, 0); m.Limit > 0 {
		debug.SetMemoryLimit(max(m.Limit/ownShare, ownLeast))
	}
}

// sharedMemory is what the process that runs a task has of the zygote when it is forked, in bytes.
func (n *settings) sharedMemory(task string) int64 {
	command := slices.ContainsFunc(n.Config.Commands, func(c config.Command) bool { return c.Task == task })
	if command || n.Config.Python.Start != python.Fork {
		return 0
	}
	return n.info.RSS
}

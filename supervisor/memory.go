package supervisor

import (
	"os"
	"runtime/debug"

	"github.com/agensium/agensium/supervisor/limits"
)

const (
	ownShare = 4         // of the memory there is, one part in so many is for this process
	ownLeast = 128 << 20 // bytes
)

// limitMemory has this process collect garbage rather than take more than a part of the memory there is: most of it is for the
// children. GOMEMLIMIT, if it is set, counts instead.
func (s *Supervisor) limitMemory() {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	reader, err := limits.Open()
	if err != nil {
		return // the scaler says it
	}
	if m := reader.Memory(); m.Limit > 0 {
		debug.SetMemoryLimit(max(m.Limit/ownShare, ownLeast))
	}
}

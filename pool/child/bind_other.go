//go:build !linux

package child

import "os"

// bind does nothing: the kernel of this system cannot choose the signal.
func bind(*os.File, int) {}

package child

import (
	"fmt"
	"os"
)

// Lifeline makes the pipe on which a child's life hangs: the child is given one end, and the kernel kills its process
// group when nobody holds the other any more, that is, when the holder closes it or dies.
func Lifeline() (hold, give *os.File, err error) {
	give, hold, err = os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make lifeline: %w", err)
	}
	return hold, give, nil
}

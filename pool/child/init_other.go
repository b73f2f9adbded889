//go:build !linux

package child

import "errors"

// Init reports that there are no containers of this system.
func Init() (status int, err error) { return 0, errors.New("be PID 1: not on this system") }

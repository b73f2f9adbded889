//go:build !linux

package celerytest

import "syscall"

func dieWithParent(*syscall.SysProcAttr) {}

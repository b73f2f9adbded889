package celerytest

import "syscall"

// dieWithParent has the kernel kill the process if the test binary dies without cleaning up.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }

package child

import "syscall"

// Signal sends sig to the process pid alone.
func Signal(pid int, sig syscall.Signal) error { return syscall.Kill(pid, sig) }

// KillGroup kills the process group that pid leads or led.
func KillGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGKILL) }

// KillTree kills the group of pid and those descendants that left it, by setsid say. The group is stopped first, so
// that none escapes while we look. A descendant whose own parent has ended already is no longer known as one.
func KillTree(pid int) {
	_ = syscall.Kill(-pid, syscall.SIGSTOP)
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	escaped := Descendants(pid)
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	_ = syscall.Kill(pid, syscall.SIGKILL) // before it led a group
	for _, d := range escaped {
		_ = syscall.Kill(d, syscall.SIGKILL)
	}
}

package child

import "sync"

// owned are the processes whose exit status somebody here waits for. ReapStrangers leaves them alone.
var owned = struct {
	sync.RWMutex
	pids map[int]struct{}
}{pids: map[int]struct{}{}}

// Own says that the caller waits for pid, should it become our child.
func Own(pid int) {
	owned.Lock()
	defer owned.Unlock()
	owned.pids[pid] = struct{}{}
}

// Disown says that the caller is done with pid.
func Disown(pid int) {
	owned.Lock()
	defer owned.Unlock()
	delete(owned.pids, pid)
}

// ownStart keeps strangers from being reaped while a process of our own is started and its pid not known yet.
func ownStart() (release func(pid int)) {
	owned.Lock()
	return func(pid int) {
		if pid > 0 {
			owned.pids[pid] = struct{}{}
		}
		owned.Unlock()
	}
}

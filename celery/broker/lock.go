package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// lockFile is held as long as an incarnation lives. The kernel releases it with the process, however that ends.
type lockFile struct{ f *os.File }

var errLocked = errors.New("lock is held")

func lockPath(dir, incarnation string) string {
	return filepath.Join(dir, "agensium-"+incarnation+".lock")
}

func takeLock(path string) (*lockFile, error) {
	return lockAt(path, os.O_CREATE, syscall.LOCK_EX)
}

func lockAt(path string, flag, how int) (*lockFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &lockFile{f}, nil
}

// note replaces what stands in the file.
func (l *lockFile) note(text string) {
	if l == nil {
		return
	}
	_, _ = l.f.WriteAt([]byte(text+"\n"), 0)
	_ = l.f.Truncate(int64(len(text) + 1))
}

// release removes the file while it is still locked, so that nobody takes it for that of a dead one in between.
func (l *lockFile) release() {
	if l == nil {
		return
	}
	_ = os.Remove(l.f.Name())
	_ = l.f.Close()
}

// abandon lets the lock go and leaves the file.
func (l *lockFile) abandon() {
	if l != nil {
		_ = l.f.Close()
	}
}

// owner tells what is known of the process that took the lock of an incarnation. No file means: nothing.
func owner(path string) (alive, dead bool) {
	if path == "" {
		return false, false
	}
	l, err := lockAt(path, 0, syscall.LOCK_SH) // others may look at the same time, and are not the owner
	if err != nil {
		return errors.Is(err, errLocked), false
	}
	_ = l.f.Close() // the file stays until the registry entry goes
	return false, true
}

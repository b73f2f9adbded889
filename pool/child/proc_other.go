//go:build !linux

package child

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Usage is what a process takes. On this system only RSS is known.
type Usage struct {
	RSS     int64
	PSS     int64
	Private int64
	CPU     time.Duration
}

// UsageOf asks ps for the resident memory of pid.
func UsageOf(pid int) (Usage, error) {
	rss, err := ResidentOf(pid)
	return Usage{RSS: rss, PSS: rss, Private: rss}, err
}

// GlanceOf asks ps for the resident memory of pid, in bytes.
func GlanceOf(pid int) (rss int64, cpu time.Duration, err error) {
	rss, err = ResidentOf(pid)
	return rss, 0, err
}

// ResidentOf asks ps for the resident memory of pid, in bytes.
func ResidentOf(pid int) (int64, error) {
	out, err := exec.Command("ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, fmt.Errorf("ask ps for process %d: %w", pid, err)
	}
	kib, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	return kib << 10, err
}

// Descendants asks ps for the descendants of pid.
func Descendants(pid int) []int {
	out, err := exec.Command("ps", "-axo", "pid=,ppid=").Output()
	if err != nil {
		return nil
	}
	children := map[int][]int{}
	for _, line := range strings.Split(string(out), "\n") {
		var id, parent int
		if n, _ := fmt.Sscan(line, &id, &parent); n == 2 {
			children[parent] = append(children[parent], id)
		}
	}
	found := append([]int(nil), children[pid]...)
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

// Alive tells whether pid is there; a zombie counts.
func Alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// PreferAsVictim does nothing on this system.
func PreferAsVictim(int, int) {}

// OOMKills reports that nobody counts them on this system.
func OOMKills() (int64, bool) { return 0, false }

// Birth tells two processes apart that had the same number. Empty: pid is not there.
func Birth(pid int) string {
	out, _ := exec.Command("ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	return strings.TrimSpace(string(out))
}

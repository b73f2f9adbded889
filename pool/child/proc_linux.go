package child

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process takes.
type Usage struct {
	RSS     int64         // resident memory, shared pages included; bytes
	PSS     int64         // resident memory, shared pages divided by those who share them; bytes
	Private int64         // resident memory that nobody shares; bytes
	CPU     time.Duration // user and system time so far
}

// UsageOf reads what pid takes. PSS and Private walk its page tables: a millisecond for each few hundred megabytes.
func UsageOf(pid int) (Usage, error) {
	var u Usage
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return u, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		name, rest, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		switch name {
		case "Rss":
			u.RSS = kib << 10
		case "Pss":
			u.PSS = kib << 10
		case "Private_Clean", "Private_Dirty":
			u.Private += kib << 10
		}
	}
	stat, err := readStat(pid)
	if err != nil {
		return u, err
	}
	u.CPU = stat.cpu
	return u, nil
}

// GlanceOf reads resident memory, in bytes, and processor time of pid; cheap.
func GlanceOf(pid int) (rss int64, cpu time.Duration, err error) {
	s, err := readStat(pid)
	return s.rss, s.cpu, err
}

// ResidentOf reads the resident memory of pid, in bytes; cheap.
func ResidentOf(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("read memory of process %d: %q", pid, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// Descendants lists the descendants of pid, children before their own, as far as the chain of parents is unbroken.
func Descendants(pid int) []int {
	children := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if stat, err := readStat(id); err == nil {
			children[stat.parent] = append(children[stat.parent], id)
		}
	}
	found := append([]int(nil), children[pid]...)
	for i := 0; i < len(found); i++ {
		found = append(found, children[found[i]]...)
	}
	return found
}

type stat struct {
	state  byte
	parent int
	group  int
	cpu    time.Duration
	begun  string // ticks since the machine was started
	rss    int64
}

// readStat parses /proc/<pid>/stat; the name of the program, in parentheses, may hold anything.
func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, fmt.Errorf("read state of process %d: %w", pid, err)
	}
	end := bytes.LastIndexByte(text, ')')
	fields := strings.Fields(string(text[end+1:]))
	if end < 0 || len(fields) < 22 {
		return stat{}, fmt.Errorf("read state of process %d: %q", pid, text)
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(fields[i], 10, 64); return n }
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Linux runs Go
	return stat{state: fields[0][0], parent: int(number(1)), group: int(number(2)),
		cpu: time.Duration(number(11)+number(12)) * tick, begun: fields[19], rss: number(21) * int64(os.Getpagesize())}, nil
}

// Alive tells whether pid is there and not a zombie.
func Alive(pid int) bool {
	s, err := readStat(pid)
	return err == nil && s.state != 'Z' && s.state != 'X'
}

// Birth tells two processes apart that had the same number: one after the other, or in two containers. Empty: pid is not there.
func Birth(pid int) string {
	s, _ := readStat(pid)
	return s.begun
}

// PreferAsVictim asks the kernel to kill pid rather than us when memory runs out, by so much: 0 like us, 1000 first of all. Errors
// are of no consequence.
func PreferAsVictim(pid, more int) {
	text, _ := os.ReadFile("/proc/self/oom_score_adj")
	own, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(min(own+more, 1000))), 0)
}

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ticksPerSecond is USER_HZ: what Linux counts CPU time of a process in, on every architecture that Go runs on.
const ticksPerSecond = 100

// process is what /proc/PID/stat says of one.
type process struct {
	pid, parent int
	ticks       int64 // user and system, its own and that of the children it has waited for
}

// processes returns the process and all its descendants.
func processes(root int) ([]process, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]process{}
	var tree []process
	for _, path := range paths {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		p, err := parseStat(string(stat))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if p.pid == root {
			tree = append(tree, p)
		}
		children[p.parent] = append(children[p.parent], p)
	}
	if len(tree) == 0 {
		return nil, fmt.Errorf("process %d is gone", root)
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].pid]...)
	}
	return tree, nil
}

// parseStat reads a line of /proc/PID/stat; the name in parentheses may hold anything.
func parseStat(line string) (process, error) {
	pid, rest, ok1 := strings.Cut(line, " (")
	end := strings.LastIndexByte(rest, ')')
	if !ok1 || end < 0 {
		return process{}, fmt.Errorf("no name in %q", line)
	}
	fields := strings.Fields(rest[end+1:]) // from field 3, state
	if len(fields) < 15 {
		return process{}, fmt.Errorf("too short: %q", line)
	}
	p := process{}
	var err error
	number := func(text string) int64 {
		n, e := strconv.ParseInt(text, 10, 64)
		err = errors.Join(err, e)
		return n
	}
	p.pid, p.parent = int(number(pid)), int(number(fields[1]))
	for _, field := range fields[11:15] { // utime stime cutime cstime
		p.ticks += number(field)
	}
	return p, err
}

// cpu returns the CPU time that the worker's tree has used, ended children included.
func (w *worker) cpu() (time.Duration, error) {
	tree, err := processes(w.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	var ticks int64
	for _, p := range tree {
		ticks += p.ticks
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}

// memory returns the proportional set size of the worker's tree in bytes, and the number of its processes.
func (w *worker) memory() (bytes int64, n int, err error) {
	tree, err := processes(w.cmd.Process.Pid)
	if err != nil {
		return 0, 0, err
	}
	for _, p := range tree {
		pss, err := pss(p.pid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // ended meanwhile
		}
		if err != nil {
			return 0, 0, err
		}
		bytes += pss
		n++
	}
	return bytes, n, nil
}

func pss(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), "\nPss:")
	fields := strings.Fields(rest)
	if len(fields) < 2 || fields[1] != "kB" {
		return 0, fmt.Errorf("read memory of %d: no Pss", pid)
	}
	kb, err := strconv.ParseInt(fields[0], 10, 64)
	return kb << 10, err
}

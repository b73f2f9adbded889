package limits

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Memory is the limit that will be met first, and what counts against it.
type Memory struct {
	Limit  int64  // bytes; 0 if nothing is known
	Used   int64  // bytes, without cached file pages that the kernel would give up first
	Source string // "cgroup v2", "cgroup v1" or "machine"; empty if nothing is known
}

// unlimited is from where version 1 means that there is no limit.
const unlimited = 1 << 60

// Memory reads the limit: of this process's group, of the groups above it and of the machine, that one which has the least left.
func (r *Reader) Memory() Memory {
	tightest := r.machine()
	for _, dir := range r.memory.dirs {
		m, ok := r.group(dir)
		if ok && (tightest.Limit == 0 || m.Limit-m.Used <= tightest.Limit-tightest.Used) {
			tightest = m
		}
	}
	return tightest
}

// group reads one group's limit and use. False: it has no limit.
func (r *Reader) group(dir string) (Memory, bool) {
	limitFiles, usedFile, cached, source := []string{"memory.max", "memory.high"}, "memory.current", "inactive_file", "cgroup v2"
	if r.memory.version == 1 {
		limitFiles, usedFile, cached, source = []string{"memory.limit_in_bytes"}, "memory.usage_in_bytes", "total_inactive_file", "cgroup v1"
	}
	limit := int64(unlimited)
	for _, file := range limitFiles {
		if n, ok := r.number(path.Join(dir, file)); ok {
			limit = min(limit, n)
		}
	}
	used, ok := r.number(path.Join(dir, usedFile))
	if limit >= unlimited || limit <= 0 || !ok {
		return Memory{}, false
	}
	idle, _ := r.stat(path.Join(dir, "memory.stat"), cached)
	return Memory{Limit: limit, Used: max(0, used-idle), Source: source}, true
}

// machine reads /proc/meminfo.
func (r *Reader) machine() Memory {
	total, ok := r.stat("proc/meminfo", "MemTotal")
	available, known := r.stat("proc/meminfo", "MemAvailable")
	if !ok || !known {
		return Memory{}
	}
	return Memory{Limit: total << 10, Used: max(0, total-available) << 10, Source: "machine"}
}

// Pressure is how much of the last ten seconds tasks stood still because memory was short, in percent.
type Pressure struct {
	Some float64 // at least one
	Full float64 // all
}

// Pressure reads PSI of the group, else of the machine. False: the kernel does not tell.
func (r *Reader) Pressure() (Pressure, bool) {
	for _, name := range r.psi {
		if text, err := fs.ReadFile(r.files, name); err == nil {
			if p, ok := parsePressure(string(text)); ok {
				return p, true
			}
		}
	}
	return Pressure{}, false
}

// parsePressure reads lines such as "some avg10=0.12 avg60=0.00 avg300=0.00 total=3".
func parsePressure(text string) (p Pressure, ok bool) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		number, found := strings.CutPrefix(fields[1], "avg10=")
		percent, err := strconv.ParseFloat(number, 64)
		if !found || err != nil {
			continue
		}
		switch fields[0] {
		case "some":
			p.Some, ok = percent, true
		case "full":
			p.Full = percent
		}
	}
	return p, ok
}

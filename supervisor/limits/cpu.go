package limits

import (
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Cores is how many processors this process may use: those it may run on (pass runtime.NumCPU, which knows the affinity), or the
// quota of its group or of one above it if that is less. The source says which: "machine", "cgroup v1" or "cgroup v2".
func (r *Reader) Cores(processors int) (cores float64, source string) {
	cores, source = float64(processors), "machine"
	for _, dir := range r.cpu.dirs {
		quota, name, ok := r.quota(dir)
		if ok && quota < cores {
			cores, source = quota, name
		}
	}
	return cores, source
}

// quota reads one group's quota in processors. False: it has none.
func (r *Reader) quota(dir string) (cores float64, source string, ok bool) {
	if r.cpu.version == 1 {
		quota, known := r.number(path.Join(dir, "cpu.cfs_quota_us"))
		period, set := r.number(path.Join(dir, "cpu.cfs_period_us"))
		if !known || !set || quota <= 0 || period <= 0 {
			return 0, "", false
		}
		return float64(quota) / float64(period), "cgroup v1", true
	}
	text, err := fs.ReadFile(r.files, path.Join(dir, "cpu.max"))
	fields := strings.Fields(string(text))
	if err != nil || len(fields) != 2 {
		return 0, "", false
	}
	quota, err := strconv.ParseFloat(fields[0], 64)
	period, wrong := strconv.ParseFloat(fields[1], 64)
	if err != nil || wrong != nil || quota <= 0 || period <= 0 {
		return 0, "", false // "max"
	}
	return quota / period, "cgroup v2", true
}

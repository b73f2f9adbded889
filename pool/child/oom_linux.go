package child

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// OOMKills reads how many processes of our control group the kernel has killed for lack of memory, and whether that is
// known. A child that died of SIGKILL while the number grew was one of them, most likely.
func OOMKills() (int64, bool) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return 0, false
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0" && parts[1] == "":
			for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
				for _, dir := range []string{parts[2], ""} { // in a container the path of the host is shown, but not there
					for _, file := range []string{"memory.events.local", "memory.events"} { // the second, of old kernels, counts groups below ours
						if n, ok := counter(filepath.Join(root, dir, file), "oom_kill"); ok {
							return n, true
						}
					}
				}
			}
		case strings.Contains(","+parts[1]+",", ",memory,"):
			for _, dir := range []string{parts[2], ""} {
				if n, ok := counter(filepath.Join("/sys/fs/cgroup/memory", dir, "memory.oom_control"), "oom_kill"); ok {
					return n, true
				}
			}
		}
	}
	return 0, false
}

// counter reads the number after name in a file of lines "name number".
func counter(path, name string) (int64, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for _, line := range strings.Split(string(text), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseInt(value, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

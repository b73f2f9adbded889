// Package limits reads what this process may use: memory and processors of its cgroup (version 1 or 2) or of the machine, and how
// much memory is short (PSI). It reads files and keeps nothing but their places; the supervisor calls it once a second. It
// never decides anything.
package limits

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
)

// Reader knows where the files are.
type Reader struct {
	files  fs.FS
	memory hierarchy
	cpu    hierarchy
	psi    []string // files to try, the nearest first
}

// hierarchy is a controller's directories from this process's own group up to the topmost that can be seen.
type hierarchy struct {
	version int // 0: none
	dirs    []string
}

// Open finds the cgroup of this process.
func Open() (*Reader, error) { return OpenFS(os.DirFS("/")) }

// OpenFS does the same below another root, which has proc/self/cgroup, proc/self/mountinfo and what these name. Where there is no
// cgroup, the limits are the machine's. An error means that proc cannot be read at all.
func OpenFS(files fs.FS) (*Reader, error) {
	r := &Reader{files: files}
	groups, err := fs.ReadFile(files, "proc/self/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil // no cgroups, or not Linux
	}
	if err != nil {
		return nil, fmt.Errorf("find the cgroup of this process: %w", err)
	}
	mounts, err := fs.ReadFile(files, "proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find the cgroup of this process: %w", err)
	}
	places := places(string(groups), string(mounts))
	r.memory = r.find(places, "memory", "memory.max", "memory.limit_in_bytes")
	r.cpu = r.find(places, "cpu", "cpu.max", "cpu.cfs_quota_us")
	if own := places[unified]; own.mount != "" {
		r.psi = append(r.psi, path.Join(own.mount, own.group, "memory.pressure"))
	}
	r.psi = append(r.psi, "proc/pressure/memory")
	return r, nil
}

// place is where a controller is mounted, and the path of this process's group below that.
type place struct{ mount, group string }

// unified is the name under which places keeps version 2.
const unified = ""

// places reads /proc/self/cgroup and /proc/self/mountinfo: for each controller of version 1, and for version 2, the mount and the
// group. A container often sees the path that its group has on the host, while what is mounted is the group itself: then the
// part of the path that is the mount's root does not count.
func places(groups, mounts string) map[string]place {
	group := make(map[string]string)
	for line := range strings.Lines(groups) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		for controller := range strings.SplitSeq(fields[1], ",") {
			group[controller] = fields[2]
		}
	}
	found := make(map[string]place)
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(strings.TrimSpace(line), " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 5 || len(right) < 3 {
			continue
		}
		root, mount := left[3], strings.TrimPrefix(unescape(left[4]), "/")
		controllers := []string{unified}
		switch right[0] {
		case "cgroup":
			controllers = strings.Split(right[2], ",")
		case "cgroup2":
		default:
			continue
		}
		for _, c := range controllers {
			if own, ok := group[c]; ok {
				found[c] = place{mount: mount, group: below(own, root)}
			}
		}
	}
	return found
}

// below is the path of the group seen from the mount's root.
func below(group, root string) string {
	if root == "/" {
		return group
	}
	if rest, ok := strings.CutPrefix(group, root); ok && (rest == "" || rest[0] == '/') {
		return rest
	}
	return "/"
}

// find lists the directories of the controller, of version 2 if that has it, from the own group upwards as far as there are any.
func (r *Reader) find(places map[string]place, controller, file2, file1 string) hierarchy {
	if p, ok := places[unified]; ok {
		if dirs := r.upwards(p, file2); len(dirs) > 0 {
			return hierarchy{version: 2, dirs: dirs}
		}
	}
	if p, ok := places[controller]; ok {
		if dirs := r.upwards(p, file1); len(dirs) > 0 {
			return hierarchy{version: 1, dirs: dirs}
		}
	}
	return hierarchy{}
}

func (r *Reader) upwards(p place, file string) (dirs []string) {
	for group := path.Clean("/" + p.group); ; group = path.Dir(group) {
		dir := path.Join(p.mount, group)
		if _, err := fs.Stat(r.files, path.Join(dir, file)); err == nil {
			dirs = append(dirs, dir)
		}
		if group == "/" {
			return dirs
		}
	}
}

// unescape undoes mountinfo's octal escapes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// number reads a file that holds one number. False: there is none, or it says max.
func (r *Reader) number(name string) (int64, bool) {
	text, err := fs.ReadFile(r.files, name)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// stat reads one line "key number" out of a file of such lines; a colon after the key and a unit after the number do no harm.
func (r *Reader) stat(name, key string) (int64, bool) {
	text, err := fs.ReadFile(r.files, name)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) >= 2 && strings.TrimSuffix(fields[0], ":") == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

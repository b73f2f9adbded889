package limits

import (
	"io/fs"
	"runtime"
	"testing"
	"testing/fstest"
)

func tree(files map[string]string) fstest.MapFS {
	t := fstest.MapFS{}
	for name, text := range files {
		t[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return t
}

const (
	mountV2     = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
	mountMemory = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
	mountCPU    = "36 31 0:33 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
	meminfo     = "MemTotal:       16777216 kB\nMemFree:  100 kB\nMemAvailable:   12582912 kB\n"
)

func TestLimits(t *testing.T) {
	tests := map[string]struct {
		files  map[string]string
		memory Memory
		cores  float64
		source string
	}{
		"container v2": {
			files: map[string]string{
				"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mountV2, "proc/meminfo": meminfo,
				"sys/fs/cgroup/memory.max": "629145600\n", "sys/fs/cgroup/memory.high": "max\n",
				"sys/fs/cgroup/memory.current": "209715200\n", "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 104857600\n",
				"sys/fs/cgroup/cpu.max": "150000 100000\n",
			},
			memory: Memory{Limit: 600 << 20, Used: 100 << 20, Source: "cgroup v2"}, cores: 1.5, source: "cgroup v2",
		},
		"service v2, limit on the slice above": {
			files: map[string]string{
				"proc/self/cgroup": "0::/work.slice/a.service\n", "proc/self/mountinfo": mountV2, "proc/meminfo": meminfo,
				"sys/fs/cgroup/work.slice/memory.max":               "1073741824\n",
				"sys/fs/cgroup/work.slice/memory.current":           "536870912\n",
				"sys/fs/cgroup/work.slice/a.service/memory.max":     "max\n",
				"sys/fs/cgroup/work.slice/a.service/memory.current": "1000\n",
				"sys/fs/cgroup/work.slice/a.service/cpu.max":        "max 100000\n",
				"sys/fs/cgroup/work.slice/cpu.max":                  "50000 100000\n",
			},
			memory: Memory{Limit: 1 << 30, Used: 512 << 20, Source: "cgroup v2"}, cores: 0.5, source: "cgroup v2",
		},
		"memory.high is a limit too": {
			files: map[string]string{
				"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mountV2, "proc/meminfo": meminfo,
				"sys/fs/cgroup/memory.max": "2000000000\n", "sys/fs/cgroup/memory.high": "1000000000\n",
				"sys/fs/cgroup/memory.current": "1000\n",
			},
			memory: Memory{Limit: 1000000000, Used: 1000, Source: "cgroup v2"}, cores: 4, source: "machine",
		},
		"container v1 that sees the path on the host": {
			files: map[string]string{
				"proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
				"proc/self/mountinfo": "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n" +
					"36 31 0:33 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n",
				"proc/meminfo": meminfo,
				"sys/fs/cgroup/memory/memory.limit_in_bytes": "629145600\n",
				"sys/fs/cgroup/memory/memory.usage_in_bytes": "209715200\n",
				"sys/fs/cgroup/memory/memory.stat":           "inactive_file 1\ntotal_inactive_file 104857600\n",
				"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
			},
			memory: Memory{Limit: 600 << 20, Used: 100 << 20, Source: "cgroup v1"}, cores: 2, source: "cgroup v1",
		},
		"v1 without limits, version 2 mounted beside it without controllers": {
			files: map[string]string{
				"proc/self/cgroup":    "4:memory:/a\n2:cpu,cpuacct:/\n0::/\n",
				"proc/self/mountinfo": mountMemory + mountCPU + "38 31 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
				"proc/meminfo":        meminfo,
				"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n",
				"sys/fs/cgroup/memory/a/memory.usage_in_bytes": "209715200\n",
				"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":   "-1\n", "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
			},
			memory: Memory{Limit: 16 << 30, Used: 4 << 30, Source: "machine"}, cores: 4, source: "machine",
		},
		"a limit above the machine's memory": {
			files: map[string]string{
				"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mountV2, "proc/meminfo": meminfo,
				"sys/fs/cgroup/memory.max": "68719476736\n", "sys/fs/cgroup/memory.current": "1000\n",
			},
			memory: Memory{Limit: 16 << 30, Used: 4 << 30, Source: "machine"}, cores: 4, source: "machine",
		},
		"nonsense in the files": {
			files: map[string]string{
				"proc/self/cgroup": "nonsense\n::\n0::/\n", "proc/self/mountinfo": "x\n" + mountV2,
				"sys/fs/cgroup/memory.max": "many\n", "sys/fs/cgroup/cpu.max": "0 0\n",
			},
			cores: 4, source: "machine",
		},
		"nothing": {cores: 4, source: "machine"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r, err := OpenFS(tree(test.files))
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Memory(); got != test.memory {
				t.Errorf("memory %+v, want %+v", got, test.memory)
			}
			if cores, source := r.Cores(4); cores != test.cores || source != test.source {
				t.Errorf("%v processors by %s, want %v by %s", cores, source, test.cores, test.source)
			}
		})
	}
}

func TestPressure(t *testing.T) {
	files := map[string]string{"proc/self/cgroup": "0::/a\n", "proc/self/mountinfo": mountV2,
		"proc/pressure/memory": "some avg10=1.50 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=0\n"}
	r, err := OpenFS(tree(files))
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := r.Pressure(); !ok || p != (Pressure{Some: 1.5, Full: 0.5}) {
		t.Errorf("the machine's: %+v %v", p, ok)
	}
	files["sys/fs/cgroup/a/memory.pressure"] = "some avg10=20.00 avg60=0 avg300=0 total=1\n"
	if r, err = OpenFS(tree(files)); err != nil {
		t.Fatal(err)
	}
	if p, ok := r.Pressure(); !ok || p != (Pressure{Some: 20}) {
		t.Errorf("the group's: %+v %v", p, ok)
	}
	if r, err = OpenFS(tree(nil)); err != nil {
		t.Fatal(err)
	}
	if p, ok := r.Pressure(); ok {
		t.Errorf("without PSI: %+v", p)
	}
}

func TestHere(t *testing.T) {
	r, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	cores, source := r.Cores(runtime.NumCPU())
	t.Logf("memory %+v, %v processors by %s", r.Memory(), cores, source)
	if runtime.GOOS == "linux" && (r.Memory().Limit <= 0 || cores <= 0) {
		t.Error("nothing is known of this machine")
	}
}

func TestUnreadable(t *testing.T) {
	if _, err := OpenFS(brokenFS{}); err == nil {
		t.Error("no error from a proc that cannot be read")
	}
}

type brokenFS struct{}

func (brokenFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}

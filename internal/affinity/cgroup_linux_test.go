package affinity

import (
	"os"
	"path/filepath"
	"testing"
)

const (
	mountV2     = "41 31 0:38 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
	mountV1     = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
	mountSet    = "34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	mountDocker = "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu\n"
	mountSpace  = "41 31 0:38 / /my\\040groups rw - cgroup2 cgroup2 rw\n"
)

func TestQuotaIsTheTightestLimitThatIsVisible(t *testing.T) {
	for name, c := range map[string]struct {
		mounts, groups string
		files          map[string]string
		want           float64
	}{
		"nothing there": {},
		"version 2": {mountV2, "0::/a/b\n", map[string]string{
			"sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 1.5},
		"version 2 without a limit": {mountV2, "0::/a\n", map[string]string{
			"sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 0},
		"version 2, a parent is tighter": {mountV2, "0::/a/b\n", map[string]string{
			"sys/fs/cgroup/a/cpu.max": "50000 100000\n", "sys/fs/cgroup/a/b/cpu.max": "400000 100000\n"}, 0.5},
		"version 2, a sibling does not count": {mountV2, "0::/a\n", map[string]string{
			"sys/fs/cgroup/b/cpu.max": "50000 100000\n"}, 0},
		"version 2, own name space": {mountV2, "0::/\n", map[string]string{
			"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2},
		"version 2, outside the name space": {mountV2, "0::/../other\n", map[string]string{
			"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2},
		"version 2, a space in the mount point": {mountSpace, "0::/a\n", map[string]string{
			"my groups/a/cpu.max": "100000 100000\n"}, 1},
		"version 1": {mountSet + mountV1, "5:cpuset:/x\n4:cpu,cpuacct:/a:b\n0::/\n", map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/a:b/cpu.cfs_quota_us":  "250000\n",
			"sys/fs/cgroup/cpu,cpuacct/a:b/cpu.cfs_period_us": "100000\n"}, 2.5},
		"version 1 without a limit": {mountV1, "4:cpu,cpuacct:/\n", map[string]string{
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us":  "-1\n",
			"sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 0},
		"version 1 in a container": {mountDocker, "4:cpu:/docker/abc/x\n", map[string]string{
			"sys/fs/cgroup/cpu/cpu.cfs_quota_us":    "300000\n",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us":   "100000\n",
			"sys/fs/cgroup/cpu/x/cpu.cfs_quota_us":  "-1\n",
			"sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000\n"}, 3},
		"garbage": {"x\n - \n" + mountV2, "y\n0::/a", map[string]string{
			"sys/fs/cgroup/a/cpu.max": "1 0\n", "sys/fs/cgroup/cpu.max": "5\n"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := system{t.TempDir()}
			write(t, s.root, "proc/self/mountinfo", c.mounts)
			write(t, s.root, "proc/self/cgroup", c.groups)
			for file, text := range c.files {
				write(t, s.root, file, text)
			}
			if cpus, limited := s.quota(); cpus != c.want || limited != (c.want > 0) {
				t.Fatalf("got %v, %v, want %v", cpus, limited, c.want)
			}
		})
	}
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	name = filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

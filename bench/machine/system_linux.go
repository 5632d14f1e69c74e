package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// system asks the kernel.
func (m *Machine) system(dir string) {
	m.CPU = procField("/proc/cpuinfo", "model name")
	m.CPUs = allowed()
	m.Kernel = kernel()
	m.FileSystem = fileSystem(dir)
	if kib, err := strconv.ParseUint(strings.TrimSuffix(procField("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.MemBytes = kib << 10
	}
	for _, group := range cgroups() {
		m.limit(group)
	}
}

func syncData(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// directFlag opens a file past the page cache.
const directFlag = unix.O_DIRECT

// procField is the value of the first line of a file in /proc that begins with name.
func procField(file, name string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		key, value, ok := strings.Cut(line, ":")
		if ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func allowed() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var cpus []int
	for i := range len(set) * strconv.IntSize {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return cpus
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// fileSystems names the magic numbers of statfs(2).
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
	unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay", unix.NFS_SUPER_MAGIC: "nfs",
	unix.F2FS_SUPER_MAGIC: "f2fs", unix.FUSE_SUPER_MAGIC: "fuse", unix.V9FS_MAGIC: "9p",
	0x2fc12fc1: "zfs",
}

func fileSystem(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return ""
	}
	magic := int64(uint32(s.Type))
	if name, ok := fileSystems[magic]; ok {
		return name
	}
	return fmt.Sprintf("file system %#x", magic)
}

// cgroups are the directories of this process's cgroup, version 2, and of those
// above it: each may limit.
func cgroups() []string {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		dirs := []string{"/sys/fs/cgroup"}
		for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
			dirs = append(dirs, filepath.Join(dirs[len(dirs)-1], part))
		}
		return dirs
	}
	return nil
}

// limit lowers the quota and the memory limit to those of a cgroup.
func (m *Machine) limit(group string) {
	if cpu, err := os.ReadFile(filepath.Join(group, "cpu.max")); err == nil {
		var quota, period float64
		if n, _ := fmt.Sscan(string(cpu), &quota, &period); n == 2 && period > 0 {
			m.CPUQuota = lower(m.CPUQuota, quota/period)
		}
	}
	if memory, err := os.ReadFile(filepath.Join(group, "memory.max")); err == nil {
		if limit, err := strconv.ParseUint(strings.TrimSpace(string(memory)), 10, 64); err == nil {
			m.MemLimit = lower(m.MemLimit, limit)
		}
	}
}

// lower is the lower of two limits, of which 0 is none.
func lower[T uint64 | float64](a, b T) T {
	if a == 0 {
		return b
	}
	return min(a, b)
}

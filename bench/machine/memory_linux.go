package machine

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// MemoryAvailable is how much memory this process can still get without swapping, in
// bytes; 0 where the system does not say.
func MemoryAvailable() uint64 {
	kib, err := strconv.ParseUint(strings.TrimSuffix(procField("/proc/meminfo", "MemAvailable"), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	free := kib << 10
	for _, group := range cgroups() {
		limit, ok := groupBytes(group, "memory.max")
		used, _ := groupBytes(group, "memory.current")
		if ok {
			free = min(free, limit-min(limit, used))
		}
	}
	return free
}

// groupBytes reads a number of a cgroup. There is none if there is no limit.
func groupBytes(group, name string) (uint64, bool) {
	text, err := os.ReadFile(filepath.Join(group, name))
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil
}

// ResidentBytes is how much memory of the machine this process holds; 0 if the system
// does not say.
func ResidentBytes() uint64 {
	kib, err := strconv.ParseUint(strings.TrimSuffix(procField("/proc/self/status", "VmRSS"), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}

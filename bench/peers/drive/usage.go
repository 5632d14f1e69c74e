package drive

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/keyfold/keyfold/bench/limit"
)

// Usage is what a measurement took of the machine. Where the system has no /proc, all of
// it is 0.
type Usage struct {
	// Cores is the CPU time of the store and its driver over the time that passed,
	// ServerCores that of the store's own processes, if it has any.
	Cores       float64 `json:"cores"`
	ServerCores float64 `json:"server_cores,omitempty"`
	// RSSBytes is the memory of the process that holds the store, at the end, less that of
	// the events.
	RSSBytes uint64 `json:"rss_bytes"`
	// Written is the bytes that went through calls that write, with those to sockets,
	// Device those that were charged to a disk, which counts what is written through
	// memory maps, and a page that was dirty already not again.
	Written uint64 `json:"written_bytes"`
	Device  uint64 `json:"device_bytes"`
}

// total is what processes have used since they began.
type total struct {
	self, server    float64 // CPU seconds
	rss             uint64
	written, device uint64
}

// usageOf is the usage of this process and of those of a store. With such, memory and
// bytes are theirs: this process only sends.
func usageOf(processes []int) (t total) {
	self := os.Getpid()
	t.self = cpuSeconds(self)
	holders := processes
	if len(processes) == 0 {
		holders = []int{self}
	}
	for _, pid := range processes {
		t.server += cpuSeconds(pid)
	}
	for _, pid := range holders {
		t.rss += field(pid, "status", "VmRSS") << 10
		t.written += field(pid, "io", "wchar")
		t.device += field(pid, "io", "write_bytes")
	}
	return t
}

func (t total) since(before total, seconds float64) Usage {
	server := t.server - before.server
	return Usage{
		Cores: (t.self - before.self + server) / seconds, ServerCores: server / seconds,
		RSSBytes: t.rss, Written: t.written - before.written, Device: t.device - before.device,
	}
}

// Lives says that a process is there, as far as this system tells.
func Lives(pid int) bool {
	text, err := os.ReadFile(proc(pid, "cmdline")) // empty when it only waits to be reaped
	return err == nil && len(text) > 0
}

// Resident is the memory of a store: that of its processes, or that of this one less that
// of the events.
func Resident(processes []int, parts []limit.Stream) uint64 {
	rss := usageOf(processes).rss
	if len(processes) == 0 {
		rss -= min(rss, streamBytes(parts))
	}
	return rss
}

func proc(pid int, file string) string { return filepath.Join("/proc", strconv.Itoa(pid), file) }

// field is a number in a file of /proc that has a name on each line; 0 if there is none.
func field(pid int, file, name string) uint64 {
	text, err := os.ReadFile(proc(pid, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if fields := strings.Fields(value); key == name && len(fields) > 0 {
			n, _ := strconv.ParseUint(fields[0], 10, 64) // 0 if it is none
			return n
		}
	}
	return 0
}

// ticksPerSecond is the unit of CPU times in /proc on every Linux.
const ticksPerSecond = 100

// cpuSeconds is the user and system time of a process.
func cpuSeconds(pid int) float64 {
	text, err := os.ReadFile(proc(pid, "stat"))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ") // behind the name, which may have spaces
	var skipped string
	var user, system uint64
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	if n, _ := fmt.Sscan(strings.Join(fields[10:13], " "), &skipped, &user, &system); n != 3 {
		return 0
	}
	return float64(user+system) / ticksPerSecond
}

package machine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// procs is where /proc and /sys are: below "/", or in a test somewhere else.
type procs struct{ root string }

// systemSigns are those that the kernel tells.
func systemSigns(dir string, watch time.Duration) []Sign {
	p := procs{"/"}
	signs := append(p.watch(watch), queues()...)
	for _, look := range []func() (Sign, bool){
		p.load, p.governor, p.clock, p.hugePages, p.memory, p.swap, p.dirty,
		func() (Sign, bool) { return disk(dir) },
	} {
		if s, ok := look(); ok {
			signs = append(signs, s)
		}
	}
	return signs
}

// text is the content of a file, without the spaces around it; "" if there is none.
func (p procs) text(name string) string {
	text, err := os.ReadFile(filepath.Join(p.root, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (p procs) load() (Sign, bool) {
	var minute float64
	if n, _ := fmt.Sscan(p.text("proc/loadavg"), &minute); n != 1 {
		return Sign{}, false
	}
	s := Sign{Name: "load average", Text: fmt.Sprintf("%.2f in the last minute, on %d CPUs", minute, runtime.NumCPU())}
	if minute > 0.5*float64(runtime.NumCPU()) {
		s.Advice = "the machine was busy in the last minute: wait until it is idle, and look who it was with top"
	}
	return s, true
}

func (p procs) governor() (Sign, bool) {
	name := p.text("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
	if name == "" {
		return Sign{Name: "governor", Text: "none to be seen: a virtual machine, or a fixed frequency"}, true
	}
	s := Sign{Name: "governor", Text: name}
	if name != "performance" {
		s.Advice = "CPUs change their frequency with their load: choose the governor performance (cpupower frequency-set -g performance)"
	}
	return s, true
}

// clocksFast are the clocks that are read without a system call.
var clocksFast = map[string]bool{"tsc": true, "kvm-clock": true, "hyperv_clocksource_tsc_page": true, "arch_sys_counter": true}

func (p procs) clock() (Sign, bool) {
	name := p.text("sys/devices/system/clocksource/clocksource0/current_clocksource")
	s := Sign{Name: "clock", Text: name}
	if !clocksFast[name] {
		s.Advice = "reading this clock takes a system call, hundreds of nanoseconds: latencies of that size show it"
	}
	return s, name != ""
}

func (p procs) hugePages() (Sign, bool) {
	_, rest, _ := strings.Cut(p.text("sys/kernel/mm/transparent_hugepage/enabled"), "[")
	chosen, _, ok := strings.Cut(rest, "]")
	s := Sign{Name: "huge pages", Text: "transparent ones: " + chosen}
	if chosen == "never" {
		s.Advice = "large tables cost more misses of the TLB without huge pages: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"
	}
	return s, ok
}

// bytes is a field of /proc/meminfo.
func (p procs) bytes(field string) (uint64, bool) {
	value := procField(filepath.Join(p.root, "proc/meminfo"), field)
	kib, err := strconv.ParseUint(strings.TrimSuffix(value, " kB"), 10, 64)
	return kib << 10, err == nil
}

func (p procs) memory() (Sign, bool) {
	total, ok := p.bytes("MemTotal")
	free, ok2 := p.bytes("MemAvailable")
	s := Sign{Name: "memory", Text: fmt.Sprintf("%.1f of %.1f GiB available", gib(free), gib(total))}
	if free < total/10 {
		s.Advice = "little memory is available: the page cache of the log will be written back early, or the process killed"
	}
	return s, ok && ok2
}

func (p procs) swap() (Sign, bool) {
	total, ok := p.bytes("SwapTotal")
	free, _ := p.bytes("SwapFree")
	s := Sign{Name: "swap", Text: fmt.Sprintf("%.1f of %.1f GiB used", gib(total-min(free, total)), gib(total))}
	switch {
	case total == 0:
		s.Text = "none"
	case total-min(free, total) > 64<<20:
		s.Advice = "memory is swapped out: states that come back from the disk take milliseconds; swapoff -a, or add memory"
	}
	return s, ok
}

// dirtyBytesMax is how much may wait for the disk before it counts as a disturbance.
const dirtyBytesMax = 256 << 20

func (p procs) dirty() (Sign, bool) {
	dirty, ok := p.bytes("Dirty")
	back, _ := p.bytes("Writeback")
	s := Sign{Name: "dirty pages", Text: fmt.Sprintf("%.1f MiB wait for the disk", float64(dirty+back)/(1<<20))}
	if dirty+back > dirtyBytesMax {
		s.Advice = "the disk has a backlog that syncs will wait behind: run sync first"
	}
	return s, ok
}

// disk looks at the room that is left. Most file systems slow down when they are
// nearly full.
func disk(dir string) (Sign, bool) {
	var f unix.Statfs_t
	if unix.Statfs(dir, &f) != nil || f.Blocks == 0 {
		return Sign{}, false
	}
	free, total := f.Bavail*uint64(f.Bsize), f.Blocks*uint64(f.Bsize)
	s := Sign{Name: "disk", Text: fmt.Sprintf("%.1f of %.1f GiB free", gib(free), gib(total))}
	if free < total/10 || free < 4<<30 {
		s.Advice = "the disk is nearly full: logs and snapshots of a run may not fit, and file systems slow down; make room, or choose another --dir"
	}
	return s, true
}

func gib(bytes uint64) float64 { return float64(bytes) / (1 << 30) }

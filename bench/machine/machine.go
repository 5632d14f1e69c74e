// Package machine says on what a result was measured: processor, the CPUs that
// this process may use, memory, kernel, file system, how long a sync takes, and
// how the program was built. A figure without these cannot be compared with another.
package machine

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Machine is what a result was measured on. What cannot be found out is empty.
type Machine struct {
	CPU        string  `json:"cpu"`
	CPUs       []int   `json:"cpus"` // that this process is allowed to use
	GOMAXPROCS int     `json:"gomaxprocs"`
	CPUQuota   float64 `json:"cpu_quota"`    // in CPUs; 0: none
	MemBytes   uint64  `json:"memory_bytes"` // of the machine
	MemLimit   uint64  `json:"memory_limit"` // of the cgroup; 0: none
	OS         string  `json:"os"`
	Arch       string  `json:"arch"`
	Kernel     string  `json:"kernel"`
	FileSystem string  `json:"file_system"`   // of the store's directory
	Sync       Probe   `json:"sync_probe_ns"` // there
	Go         string  `json:"go"`
	Revision   string  `json:"revision"` // of the source; `+changes` if it was not clean
	Race       bool    `json:"race"`     // built with the race detector
}

// Probe is how long it takes to write 4 KiB to the end of a file and to sync it, in
// nanoseconds.
type Probe struct {
	P50 int64 `json:"p50"`
	P99 int64 `json:"p99"`
}

// Look fills in a Machine for a store in dir, which must exist. It writes a small
// file there, and removes it. It takes up to 300 ms. With an error, only the probe of
// syncs is missing.
func Look(dir string) (Machine, error) {
	m := Machine{
		GOMAXPROCS: runtime.GOMAXPROCS(0),
		OS:         runtime.GOOS,
		Arch:       runtime.GOARCH,
		Go:         runtime.Version(),
		Revision:   revision(),
		Race:       raceEnabled,
	}
	m.system(dir)
	if len(m.CPUs) == 0 {
		for i := range runtime.NumCPU() {
			m.CPUs = append(m.CPUs, i)
		}
	}
	var err error
	m.Sync, err = probeSync(dir, 100*time.Millisecond)
	return m, err
}

// RevisionWords is the revision, or `unknown`.
func (m *Machine) RevisionWords() string { return cmp.Or(m.Revision, "unknown") }

// revision is the commit that the program was built from, as far as it knows: go run
// does not tell it, nor go build with -buildvcs=false.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	set := make(map[string]string)
	for _, s := range info.Settings {
		set[s.Key] = s.Value
	}
	rev := set["vcs.revision"]
	rev = rev[:min(len(rev), 12)]
	if rev != "" && set["vcs.modified"] == "true" {
		rev += "+changes"
	}
	return rev
}

// Lines describes the machine in three short lines.
func (m *Machine) Lines() []string {
	quota := "no CPU quota"
	if m.CPUQuota > 0 {
		quota = fmt.Sprintf("CPU quota %.2g", m.CPUQuota)
	}
	memory := fmt.Sprintf("%.1f GiB", float64(m.MemBytes)/(1<<30))
	if m.MemLimit > 0 {
		memory += fmt.Sprintf(" (limited to %.1f)", float64(m.MemLimit)/(1<<30))
	}
	build := m.Go + " · revision " + m.RevisionWords()
	if m.Race {
		build += " · built with the race detector: figures mean nothing"
	}
	return []string{
		fmt.Sprintf("%s · CPUs %s · GOMAXPROCS %d · %s · %s", m.CPU, ranges(m.CPUs), m.GOMAXPROCS, quota, memory),
		fmt.Sprintf("%s/%s %s · %s%s", m.OS, m.Arch, m.Kernel, m.FileSystem, m.syncWords()),
		build,
	}
}

// syncWords say how long a sync takes, if that is known.
func (m *Machine) syncWords() string {
	if m.Sync == (Probe{}) {
		return ""
	}
	return fmt.Sprintf(" · write and sync 4 KiB: p50 %v, p99 %v", micros(m.Sync.P50), micros(m.Sync.P99))
}

func micros(nanos int64) time.Duration { return time.Duration(nanos).Round(time.Microsecond) }

// ranges writes numbers as 0-3,6.
func ranges(cpus []int) string {
	cpus = slices.Sorted(slices.Values(cpus))
	var parts []string
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		part := strconv.Itoa(cpus[i])
		if j > i {
			part += "-" + strconv.Itoa(cpus[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

package machine

import (
	"cmp"
	"fmt"
	"runtime"
	"time"
)

// A Sign is one thing about a machine that bears on what is measured on it.
type Sign struct {
	// Name is what was looked at, Text what was found.
	Name string `json:"name"`
	Text string `json:"text"`
	// Advice says what will disturb a measurement and what to do about it; empty if
	// nothing does.
	Advice string `json:"advice,omitempty"`
}

// Signs looks for what will disturb measurements of a store in dir, on the machine
// that m describes. It watches the CPUs for so long. What the system does not say is
// left out.
func Signs(m *Machine, dir string, watch time.Duration) []Sign {
	signs := []Sign{processors(m), build(m)}
	signs = append(signs, fileSystemSign(m))
	return append(signs, systemSigns(dir, watch)...)
}

// processors compares what the process may use with what the Go runtime will use.
func processors(m *Machine) Sign {
	s := Sign{Name: "processors", Text: fmt.Sprintf("%d allowed, GOMAXPROCS %d", len(m.CPUs), m.GOMAXPROCS)}
	switch {
	case m.CPUQuota > 0:
		s.Text += fmt.Sprintf(", a quota of %.2g", m.CPUQuota)
		s.Advice = "a CPU quota stops the process now and then, and shards are not pinned under it: take the quota away, or compare only under the same one"
	case m.GOMAXPROCS > len(m.CPUs):
		s.Advice = "there are more threads than CPUs: set GOMAXPROCS to the count of CPUs"
	case len(m.CPUs) == 1:
		s.Advice = "producers and shards share the one CPU: figures show their sum"
	}
	return s
}

// build looks at how the program was built.
func build(m *Machine) Sign {
	s := Sign{Name: "program", Text: runtime.Version() + ", revision " + m.RevisionWords()}
	if m.Race {
		s.Advice = "the race detector is on: its figures mean nothing, build without -race"
	}
	return s
}

// fileSystemsAdvised are file systems whose syncs are not those of a disk.
var fileSystemsAdvised = map[string]string{
	"tmpfs":   "a sync of tmpfs does nothing, and a crash loses all of it: choose a --dir on a disk",
	"overlay": "overlay file systems copy files and add their own latency: choose a --dir on a volume",
	"nfs":     "syncs go over the network: choose a --dir on a local disk",
	"9p":      "syncs go to another machine or to the host: choose a --dir on a local disk",
	"fuse":    "a program stands between the engine and the disk: choose a --dir on a local file system",
}

func fileSystemSign(m *Machine) Sign {
	return Sign{Name: "file system", Text: cmp.Or(m.FileSystem, "unknown"), Advice: fileSystemsAdvised[m.FileSystem]}
}

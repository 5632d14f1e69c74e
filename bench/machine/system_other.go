//go:build !linux

package machine

import (
	"os"
	"time"
)

// system knows no more than the Go runtime does.
func (m *Machine) system(string) {
	m.CPU = m.Arch
	m.Kernel = m.OS
	m.FileSystem = "file system unknown"
}

func syncData(f *os.File) error { return f.Sync() }

// MemoryAvailable is how much memory this process can still get without swapping, in
// bytes; 0 where the system does not say.
func MemoryAvailable() uint64 { return 0 }

// ResidentBytes is how much memory of the machine this process holds; 0 if the system
// does not say.
func ResidentBytes() uint64 { return 0 }

// systemSigns are none: there is nobody to ask.
func systemSigns(string, time.Duration) []Sign { return nil }

// directFlag opens a file past the page cache; there is none here.
const directFlag = 0

//go:build !linux

package machine

import "os"

// system knows no more than the Go runtime does.
func (m *Machine) system(string) {
	m.CPU = m.Arch
	m.Kernel = m.OS
	m.FileSystem = "file system unknown"
}

func syncData(f *os.File) error { return f.Sync() }

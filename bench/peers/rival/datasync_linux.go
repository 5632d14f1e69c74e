package rival

import "golang.org/x/sys/unix"

// sync syncs the data, and the size if that has changed.
func (l *loop) sync() error { return unix.Fdatasync(int(l.file.Fd())) }

//go:build !linux

package rival

// sync syncs the file.
func (l *loop) sync() error { return l.file.Sync() }

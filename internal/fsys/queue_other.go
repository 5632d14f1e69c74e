//go:build !linux

package fsys

import "os"

const blockingName = "fsync"

func dataSync(f *os.File, _ *queues) error { return wholeSync(f) }

func notRun(error) bool { return false }

func queuesOf(SyncWay) *queues { return nil }

func probed() []SyncWay { return nil }

// control is never called: there are no queues.
func control(*os.File, string, func(fd int) error) error { return os.ErrInvalid }

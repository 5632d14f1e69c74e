package shard

import (
	"time"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/wal"
)

// Limits of a shard.
const (
	// FrameTargetBytes is the size at which an open frame is written although more
	// events are waiting.
	FrameTargetBytes = 256 << 10
	// runOperations is how many operations are touched and applied together.
	// BenchmarkRun measures a run.
	runOperations = 64
	// controlMessages is how many control messages a shard queues.
	controlMessages = 64
	// frozenBytes is how much state is copied in one turn for a snapshot.
	frozenBytes = 256 << 10
)

// A SyncMode says when frames are synced.
type SyncMode uint8

// The modes.
const (
	SyncAlways   SyncMode = iota // at every group commit
	SyncInterval                 // at most Interval after the write
	SyncNever                    // when the operating system likes
)

// A Config says what a shard is made of. Everything is set but Notify; nothing has a
// default.
type Config struct {
	Index   int // of the shard in its layout
	ID      wal.ID
	Dir     string // of the shard
	Tables  []Table
	Routing Routing
	Log     LogConfig
	Inbox   int // bytes, a power of two
	Wait    WaitConfig
	Slots   *Slots
	// Workers is how many goroutines recover the shard; below 2 it is the caller's.
	Workers int
	// Notify is called on the shard goroutine with what an operator must know. It must not
	// wait, and may be nil.
	Notify func(Notice)
	// Clock gives the time in nanoseconds of Unix time. It may run back.
	Clock func() int64
}

// A Routing says how keys become partitions.
type Routing struct {
	Seed uint64 // of the hash
	Bits uint   // partitions = 1 << Bits; the high bits of the hash
	Hash func(key []byte, seed uint64) uint64
}

// Partition returns the partition of a hash.
func (r Routing) Partition(hash uint64) uint32 { return uint32(hash >> (64 - r.Bits)) }

// A LogConfig says how the log is written and when snapshots are taken.
type LogConfig struct {
	FS       fsys.FS
	Device   wal.DeviceKind
	Sync     SyncMode
	Interval time.Duration // of SyncInterval
	// SegmentBytes is the size of a log file, FrameBytesMax the largest frame.
	SegmentBytes  int
	FrameBytesMax int
	// SnapshotBytes is how much log starts a snapshot round, unless the last
	// snapshot was larger.
	SnapshotBytes int64
	// RecoveryBudget is how long a recovery should take at most; 0: whatever it takes.
	RecoveryBudget time.Duration
	// Keep says how much is kept of what snapshots have replaced; it is asked whenever
	// one is published. nil keeps nothing.
	Keep func() Keep
}

// A WaitConfig says what an idle shard does.
type WaitConfig struct {
	Spin time.Duration // before it parks; 0: parks at once
	CPU  int           // to pin to; negative: not pinned
}

func (c *Config) walOptions() wal.Options {
	return wal.Options{
		FS:            c.Log.FS,
		Device:        c.Log.Device,
		SegmentBytes:  int64(c.Log.SegmentBytes),
		FrameBytesMax: c.Log.FrameBytesMax,
	}
}

func (c *Config) programs() []Program {
	programs := make([]Program, len(c.Tables))
	for i, t := range c.Tables {
		programs[i] = t.Bind()
	}
	return programs
}

package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/keyfold/keyfold/internal/affinity"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
	"github.com/keyfold/keyfold/shard"
	"github.com/keyfold/keyfold/wal"
)

// An Ack says how far an event must have come before its caller is told.
type Ack uint8

// The levels of an acknowledgement, strongest first.
const (
	Durable Ack = iota // synced: lost with the disk; the default
	Written            // given to the operating system: lost with the machine
	Applied            // in memory: lost with the process
)

// level is the shard's name for the ack.
func (a Ack) level() shard.Ack {
	switch a {
	case Durable:
		return shard.Durable
	case Written:
		return shard.Written
	}
	return shard.Applied
}

// A SyncMode says when the log is synced.
type SyncMode uint8

// The modes of syncing.
const (
	SyncAlways   SyncMode = iota // at every group commit
	SyncInterval                 // once in Options.SyncInterval; a Durable call waits for it
	SyncNever                    // when the system likes; a Durable call is refused
)

// A PinMode says whether shards are pinned to CPUs.
type PinMode uint8

// The modes of pinning.
const (
	PinOff PinMode = iota // no; the default
	PinOn                 // each shard to one of the allowed CPUs, unless a CPU quota applies
)

// A LogDevice says who writes the files of the log. Both write the same bytes, and
// either opens what the other wrote.
type LogDevice uint8

// The devices.
const (
	DeviceDirect  LogDevice = iota // Keyfold's own writer; the default
	DeviceLibrary                  // github.com/tidwall/wal
)

// A KeepLog says how much of the log is kept that no recovery needs any more. It is trimmed
// by whole generations, when a snapshot is published and at every open: what is kept may be
// larger by what the newest two snapshots stand on. The zero KeepLog keeps nothing else.
type KeepLog struct {
	// Bytes is how much is kept, of all shards together; each has an equal part. 0 means
	// that only Age counts.
	Bytes int64
	// Age is how long it is kept. 0 means that only Bytes counts.
	Age time.Duration
}

func (k KeepLog) on() bool { return k.Bytes > 0 || k.Age > 0 }

// Options says how an engine runs. The zero Options is right for a service that
// shares its machine. Nothing here changes what is promised but Sync.
type Options struct { //tidy:ignore size: one flat struct, so that a literal names any option
	// Shards is how many goroutines own the partitions. It may differ at every open.
	// 0 means half of GOMAXPROCS, but at least 1.
	Shards int
	// Partitions is how many slices the key space has, a power of two up to 65536. It
	// is fixed when a store is created, and must then be 0 or the same. 0 means 4096.
	Partitions int
	// Sync says when the log is synced. The default is at every group commit.
	Sync SyncMode
	// SyncInterval is the time between syncs of the SyncInterval mode. 0 means 10 ms.
	SyncInterval time.Duration
	// EventBytesMax is the size of the largest event, KeyBytesMax that of the largest
	// key, as encoded. 0 means 64 KiB and 4 KiB; at most 8 MiB and 65535.
	EventBytesMax int
	KeyBytesMax   int
	// InboxBytes is how much waits for a shard before senders wait for room, a power
	// of two. 0 means 1 MiB; it is raised to hold four blocks of 16 KiB with one of
	// the largest events and keys each.
	InboxBytes int
	// SnapshotBytes is how much log starts a snapshot. Recovery replays about so much
	// at most, or as much as the last snapshot was large. 0 means 256 MiB.
	SnapshotBytes int64
	// RecoveryBudget is how long Open should take after a crash, as Stats.RecoveryTime
	// estimates it: snapshots begin earlier than SnapshotBytes says where that is needed,
	// and do not rest while it is exceeded. It is a goal, not a promise: a store that is
	// loaded in more than this, or written faster than it is snapshotted, takes longer.
	// The price is up to four bytes of snapshots for each byte of log. 0 means no budget.
	RecoveryBudget time.Duration
	// KeepLog says how much of the log is kept behind that, for Changes and Replay.
	KeepLog KeepLog
	// Pin says whether shards are pinned to CPUs. A pinned shard keeps its thread, so
	// that waking it, or being woken by it, costs a switch of threads: it is for
	// machines with a CPU to spare for each shard, and a long Spin.
	Pin PinMode
	// Spin is how long an idle shard looks for work before it sleeps. 0 means 20 us,
	// less than 0 not at all. A shard that spins for long takes a CPU from the host.
	Spin time.Duration
	// QueuedSync hands syncs to the kernel by io_uring, or Linux AIO where that is
	// refused, and parks the goroutine that waits, instead of holding a thread in
	// fdatasync. It is for disks that sync in tens of microseconds; where a sync takes
	// hundreds it gained nothing, and cost a single caller a fifth. Where neither works
	// it changes nothing.
	QueuedSync bool
	// Device says who writes the files of the log.
	Device LogDevice
	// SegmentBytes is the size of a file of the log. A full file is synced beside the
	// shard whatever Sync says, before the next one is full; DeviceLibrary holds the shard
	// up for that. 0 means 64 MiB, but 4 MiB for DeviceLibrary, which holds the last file in
	// memory.
	SegmentBytes int
	// Progress is called during Open with the bytes of log read, of all there are, by
	// several goroutines at once. It may be nil.
	Progress func(shard int, done, total int64)
	// Rebalance says what becomes of an imbalance between shards.
	Rebalance RebalanceMode
	// Logger is told what an operator must know: what Open has found; that a shard has
	// failed, is read-only or takes events again; that a snapshot or an OnTimer has failed;
	// that partitions have moved, or could not; once a minute at most, which should move,
	// and which no move helps. nil means that nothing is logged. Its handler runs on a
	// goroutine of the engine, which Close waits for; it must not close the engine.
	Logger *slog.Logger
	// Environment is the disk and the clock; nil means the operating system's.
	Environment *Environment
}

// An Environment is the disk and the clock that an engine lives in, for tests of programs
// that open, verify, replay or restore stores by themselves: enginetest.Store.Environment
// makes one in memory. What it consists of is the engine's own, and may change.
type Environment = seam.Environment

// Limits and defaults of Options.
const (
	partitionsDefault = 4096
	partitionsMax     = 1 << 16
	shardsMax         = 1 << 10
	eventBytesMax     = 8 << 20
	inboxBytesMax     = 1 << 30
	spinDefault       = 20 * time.Microsecond
)

// complete returns o with all defaults filled in, or says what is wrong with it.
func (o Options) complete() (Options, error) {
	setDefault(&o.Shards, max(1, runtime.GOMAXPROCS(0)/2))
	setDefault(&o.SyncInterval, 10*time.Millisecond)
	setDefault(&o.EventBytesMax, 64<<10)
	setDefault(&o.KeyBytesMax, 4<<10)
	setDefault(&o.InboxBytes, 1<<20)
	setDefault(&o.SnapshotBytes, 256<<20)
	setDefault(&o.Spin, spinDefault)
	if o.Device == DeviceLibrary {
		setDefault(&o.SegmentBytes, 4<<20)
	}
	setDefault(&o.SegmentBytes, 64<<20)
	if o.Environment == nil {
		o.Environment = seam.System()
		if o.QueuedSync {
			o.Environment.FS = fsys.QueuedOS()
		}
	}
	if o.Environment.FS == nil || o.Environment.Now == nil {
		return o, errors.New("keyfold: Options.Environment must be one that package enginetest has made")
	}
	o.Spin = max(o.Spin, 0)
	if err := o.check(); err != nil {
		return o, err
	}
	for o.InboxBytes < 4*(blockTargetBytes+o.EventBytesMax+o.KeyBytesMax+64) {
		o.InboxBytes *= 2
	}
	return o, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o *Options) check() error {
	partitions := o.Partitions
	setDefault(&partitions, partitionsDefault)
	for _, c := range []struct {
		ok   bool
		rule string
	}{
		{o.Shards > 0 && o.Shards <= shardsMax, fmt.Sprintf("Shards must be 1 to %d, not %d", shardsMax, o.Shards)},
		{powerOfTwo(partitions) && partitions <= partitionsMax, fmt.Sprintf("Partitions must be a power of two up to %d, not %d", partitionsMax, o.Partitions)},
		{o.Sync <= SyncNever, fmt.Sprintf("Sync must be one of the SyncModes, not %d", o.Sync)},
		{o.SyncInterval > 0, fmt.Sprintf("SyncInterval must be more than 0, not %v", o.SyncInterval)},
		{o.EventBytesMax > 0 && o.EventBytesMax <= eventBytesMax, fmt.Sprintf("EventBytesMax must be 1 to %d, not %d", eventBytesMax, o.EventBytesMax)},
		{o.KeyBytesMax > 0 && o.KeyBytesMax <= shard.KeyBytesMax, fmt.Sprintf("KeyBytesMax must be 1 to %d, not %d", shard.KeyBytesMax, o.KeyBytesMax)},
		{powerOfTwo(o.InboxBytes) && o.InboxBytes <= inboxBytesMax, fmt.Sprintf("InboxBytes must be a power of two up to %d, not %d", inboxBytesMax, o.InboxBytes)},
		{o.SnapshotBytes > 0, fmt.Sprintf("SnapshotBytes must be more than 0, not %d", o.SnapshotBytes)},
		{o.RecoveryBudget >= 0, fmt.Sprintf("RecoveryBudget must not be negative, as %v is", o.RecoveryBudget)},
		{o.KeepLog.Bytes >= 0 && o.KeepLog.Age >= 0, fmt.Sprintf("KeepLog must not be less than 0: %+v", o.KeepLog)},
		{o.SegmentBytes >= 4<<10 && o.SegmentBytes <= 1<<30, fmt.Sprintf("SegmentBytes must be 4 KiB to 1 GiB, not %d", o.SegmentBytes)},
		{o.Pin <= PinOn && o.Device <= DeviceLibrary && o.Rebalance <= RebalanceAutomatic, "Pin, Device and Rebalance must be one of their modes"},
	} {
		if !c.ok {
			return fmt.Errorf("keyfold: Options.%s", c.rule)
		}
	}
	return nil
}

func powerOfTwo(n int) bool { return n > 0 && n&(n-1) == 0 }

// device is the log's name for Options.Device. A file system that is not the
// operating system's is out of the library's reach.
func (o *Options) device() wal.DeviceKind {
	if o.Device == DeviceDirect || !o.Environment.OperatingSystem {
		return wal.Direct
	}
	return wal.Library
}

// cpus says for each of count shards which CPU to pin it to, or -1.
func (o *Options) cpus(count int) []int {
	cpus := make([]int, count)
	for i := range cpus {
		cpus[i] = -1
	}
	if o.Pin != PinOn || !o.Environment.OperatingSystem {
		return cpus
	}
	if _, limited := affinity.Quota(); limited {
		return cpus
	}
	allowed, err := affinity.Allowed()
	if err != nil || len(allowed) < count {
		return cpus
	}
	for i := range cpus {
		cpus[i] = allowed[len(allowed)-1-i] // the first CPU takes most interrupts
	}
	return cpus
}

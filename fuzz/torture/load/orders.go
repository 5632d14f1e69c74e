package load

import (
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

// Variable is the environment variable that makes a test binary a child: its value is
// the name of a file with Orders.
const Variable = "KEYFOLD_TORTURE_CHILD"

// hashSeed is that of every store, so that the parent knows the partition of a key.
const hashSeed = 7

// Partitions is how many a store has, and partitionBits its logarithm.
const (
	Partitions    = 16
	partitionBits = 4
)

// A Door is the way that events take into the engine.
type Door string

// The doors.
const (
	Do       Door = "do"       // one event at a time in each partition, at a mixture of acks
	Batch    Door = "batch"    // some at a time
	Producer Door = "producer" // a stream for each partition
	Source   Door = "source"   // two streams that shards read
)

// Orders say what a child does. The parent leaves them in a file.
type Orders struct { //tidy:ignore size: one flat struct, as engine.Options is
	Dir   string `json:"dir"`   // of the store
	Marks string `json:"marks"` // the file of the Board
	Found string `json:"found"` // where to write what the store holds
	Life  Life   `json:"life"`
	// Before is the life of the last child that may have sent something.
	Before Life `json:"before"`

	Shards        int              `json:"shards"`
	Device        engine.LogDevice `json:"device"`
	Queued        bool             `json:"queued"` // syncs by the kernel's queues
	Sync          engine.SyncMode  `json:"sync"`
	SegmentBytes  int              `json:"segment_bytes"`
	SnapshotBytes int64            `json:"snapshot_bytes"`
	Door          Door             `json:"door"`
	Ack           engine.Ack       `json:"ack"` // of doors that have one for all events
	Moves         bool             `json:"moves"`
	Snapshots     bool             `json:"snapshots"`
	ClockJumps    bool             `json:"clock_jumps"`
	Lulls         bool             `json:"lulls"`   // nothing is sent at times, while all else goes on
	Changes       bool             `json:"changes"` // somebody reads them meanwhile; not in a life of OnlyAlarms
	// Events is how many to send to each partition; 0: none, the child rests.
	Events uint64 `json:"events"`
	// Close the store at the end, and end. Otherwise the child stays as it is.
	Close bool `json:"close"`
	// Faults says that the disk fails on purpose: shards may fail, and events be refused.
	Faults bool `json:"faults"`
}

// A Life is what the events that a child sends depend on.
type Life struct {
	Seed   uint64 `json:"seed"`
	Number uint64 `json:"number"` // no two children of a store that send have the same
	Keys   int    `json:"keys"`   // how many each partition has, in each table
	Tables Tables `json:"tables"`
	// LargeBytes is how large one event in 64 is at most.
	LargeBytes int `json:"large_bytes"`
	// IDs says that one event of the tallies in four is sent with an id, and some of those
	// again: at once, or by the next child. Only Do can.
	IDs bool `json:"ids"`
}

// Tables says which tables get events.
type Tables uint8

// The tables. Only doors that keep an order between two tables may send to both.
const (
	Both Tables = iota
	OnlyTallies
	OnlyNotes
	OnlyAlarms // for the whole life of a store: firings count in the sequences of partitions
)

// options are those of the engine, on a disk that is not the operating system's, or on
// that if on is nil.
func (o *Orders) options(now func() int64, on fsys.FS) engine.Options {
	e := seam.System()
	e.Seed, e.Hash, e.Now = hashSeed, xxh3.HashSeed, now
	switch {
	case on != nil:
		e.FS, e.OperatingSystem = on, false
	case o.Queued:
		e.FS = fsys.QueuedOS()
	}
	return engine.Options{
		Shards: o.Shards, Partitions: Partitions, Sync: o.Sync, SyncInterval: 2 * time.Millisecond,
		EventBytesMax: 64 << 10, KeyBytesMax: 64, InboxBytes: 64 << 10,
		SegmentBytes: o.SegmentBytes, SnapshotBytes: o.SnapshotBytes, Device: o.Device, Spin: -1,
		Rebalance: engine.RebalanceOff, Environment: e,
	}
}

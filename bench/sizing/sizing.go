// Package sizing says what a store of a given size will need: memory, disk, and time
// to recover. It measures a small store of the same shape for a few seconds, on the
// machine and the disk in question, and multiplies.
package sizing

import (
	"errors"
	"fmt"
	"time"
)

// A Shape is what keys, states and events look like, in bytes as encoded.
type Shape struct {
	KeyBytes   int `json:"key_bytes"`
	StateBytes int `json:"state_bytes"`
	EventBytes int `json:"event_bytes"`
}

// Bounds of a Shape: a key is a number at least, and larger states are better kept
// elsewhere.
const (
	KeyBytesMin   = 8
	KeyBytesMax   = 4 << 10
	StateBytesMin = 1
	StateBytesMax = 4 << 10
	EventBytesMin = 1
	EventBytesMax = 64 << 10
)

// Check says what is wrong with the shape.
func (s *Shape) Check() error {
	for _, c := range []struct {
		what            string
		bytes, min, max int
	}{
		{"key", s.KeyBytes, KeyBytesMin, KeyBytesMax}, {"state", s.StateBytes, StateBytesMin, StateBytesMax},
		{"event", s.EventBytes, EventBytesMin, EventBytesMax},
	} {
		if c.bytes < c.min || c.bytes > c.max {
			return fmt.Errorf("sizing: a %s of %d to %d bytes can be measured, not one of %d", c.what, c.min, c.max, c.bytes)
		}
	}
	return nil
}

// Rates are what was measured.
type Rates struct {
	// Shape is that of the store in question.
	Shape Shape `json:"shape"`
	// Keys is how many keys the small store had, StateBytes how large their states
	// were: the next size that there is a type for.
	Keys       uint64 `json:"keys"`
	StateBytes int    `json:"state_bytes"`
	Shards     int    `json:"shards"`
	// MemoryPerKey is the memory of key, state and index, SnapshotPerKey what a key
	// takes of a snapshot, LogPerEvent what an event takes of the log: bytes.
	MemoryPerKey   float64 `json:"memory_per_key"`
	SnapshotPerKey float64 `json:"snapshot_per_key"`
	LogPerEvent    float64 `json:"log_per_event"`
	// EventsPerSecond is how fast one producer was, whose events were written.
	EventsPerSecond float64 `json:"events_per_second"`
	// LoadPerSecond is how many keys a second a recovery loads from snapshots,
	// ReplayPerSecond how many events it replays.
	LoadPerSecond   float64       `json:"load_per_second"`
	ReplayPerSecond float64       `json:"replay_per_second"`
	Took            time.Duration `json:"took_ns"`
}

// An Estimate is what a store will need.
type Estimate struct {
	Memory float64 // bytes of all keys, states and indexes
	// Snapshot is the size of one snapshot, LogMax how much log there is when the next
	// is due, DiskMax the most that is on the disk: two snapshots, a third that is
	// being written, and the log since the first of them.
	Snapshot, LogMax, DiskMax float64
	// RecoveryMin is how many seconds a recovery takes that replays nothing,
	// RecoveryMax one that replays LogMax.
	RecoveryMin, RecoveryMax float64
	// Of a rate of events: the part of the measured rate that it is, the bytes of log
	// a second, and the seconds between snapshots; 0 without a rate.
	Part, LogPerSecond, SnapshotEvery float64
}

// snapshotBytesDefault is how much log of a shard starts a snapshot, by default.
const snapshotBytesDefault = 256 << 20

// Of is what a store of so many keys needs, at so many events a second; 0 is no rate.
func (r *Rates) Of(keys uint64, perSecond float64) (e Estimate, err error) {
	if r.LoadPerSecond <= 0 || r.ReplayPerSecond <= 0 || r.LogPerEvent <= 0 || r.EventsPerSecond <= 0 {
		return e, errors.New("sizing: too little was measured: measure more keys")
	}
	n := float64(keys)
	e.Memory = n * r.MemoryPerKey
	e.Snapshot = n * r.SnapshotPerKey
	e.LogMax = max(snapshotBytesDefault*float64(r.Shards), e.Snapshot)
	e.DiskMax = 3*e.Snapshot + 2*e.LogMax
	e.RecoveryMin = n / r.LoadPerSecond
	e.RecoveryMax = e.RecoveryMin + e.LogMax/r.LogPerEvent/r.ReplayPerSecond
	if perSecond > 0 {
		e.Part = perSecond / r.EventsPerSecond
		e.LogPerSecond = perSecond * r.LogPerEvent
		e.SnapshotEvery = e.LogMax / e.LogPerSecond
	}
	return e, nil
}

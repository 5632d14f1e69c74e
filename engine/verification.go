package engine

import (
	"fmt"
	"path/filepath"
	"time"
)

// A Verification is what Verify found in the directory of a store. Times are of the
// store's clock, sizes are in bytes.
type Verification struct {
	Dir        string `json:"dir"`        // as Verify was given it
	Store      string `json:"store"`      // its id, hexadecimal
	Format     uint32 `json:"format"`     // version of the manifest
	Ready      bool   `json:"ready"`      // false: it was being created, and nothing was acknowledged
	Partitions int    `json:"partitions"` // of the key space
	Layout     uint32 `json:"layout"`     // the current one
	// Former is the layout before, while it is kept; else 0.
	Former uint32          `json:"former_layout,omitempty"`
	Tables []VerifiedTable `json:"tables"`
	Shards []VerifiedShard `json:"shards"`
	// Locked says that no engine can have had the store open meanwhile. It is not if the
	// lock file is missing or may not be written.
	Locked bool    `json:"locked"`
	Faults []Fault `json:"faults"`
}

// A VerifiedTable is a table as the manifest and the shards know it.
type VerifiedTable struct {
	Name    string `json:"name"`    // of the table
	Version uint32 `json:"version"` // of its Spec
	Schemas int    `json:"schemas"` // that are kept: the present one, and those that older data was written under
	Key     string `json:"key"`     // layout, or codec
	State   string `json:"state"`   // layout, or codec
	Event   string `json:"event"`   // layout, or codec
	// Keys are those in the newest snapshots. A store that was closed has no others.
	Keys uint64 `json:"keys"`
	// Timed, IDs and Origins are what the newest snapshots have besides: keys with a timer or
	// other times, events that are remembered by their ids, and sequences of producers and
	// sources with a name, one for each partition that they came to.
	Timed   uint64 `json:"timed,omitempty"`
	IDs     uint64 `json:"ids,omitempty"`
	Origins uint64 `json:"origins,omitempty"`
	// Dropped says that a program has let the table go. What files still have of it is not
	// counted, and goes with them.
	Dropped bool `json:"dropped,omitempty"`
	// Events are those in the logs that the snapshots do not hold: Open applies them.
	Events uint64 `json:"events_behind"`
}

// count adds what a partition has of the table.
func (t *VerifiedTable) count(st *opaqueStore) {
	if t.Dropped {
		return
	}
	t.Keys += uint64(st.keys)
	t.Events += st.events
	t.Timed, t.IDs, t.Origins = t.Timed+st.beside.timed, t.IDs+st.beside.ids, t.Origins+st.beside.origins
}

// A VerifiedShard is one shard of the current layout.
type VerifiedShard struct {
	Shard       int                  `json:"shard"`         // its number
	Partitions  int                  `json:"partitions"`    // that it owns
	Last        uint64               `json:"events"`        // that its partitions have had: the sum of their sequences
	Snapshot    uint64               `json:"base_snapshot"` // that Open loads; 0: none
	Clean       bool                 `json:"clean"`         // closed: Open has nothing to replay
	Generations []VerifiedGeneration `json:"generations"`   // of the log, oldest first
	Snapshots   []VerifiedSnapshot   `json:"snapshots"`     // oldest first
}

// A VerifiedGeneration is one directory of a log. With a fault in it the figures go up
// to there.
type VerifiedGeneration struct {
	Number    uint64    `json:"number"`               // as its directory is named
	Sealed    bool      `json:"sealed"`               // its end is recorded
	Frames    uint64    `json:"frames"`               // group commits, its header included
	Events    uint64    `json:"events"`               // in them, and records of moves
	Bytes     int64     `json:"bytes"`                // of whole frames
	Horizon   uint64    `json:"horizon"`              // highest frame that a later one says is durable
	TornBytes int64     `json:"torn_bytes,omitempty"` // behind the last whole frame
	First     time.Time `json:"first"`                // time of the first frame
	Last      time.Time `json:"last"`                 // and of the last
	Needed    bool      `json:"needed"`               // by Open; false: only an older snapshot, or nothing, wants it
	Kept      bool      `json:"kept"`                 // as history, by Options.KeepLog: no snapshot wants it
}

// A VerifiedSnapshot is one snapshot file.
type VerifiedSnapshot struct {
	Number  uint64    `json:"number"`  // that of the generation that was begun with it
	Entries uint64    `json:"entries"` // keys of all tables, and what is kept beside them
	Bytes   uint64    `json:"bytes"`   // of the file
	Written time.Time `json:"written"` // as the file system says
	Whole   bool      `json:"whole"`   // every byte of it is as it was written
}

// A Meaning says what becomes of a fault.
type Meaning uint8

// The meanings, worst first.
const (
	// MeaningRefused: Open refuses the store because of it.
	MeaningRefused Meaning = iota
	// LeftOut: Open does without it, and warns. What it holds is also elsewhere.
	LeftOut
	// MeaningSpare: Open does not read it. It is what would be fallen back to.
	MeaningSpare
	// MeaningTear: what a crash left of a last write. Open drops it. Nothing of it was
	// acknowledged as durable.
	MeaningTear
	// Superfluous: nothing names it. Open removes it.
	Superfluous
)

var meaningNames = [...]string{"refused", "left out", "spare", "tear", "superfluous"}

// String is the meaning in a word or two.
func (m Meaning) String() string { return meaningNames[m] }

// MarshalText makes the meaning a word in JSON.
func (m Meaning) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// consequences say the same in a sentence.
var consequences = [...]string{
	"Open refuses the store because of it",
	"Open leaves it out, with a warning; what it holds is also elsewhere",
	"Open does not need it, but would if what is newer were damaged, too",
	"Open drops it; a crash may leave it, and nothing of it was acknowledged as durable",
	"Open removes it: nothing refers to it",
}

// A Fault is something that is not as an engine leaves it when it is closed.
type Fault struct {
	Meaning   Meaning `json:"meaning"`             // what becomes of it
	Shard     int     `json:"shard"`               // -1: of the whole store
	Path      string  `json:"path"`                // in the directory of the store
	Offset    int64   `json:"offset"`              // in Path
	Bytes     int64   `json:"bytes,omitempty"`     // that are dropped, of a tear
	Partition uint32  `json:"partition,omitempty"` // that it shows in, if Sequence is that of an event
	Sequence  uint64  `json:"sequence,omitempty"`  // of the first event in doubt, or number of the frame
	Text      string  `json:"text"`                // what is wrong
	Err       error   `json:"-"`                   // of Open, or as Open would meet it; nil for what is no error
}

// Consequence says in a sentence what becomes of it.
func (f *Fault) Consequence() string { return consequences[f.Meaning] }

// String says where, what, and what becomes of it.
func (f *Fault) String() string {
	at := f.Path
	if f.Offset != 0 || f.Bytes != 0 {
		at += fmt.Sprintf(", offset %d", f.Offset)
	}
	if f.Sequence != 0 {
		at += fmt.Sprintf(", sequence %d", f.Sequence)
	}
	return fmt.Sprintf("%s: %s. %s", at, f.Text, f.Consequence())
}

// Refused is the error that Open would return because of the first fault that it
// refuses, or nil.
func (v *Verification) Refused() error {
	for i := range v.Faults {
		if f := &v.Faults[i]; f.Meaning == MeaningRefused {
			return f.Err
		}
	}
	return nil
}

// Whole says that every byte is there that should be: no fault but tears and what is
// superfluous.
func (v *Verification) Whole() bool {
	for i := range v.Faults {
		if v.Faults[i].Meaning < MeaningTear {
			return false
		}
	}
	return true
}

// within makes a path that begins with the directory of the store relative to it.
func (v *Verification) within(path string) string {
	if short, err := filepath.Rel(v.Dir, path); err == nil && filepath.IsLocal(short) {
		return short
	}
	return path
}

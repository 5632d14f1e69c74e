package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/shard"
)

// A Salvaged says what a salvage keeps of a store, and what it cannot.
type Salvaged struct {
	Dir        string          `json:"dir"`          // that was read
	To         string          `json:"to,omitempty"` // where it was written; "": nowhere
	Partitions int             `json:"partitions"`   // in all
	Events     uint64          `json:"events"`       // that what is kept is made of
	Lost       uint64          `json:"lost"`         // events that something speaks of, and that are gone
	Losses     []PartitionLoss `json:"losses"`       // by partition, of those that lose something
	// Notes say what was met in the files. Behind damage in the newest log there may have
	// been events that nothing else speaks of.
	Notes []string `json:"notes"`
}

// A PartitionLoss is a partition of which not everything can be kept.
type PartitionLoss struct {
	Partition uint32 `json:"partition"` // its number
	Kept      uint64 `json:"kept"`      // its first events that are kept; 0: none
	Known     uint64 `json:"known"`     // the last one that something speaks of
}

// Salvage finds out what is whole of a store that Open refuses. It never changes the
// store. What it keeps of each partition is what its first events have made, as many as
// there are without a hole: an image of a snapshot, or of a move, and the events behind it.
// All keys whose partitions lose nothing are there as they were.
//
// If to is not "" it is made, and a new store is written into it, with as many shards and
// with an id of its own, which Open takes. It must not exist, and the state must fit into
// memory, one shard at a time; after an error remove what is there of it. With "" Salvage only
// says what it would keep.
//
// The manifest must be readable: without it nobody knows where keys belong and what bytes
// mean. Otherwise errors are those of Verify, and of the disk.
func Salvage(ctx context.Context, dir, to string, options VerifyOptions) (*Salvaged, error) {
	s, err := visit(dir, options.Environment)
	if err != nil {
		return nil, err
	}
	out := &Salvaged{Dir: s.dir, To: to}
	if err = s.read(); err == nil {
		err = s.salvage(ctx, out)
	}
	if err = errors.Join(err, s.leave()); err != nil {
		return nil, err
	}
	if to == "" {
		return out, nil
	}
	v, err := Verify(ctx, to, options)
	if err == nil {
		err = v.Refused()
	}
	return out, err
}

// A berth is where the best remnant of a partition was found.
type berth struct {
	remnant *shard.Remnant
	index   int // of the shard
	base    uint64
}

// salvage looks for the best of each partition, and then writes it.
func (s *visitor) salvage(ctx context.Context, out *Salvaged) error {
	m := s.manifest
	out.Partitions = m.Partitions
	owned := partitionsOf(m)
	wrecks, best := make([]*shard.Wreck, m.Shards), make([]berth, m.Partitions)
	known := make([]uint64, m.Partitions)
	for i := range wrecks {
		if err := ctx.Err(); err != nil {
			return err
		}
		wrecks[i] = shard.OpenWreck(s.config(i))
		for _, base := range wrecks[i].Bases() {
			for id, remnant := range wrecks[i].Read(base, owned[i], func(uint32) bool { return false }) {
				if int(id) < len(best) && remnant.Better(best[id].remnant) {
					best[id] = berth{remnant, i, base}
				}
			}
		}
		for id, sequence := range wrecks[i].Known {
			if int(id) < len(known) {
				known[id] = max(known[id], sequence)
			}
		}
		for _, note := range wrecks[i].Notes {
			out.Notes = append(out.Notes, fmt.Sprintf("shard %d: %s", i, note))
		}
	}
	for id, b := range best {
		kept := uint64(0)
		if b.remnant != nil {
			kept = b.remnant.Sequence
		}
		out.Events += kept
		if kept < known[id] {
			out.Lost += known[id] - kept
			out.Losses = append(out.Losses, PartitionLoss{Partition: uint32(id), Kept: kept, Known: known[id]})
		}
	}
	if out.To == "" {
		return nil
	}
	return s.rebuild(ctx, out.To, wrecks, best)
}

// rebuild writes the best of each partition as a new store. Its manifest says that it is
// being created until all is there.
func (s *visitor) rebuild(ctx context.Context, to string, wrecks []*shard.Wreck, best []berth) error {
	to = filepath.Clean(to)
	if _, err := s.fs.Lstat(to); !errors.Is(err, errNotExist) {
		return fmt.Errorf("keyfold: %s is there already; a salvage writes into a directory that it makes", to)
	}
	m := *s.manifest
	m.Layout, m.Former, m.Ready = 1, 0, false
	m.Owners = append([]uint16(nil), m.Owners...)
	now, paused := int64(0), int64(0) // the store was up until then, and is down since
	for _, w := range wrecks {
		now, paused = max(now, w.Time), max(paused, w.Paused)
	}
	if now == 0 {
		now = s.env.Now()
	}
	for id, b := range best {
		if b.remnant != nil {
			m.Owners[id] = uint16(b.index)
		}
	}
	if _, err := rand.Read(m.Store[:]); err != nil {
		return fmt.Errorf("keyfold: %w", err)
	}
	if err := fsys.MkdirAll(s.fs, to, 0o700); err != nil {
		return fmt.Errorf("keyfold: %w", err)
	}
	if err := m.write(s.fs, to); err != nil {
		return err
	}
	target := *s
	target.dir, target.manifest = to, &m
	owned := partitionsOf(s.manifest)
	for i, w := range wrecks {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := shard.CreateSalvaged(target.config(i), chosen(w, i, owned[i], best), now, paused); err != nil {
			return err
		}
	}
	m.Ready = true
	return m.write(s.fs, to)
}

// chosen reads the remnants that were found in a shard once more, with their bytes.
func chosen(w *shard.Wreck, index int, owned []uint32, best []berth) (remnants []*shard.Remnant) {
	for _, base := range w.Bases() {
		is := func(id uint32) bool {
			b := best[id]
			return b.remnant != nil && b.index == index && b.base == base && b.remnant.Sequence > 0
		}
		for id, remnant := range w.Read(base, owned, is) {
			if is(id) {
				remnants = append(remnants, remnant)
			}
		}
	}
	slices.SortFunc(remnants, func(a, b *shard.Remnant) int { return int(a.Partition) - int(b.Partition) })
	return remnants
}

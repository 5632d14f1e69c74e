package shard

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/snapshot"
	"github.com/keyfold/keyfold/wal"
)

// A mark is a place in the log of a running shard.
type mark struct{ generation, frame uint64 }

// readable is how far the log may be read. The bar is looked at last: one that is set after
// that is not nearer than the tip was, and neither is a cut that is made behind it.
func (s *Shard) readable() mark {
	tip := s.log.tip.Load()
	at := mark{tip.Generation(), tip.Durable()}
	if bar := s.followers.bar.Load(); bar != nil {
		return *bar
	}
	return at
}

// Bar keeps followers from reading further than they could now, until Unbar. It is safe
// for concurrent use.
func (s *Shard) Bar() {
	at := s.readable()
	s.followers.bar.Store(&at)
}

// Unbar ends that.
func (s *Shard) Unbar() {
	s.followers.bar.Store(nil)
	s.TellFollowers()
}

// A Cut is what a shard has on disk at one moment, durably: its newest snapshot and the log
// behind that. The files stay as they are until Release, also when newer ones replace them.
// It must be used by one goroutine at a time.
type Cut struct {
	shard   *Shard
	current Current
	last    mark
}

// Cut takes a cut that holds everything that was applied when it was called.
func (s *Shard) Cut(ctx context.Context) (*Cut, error) {
	upTo := uint64(0)
	c := &Cut{shard: s}
	// Whoever swaps first decides: the shard, which then holds the files, or the caller, who
	// then does not want that any more.
	var decided atomic.Bool
	err := s.Tell(ctx, func() {
		if decided.CompareAndSwap(false, true) {
			s.round.removal.holds++
			upTo = s.log.openOrdinal()
		}
	})
	if err != nil {
		if !decided.CompareAndSwap(false, true) {
			c.Release()
		}
		return nil, err
	}
	if err = syncUpTo(s, func() uint64 { return upTo }); err == nil {
		err = s.Tell(ctx, func() {
			tip := s.log.tip.Load()
			c.current, c.last = s.log.current, mark{tip.Generation(), tip.Durable()}
		})
	}
	if err != nil {
		c.Release()
		return nil, err
	}
	c.trim()
	return c, nil
}

// trim leaves what a recovery of the cut reads.
func (c *Cut) trim() {
	base := uint64(0)
	if n := len(c.current.Snapshots); n > 0 {
		base = c.current.Snapshots[n-1]
		c.current.Snapshots = []uint64{base}
	}
	var needed []Generation
	for _, g := range c.current.Generations {
		if g.Number >= base && g.Number < c.last.generation {
			needed = append(needed, g)
		}
	}
	c.current.Kept = nil
	c.current.Generations = append(needed, Generation{Number: c.last.generation})
}

// Release lets the shard remove what has been replaced.
func (c *Cut) Release() {
	s := c.shard
	_ = s.Tell(context.Background(), func() {
		r := &s.round
		if r.removal.holds--; r.removal.holds == 0 && r.removal.owed && r.phase == roundIdle && !r.lane.busy {
			s.removeReplaced()
		}
	})
}

// A CutFile names a file of a cut: a segment of a generation, or a snapshot.
type CutFile struct {
	Generation uint64 // of the segment, or of the round of the snapshot
	Segment    uint64 // the number of its first entry; 0: it is a snapshot
}

// Files hands out the content of all files, verified, in pieces that are borrowed; then
// the payload of a CURRENT file that names them, as of a shard that was closed.
func (c *Cut) Files(piece func(CutFile, []byte) error) (current []byte, err error) {
	for _, number := range c.current.Snapshots {
		if err := c.copySnapshot(number, piece); err != nil {
			return nil, err
		}
	}
	for i := range c.current.Generations {
		if err := c.copyGeneration(&c.current.Generations[i], piece); err != nil {
			return nil, err
		}
	}
	return c.current.encode(), nil
}

func (c *Cut) copyGeneration(g *Generation, piece func(CutFile, []byte) error) error {
	cfg := &c.shard.cfg
	limit := g.End.Frame
	if g.Number == c.last.generation {
		limit = c.last.frame
	}
	r := wal.NewReader(cfg.Log.FS, cfg.generationDir(g.Number), cfg.ID, g.Number)
	defer r.Close()
	for {
		f, ok, err := r.Next(limit)
		if err != nil {
			return damaged(cfg.generationDir(g.Number), err)
		}
		if !ok {
			break
		}
		g.Ended = max(g.Ended, f.Time)
		segment, raw, err := r.Raw()
		if err != nil {
			return err
		}
		if err := piece(CutFile{Generation: g.Number, Segment: segment}, raw); err != nil {
			return err
		}
	}
	g.Sealed, g.End, g.Bytes = true, r.End(), r.Bytes()
	return nil
}

// cutPieceBytes is the size of the pieces of a snapshot.
const cutPieceBytes = 256 << 10

func (c *Cut) copySnapshot(number uint64, piece func(CutFile, []byte) error) error {
	cfg := &c.shard.cfg
	path := cfg.snapshotPath(number)
	summary, err := snapshot.Verify(cfg.Log.FS, path, cfg.snapshotID(number))
	if err != nil {
		return damaged(path, err)
	}
	file, err := cfg.Log.FS.OpenFile(path, 0, 0)
	if err != nil {
		return fmt.Errorf("shard: %w", err)
	}
	defer file.Close()
	b := make([]byte, cutPieceBytes)
	for at, size := int64(0), int64(summary.FileBytes); at < size; {
		n := min(int64(len(b)), size-at)
		if got, err := file.ReadAt(b[:n], at); int64(got) < n {
			return fmt.Errorf("shard: read %s at offset %d: %w", path, at, err)
		}
		if err := piece(CutFile{Generation: number}, b[:n]); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// CutPath is where a file of a cut belongs in the directory of a shard.
func CutPath(cfg Config, f CutFile) string {
	if f.Segment == 0 {
		return cfg.snapshotPath(f.Generation)
	}
	return wal.SegmentPath(cfg.generationDir(f.Generation), f.Segment)
}

// RestoreCurrent writes the CURRENT file whose payload Files has returned. The files that
// it names must be durable.
func RestoreCurrent(cfg Config, payload []byte) error {
	current, err := decodeCurrent(payload, currentVersion)
	if err != nil || current.ID != cfg.ID {
		return fmt.Errorf("shard: shard %d of the backup: %w", cfg.Index, errCurrent)
	}
	for _, dir := range []string{"log", "snapshot"} {
		if err := fsys.MkdirAll(cfg.Log.FS, filepath.Join(cfg.Dir, dir), 0o700); err != nil {
			return fmt.Errorf("shard: %w", err)
		}
	}
	return current.write(cfg.Log.FS, cfg.Dir)
}

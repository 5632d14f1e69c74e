package shard

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/keyfold/keyfold/snapshot"
	"github.com/keyfold/keyfold/wal"
)

// An Examination is what the directory of a shard holds, file by file, and what a
// recovery makes of it.
type Examination struct {
	Generations []GenerationView // that CURRENT names, oldest first
	Snapshots   []SnapshotView   // that CURRENT names, oldest first
	Unnamed     []string         // paths that it does not name, and that the next open removes
	State       *State           // what recovery comes to; nil if there is an Err
	Err         error            // why the shard cannot be recovered
}

// A GenerationView is one generation of a log. If there is an Err the counts go up to
// where it was met.
type GenerationView struct {
	Generation
	Path        string
	Found       wal.ScanResult
	First, Last int64 // times of its first and last frame, nanoseconds of Unix time
	Kept        bool  // as history: no snapshot needs it
	Err         error
}

// A SnapshotView is one snapshot file.
type SnapshotView struct {
	Number  uint64
	Path    string
	Written time.Time
	Found   snapshot.Summary
	Err     error
}

// Examine reads everything in the directory of a shard, also what a recovery would not
// need, and recovers it. It changes nothing. Tables and owned are as for Recover.
func Examine(cfg Config, owned []uint32) *Examination {
	x := &Examination{}
	current, err := readCurrent(cfg.Log.FS, cfg.Dir, cfg.ID)
	if err != nil {
		x.Err = err
		return x
	}
	for i, g := range append(slices.Clone(current.Kept), current.Generations...) {
		v := cfg.viewGeneration(g)
		v.Kept = i < len(current.Kept)
		x.Generations = append(x.Generations, v)
	}
	for _, number := range current.Snapshots {
		x.Snapshots = append(x.Snapshots, cfg.viewSnapshot(number))
	}
	x.Unnamed = unnamed(&cfg, &current)
	x.State, x.Err = Recover(cfg, owned, nil)
	return x
}

func (c *Config) viewGeneration(g Generation) GenerationView {
	v := GenerationView{Generation: g, Path: c.generationDir(g.Number)}
	options := wal.ScanOptions{}
	if g.Sealed {
		options.Seal = &g.End
	}
	var met wal.ScanResult
	found, err := wal.Scan(c.Log.FS, v.Path, c.ID, g.Number, options, func(f wal.FrameView) error {
		if f.Number == 0 {
			v.First, met.Start = f.Time, f.Start
		}
		v.Last = f.Time
		met.Frames++
		met.Events += uint64(f.Count)
		met.Bytes += int64(len(f.Body))
		met.Horizon = max(met.Horizon, f.Horizon)
		met.End = wal.End{Generation: g.Number, Frame: f.Number, Chain: f.Chain}
		return nil
	})
	if v.Found, v.Err = found, err; err != nil {
		v.Found, v.Err = met, damaged(v.Path, err)
	}
	return v
}

func (c *Config) viewSnapshot(number uint64) SnapshotView {
	v := SnapshotView{Number: number, Path: c.snapshotPath(number)}
	if info, err := c.Log.FS.Lstat(v.Path); err == nil {
		v.Written = info.ModTime()
	}
	if v.Found, v.Err = snapshot.Verify(c.Log.FS, v.Path, c.snapshotID(number)); v.Err != nil {
		v.Err = damaged(v.Path, v.Err)
	}
	return v
}

// unnamed lists what CURRENT does not name. A name that is not there is not an entry.
func unnamed(c *Config, current *Current) (paths []string) {
	named := make(map[string]bool)
	for _, g := range append(slices.Clone(current.Generations), current.Kept...) {
		named[c.generationDir(g.Number)] = true
	}
	for _, number := range current.Snapshots {
		named[c.snapshotPath(number)] = true
	}
	for _, dir := range []string{filepath.Join(c.Dir, "log"), filepath.Join(c.Dir, "snapshot")} {
		entries, err := c.Log.FS.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, entry := range entries {
			if path := filepath.Join(dir, entry.Name()); !named[path] {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

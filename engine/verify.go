package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
	"github.com/keyfold/keyfold/shard"
	"github.com/keyfold/keyfold/wal"
)

// ErrNoStore is matched by the errors of Verify, Inspect, Salvage, Replay and ReplayCheck when
// there is no store in the directory.
var ErrNoStore = errors.New("keyfold: there is no store")

// VerifyOptions say how Verify looks at a store. The zero VerifyOptions are right.
type VerifyOptions struct {
	// Environment has the disk; nil means the operating system's.
	Environment *Environment
}

// Verify reads all of the store in dir, without its tables, and says what is in it and
// whether it is whole. Every hash is checked, also in files that Open would not need,
// and all parts are joined as Open joins them, so that Open refuses a store, given its
// tables, exactly if [Verification.Refused] is not nil. What functions of the tables
// would do is not known: that a replay differs from the first run only Open can see.
//
// Nothing is changed, but that the lock file names the caller meanwhile. It reads
// the logs more than once, and takes memory for a few blocks of each shard.
//
// An error means that nothing can be said: it matches [ErrLocked] while an engine has
// the store open, and says which; [ErrNoStore] if there is none; or it is that of ctx.
// Damage is no error but a [Fault].
func Verify(ctx context.Context, dir string, options VerifyOptions) (*Verification, error) {
	s, err := visit(dir, options.Environment)
	if err != nil {
		return nil, err
	}
	v := &Verification{Dir: s.dir, Locked: s.lock != nil}
	err = s.verify(ctx, v)
	if err = errors.Join(err, s.leave()); err != nil {
		return nil, err
	}
	slices.SortStableFunc(v.Faults, func(a, b Fault) int { return int(a.Meaning) - int(b.Meaning) })
	return v, nil
}

// A visitor is who looks at a store without opening it.
type visitor struct {
	fs       fsys.FS
	env      *seam.Environment
	dir      string
	lock     io.Closer // nil: there was no lock file, or it may not be written
	unlocked bool      // there was no lock file
	manifest *manifest
	version  uint32 // of the manifest's format
	tables   []*opaqueTable
}

// visit locks the store in dir, if that is possible, so that nothing changes meanwhile.
func visit(dir string, env *seam.Environment) (*visitor, error) {
	if env == nil {
		env = seam.System()
	}
	s := &visitor{fs: env.FS, env: env, dir: filepath.Clean(dir)}
	info, err := s.fs.Lstat(s.dir + string(os.PathSeparator) + ".")
	switch {
	case errors.Is(err, errNotExist):
		return nil, fmt.Errorf("%w in %s: %w", ErrNoStore, s.dir, errNotExist)
	case err != nil && !errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w in %s: it is no directory", ErrNoStore, s.dir)
	case err != nil:
		return nil, fmt.Errorf("keyfold: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%w in %s: it is no directory", ErrNoStore, s.dir)
	}
	name := filepath.Join(s.dir, lockName)
	if _, err := s.fs.Lstat(name); errors.Is(err, errNotExist) {
		s.unlocked = true
		return s, nil
	}
	lock, err := s.fs.Lock(name, fmt.Sprintf("process %d, which only reads, since %s", os.Getpid(), time.Now().UTC().Format(time.RFC3339)))
	if errors.Is(err, ErrLocked) {
		return nil, fmt.Errorf("keyfold: %w", err)
	}
	switch {
	case err == nil:
		s.lock = lock
	case !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EROFS): // which a reader does without
		return nil, fmt.Errorf("keyfold: %s cannot be locked, and Open would refuse the store: %w", name, err)
	}
	return s, nil
}

// leave gives the lock back. Without one it looks whether an engine has come meanwhile.
func (s *visitor) leave() error {
	if s.lock != nil {
		return s.lock.Close()
	}
	if _, err := s.fs.Lstat(s.path(lockName)); err == nil && s.unlocked {
		return fmt.Errorf("keyfold: an engine has opened %s meanwhile; look again when it is closed", s.dir)
	}
	return nil
}

func (s *visitor) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

// read reads the manifest. An error that matches ErrNoStore says that there is none and
// has not been one.
func (s *visitor) read() (err error) {
	if s.manifest, s.version, err = lookAtManifest(s.fs, s.dir); err != nil {
		return err
	}
	if s.manifest == nil {
		return s.missing()
	}
	s.tables, err = s.manifest.opaque()
	return err
}

// missing says what a directory without a manifest is.
func (s *visitor) missing() error {
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("%w in %s: %w", ErrNoStore, s.dir, err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "layout-") {
			return &CorruptError{Path: s.path(manifestName), Err: fmt.Errorf("there is no manifest, but %q: the store has lost its manifest", entry.Name())}
		}
	}
	for _, entry := range entries {
		if _, err := s.fs.Lstat(s.path(entry.Name(), manifestName)); entry.IsDir() && err == nil {
			return fmt.Errorf("%w in %s, but in %s", ErrNoStore, s.dir, s.path(entry.Name()))
		}
	}
	return fmt.Errorf("%w in %s: it has no file %s", ErrNoStore, s.dir, manifestName)
}

// config is what a shard must know to be recovered by one goroutine.
func (s *visitor) config(index int) shard.Config {
	m := s.manifest
	c := shard.Config{
		Index: index, ID: wal.ID{Store: m.Store, Layout: m.Layout, Shard: uint32(index)},
		Dir:     s.path(layoutName(m.Layout), fmt.Sprintf("shard-%03d", index)),
		Routing: shard.Routing{Seed: m.Seed, Bits: m.partitionBits(), Hash: xxh3.HashSeed},
		Workers: 1,
		Log:     shard.LogConfig{FS: s.fs, Device: wal.Direct},
	}
	if s.env.Hash != nil {
		c.Routing.Hash = s.env.Hash
	}
	for _, t := range s.tables {
		c.Tables = append(c.Tables, t)
	}
	return c
}

// verify fills in v.
func (s *visitor) verify(ctx context.Context, v *Verification) error {
	err := s.read()
	if errors.Is(err, ErrNoStore) {
		return err
	}
	if err != nil {
		v.refused(-1, s.path(manifestName), err)
		return nil
	}
	m := s.manifest
	v.Store, v.Format, v.Ready = fmt.Sprintf("%x", m.Store), s.version, m.Ready
	v.Partitions, v.Layout, v.Former = m.Partitions, m.Layout, m.Former
	for _, t := range m.Tables {
		now := t.present()
		v.Tables = append(v.Tables, VerifiedTable{
			Name: t.Name, Version: now.Version, Schemas: len(t.Schemas), Dropped: t.Dropped, Key: now.Key, State: now.State, Event: now.Event,
		})
	}
	if _, err := openable(s.fs, s.dir); err != nil {
		v.refused(-1, s.dir, err)
	}
	v.unnamed(s)
	if !m.Ready {
		return nil
	}
	found := make([]*shard.Examination, m.Shards)
	owned := partitionsOf(m)
	err = eachShard(m.Shards, func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		found[i] = shard.Examine(s.config(i), owned[i])
		return nil
	})
	if err != nil {
		return err
	}
	for i, x := range found {
		v.examined(s, i, x)
	}
	v.join(s, found)
	return ctx.Err()
}

// refused adds a fault that Open refuses, unless it is known already.
func (v *Verification) refused(index int, path string, err error) {
	v.add(faultOf(MeaningRefused, index, path, err))
}

// add adds a fault, unless the same was seen there before.
func (v *Verification) add(f Fault) {
	f.Path = v.within(f.Path)
	for i := range v.Faults {
		if have := &v.Faults[i]; have.Path == f.Path && have.Offset == f.Offset && have.Sequence == f.Sequence {
			have.Meaning = min(have.Meaning, f.Meaning)
			return
		}
	}
	v.Faults = append(v.Faults, f)
}

// faultOf makes a fault of an error.
func faultOf(meaning Meaning, index int, path string, err error) Fault {
	err = ofNewer(err)
	f := Fault{Meaning: meaning, Shard: index, Path: path, Text: err.Error(), Err: err}
	var corrupt *CorruptError
	if errors.As(err, &corrupt) {
		f.Path, f.Offset, f.Partition, f.Sequence = corrupt.Path, corrupt.Offset, corrupt.Partition, corrupt.Sequence
		f.Text = corrupt.Err.Error()
	}
	return f
}

// unnamed lists what lies in the directory of the store and is not of it.
func (v *Verification) unnamed(s *visitor) {
	entries, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasPrefix(name, "layout-") && name != layoutName(v.Layout) && name != layoutName(v.Former) {
			v.add(Fault{Meaning: Superfluous, Shard: -1, Path: s.path(name), Text: "it is a layout that the manifest does not name"})
		}
	}
}

// examined takes over what was found in one shard.
func (v *Verification) examined(s *visitor, index int, x *shard.Examination) {
	one := VerifiedShard{Shard: index}
	base := wholeSnapshot(x)
	if x.State != nil {
		base = x.State.Report.Snapshot
		one.Snapshot, one.Clean = base, x.State.Report.Clean
	} else {
		v.refused(index, s.config(index).Dir, x.Err)
	}
	without := MeaningRefused // what a snapshot is that is damaged: the log does not begin early enough to do without
	if base > 0 || x.State != nil {
		without = LeftOut
	}
	for _, g := range x.Generations {
		needed := g.Number >= base
		one.Generations = append(one.Generations, VerifiedGeneration{
			Number: g.Number, Sealed: g.Sealed, Frames: g.Found.Frames, Events: g.Found.Events, Bytes: g.Found.Bytes, Horizon: g.Found.Horizon,
			TornBytes: g.Found.TornBytes, First: time.Unix(0, g.First).UTC(), Last: time.Unix(0, g.Last).UTC(), Needed: needed, Kept: g.Kept,
		})
		v.generation(index, &g, needed)
	}
	for _, n := range x.Snapshots {
		one.Snapshots = append(one.Snapshots, VerifiedSnapshot{
			Number: n.Number, Entries: n.Found.Entries, Bytes: n.Found.FileBytes, Written: n.Written, Whole: n.Err == nil,
		})
		switch {
		case n.Err == nil:
		case n.Number > base:
			v.add(faultOf(without, index, n.Path, n.Err))
		default:
			v.add(faultOf(MeaningSpare, index, n.Path, n.Err))
		}
	}
	for _, path := range x.Unnamed {
		v.add(Fault{Meaning: Superfluous, Shard: index, Path: path, Text: "CURRENT does not name it"})
	}
	v.Shards = append(v.Shards, one)
}

// wholeSnapshot is the newest snapshot that is whole, 0 if there is none.
func wholeSnapshot(x *shard.Examination) (number uint64) {
	for _, n := range x.Snapshots {
		if n.Err == nil {
			number = n.Number
		}
	}
	return number
}

// generation adds the faults of a generation.
func (v *Verification) generation(index int, g *shard.GenerationView, needed bool) {
	switch {
	case g.Err != nil && !needed:
		v.add(faultOf(MeaningSpare, index, g.Path, g.Err))
	case g.Err != nil:
		v.add(faultOf(MeaningRefused, index, g.Path, g.Err))
	case g.Found.TornBytes > 0:
		v.add(Fault{
			Meaning: MeaningTear, Shard: index, Path: g.Found.TornPath, Offset: g.Found.TornOffset, Bytes: g.Found.TornBytes, Sequence: g.Found.End.Frame + 1,
			Text: fmt.Sprintf("the last %d bytes are no whole frame", g.Found.TornBytes),
		})
	case g.Found.SurplusBytes > 0:
		v.add(Fault{
			Meaning: Superfluous, Shard: index, Path: g.Path,
			Text: fmt.Sprintf("%d bytes lie behind the recorded end of this log", g.Found.SurplusBytes),
		})
	}
}

// join decides who owns what, as Open does, and counts what the tables have.
func (v *Verification) join(s *visitor, found []*shard.Examination) {
	states := make([]*shard.State, len(found))
	for i, x := range found {
		if x.State == nil {
			return
		}
		states[i] = x.State
	}
	if _, err := shard.Resolve(states, s.manifest.Partitions); err != nil {
		v.refused(-1, s.dir, err)
		return
	}
	for i, state := range states {
		for _, p := range state.Partitions {
			v.Shards[i].Partitions++
			v.Shards[i].Last += p.Sequence
			for table, store := range p.Stores {
				st := store.(*opaqueStore)
				v.Tables[table].count(st)
			}
		}
	}
}

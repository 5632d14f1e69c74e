package shard

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/snapshot"
	"github.com/keyfold/keyfold/wal"
)

var errNotExist = os.ErrNotExist

// A CorruptError says that a store is damaged where no crash can have done it.
type CorruptError struct {
	Path      string
	Offset    int64  // in Path; 0 if the whole file is meant
	Partition uint32 // that the damage shows in, if Sequence is not 0
	Sequence  uint64 // of the first event that is in doubt, or the frame's number
	Err       error
}

// Error says where and what.
func (e *CorruptError) Error() string {
	at := fmt.Sprintf("offset %d", e.Offset)
	if e.Sequence != 0 {
		at += fmt.Sprintf(", sequence %d", e.Sequence)
	}
	return fmt.Sprintf("keyfold: %s is damaged at %s: %v", e.Path, at, e.Err)
}

// Unwrap returns what was wrong.
func (e *CorruptError) Unwrap() error { return e.Err }

// A Report says what a recovery found and did.
type Report struct {
	Shard         int
	Clean         bool          // the store was closed; nothing had to be replayed
	Older         bool          // what was read was written under older schemas of tables
	Keys          int           // after recovery
	SnapshotKeys  int           // loaded from the snapshot
	SnapshotBytes int64         // read from the snapshot
	Snapshot      uint64        // its number; 0: there was none
	Events        uint64        // replayed from the log
	Skipped       uint64        // in the log, but already in the snapshot
	LogBytes      int64         // read from the log
	TornBytes     int64         // dropped behind the last whole frame
	Copied        int           // frames that were not known to be durable, and were written again
	Warnings      []string      // what was damaged and could be done without
	Duration      time.Duration // of the whole recovery of this shard
	Times         Times
}

// Times are the parts of a recovery. Read, Build and Apply are sums over the workers,
// which are at work at the same time, beside Scan; the others are as a clock shows them.
type Times struct {
	Workers int
	Load    time.Duration // the snapshot:
	Read    time.Duration // its bytes read and verified,
	Build   time.Duration // and made tables of
	Replay  time.Duration // the log:
	Scan    time.Duration // its bytes read and verified,
	Apply   time.Duration // and its events applied
	Resume  time.Duration // a new generation begun, CURRENT written, and
	Copy    time.Duration // the frames that were not known to be durable written again and synced
}

// A Progress is called during recovery with the bytes read so far and in all. It is
// called by several shards at once.
type Progress func(shard int, done, total int64)

// recovery is the work of Recover.
type recovery struct {
	cfg     *Config
	owned   []uint32
	current Current
	workers []*worker
	theirs  []*worker          // by partition: who recovers it; nil: not of this shard
	base    uint64             // the snapshot that was loaded; 0: none
	until   map[uint32]holding // by partition, how far to fold; nil: to the end
	written time.Time          // when that was
	sealed  bool               // the newest generation is
	report  Report
}

// Recover reads the state of a shard from its directory, and changes nothing in it.
// owned are the partitions of the shard. It uses as many goroutines as cfg has
// workers, on which the functions of the tables run, and waits for them. The result
// is for Resume, or for another layout.
func Recover(cfg Config, owned []uint32, progress Progress) (*State, error) {
	began := time.Now()
	current, err := readCurrent(cfg.Log.FS, cfg.Dir, cfg.ID)
	if err != nil {
		return nil, err
	}
	r := &recovery{cfg: &cfg, owned: owned, current: current}
	r.report.Shard = cfg.Index
	r.hire()
	r.workers[0].progress = follow(&cfg, &current, progress)
	if err := r.load(); err != nil {
		return nil, err
	}
	loaded := time.Now()
	r.report.Times.Load = loaded.Sub(began)
	if err := r.replay(); err != nil {
		return nil, err
	}
	r.report.Times.Replay = time.Since(loaded)
	for _, w := range r.workers { // their programs go on with what is written from here on
		if err := w.under(cfg.schemas()); err != nil {
			return nil, err
		}
	}
	return r.state(began), nil
}

// follow counts what is to be read, so that progress can say how much is left.
func follow(cfg *Config, current *Current, progress Progress) func(int64) {
	if progress == nil {
		return func(int64) {}
	}
	total := int64(0)
	for _, g := range current.Generations {
		total += treeBytes(cfg.Log.FS, cfg.generationDir(g.Number))
	}
	done := int64(0)
	return func(n int64) {
		done += n
		progress(cfg.Index, min(done, total), total)
	}
}

func treeBytes(fs fsys.FS, dir string) int64 {
	entries, err := fs.ReadDir(dir)
	if err != nil {
		return 0
	}
	total := int64(0)
	for _, entry := range entries {
		if info, err := fs.Lstat(filepath.Join(dir, entry.Name())); err == nil {
			total += info.Size()
		}
	}
	return total
}

// load loads the newest snapshot that is whole. One that is damaged is left out,
// with a warning, if an older state and all of the log behind it are there. It no
// longer counts then: of the two that are kept, both should be good.
func (r *recovery) load() error {
	for i := len(r.current.Snapshots) - 1; i >= 0; i-- {
		number := r.current.Snapshots[i]
		err := r.loadSnapshot(number)
		if err == nil {
			r.base = number
			if info, err := r.cfg.Log.FS.Lstat(r.cfg.snapshotPath(number)); err == nil {
				r.written = info.ModTime()
			}
			r.current.Snapshots = r.current.Snapshots[:i+1]
			return nil
		}
		if !isDamage(err) {
			return err
		}
		r.report.Warnings = append(r.report.Warnings, fmt.Sprintf("snapshot %d was left out: %v", number, err))
		if i == 0 && r.current.Generations[0].Number >= number {
			return damaged(r.cfg.snapshotPath(number), err)
		}
	}
	r.current.Snapshots = nil
	r.reset()
	return nil
}

// isDamage tells damage from what else can go wrong: a lack of descriptors or rights,
// a newer format, a table that does not do what it did.
func isDamage(err error) bool {
	var image *snapshot.CorruptError
	var frame *wal.CorruptError
	if errors.As(err, &image) || errors.As(err, &frame) {
		return true
	}
	for _, damage := range []error{snapshot.ErrForeign, errNotExist, errRecord, errJoin} {
		if errors.Is(err, damage) {
			return true
		}
	}
	return false
}

// damaged makes a CorruptError of what snapshot and wal report as damage.
func damaged(path string, err error) error {
	if !isDamage(err) {
		return err
	}
	out := &CorruptError{Path: path, Err: err}
	var image *snapshot.CorruptError
	var frame *wal.CorruptError
	switch {
	case errors.As(err, &image):
		out.Path, out.Offset, out.Err = image.Path, image.Offset, image.Err
	case errors.As(err, &frame):
		out.Path, out.Offset, out.Sequence, out.Err = frame.Path, frame.Offset, frame.Sequence, frame.Err
	}
	return out
}

// loadSnapshot has every worker load its partitions.
func (r *recovery) loadSnapshot(number uint64) error {
	r.reset()
	path := r.cfg.snapshotPath(number)
	file, err := snapshot.Open(r.cfg.Log.FS, path, r.cfg.snapshotID(number))
	if err != nil {
		if info, statErr := r.cfg.Log.FS.Lstat(path); statErr == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("%w: %w", errJoin, err)
		}
		return err
	}
	defer file.Close()
	for _, image := range file.Partitions() {
		if int(image.Partition) >= len(r.theirs) {
			return fmt.Errorf("%w: snapshot %d holds partition %d, which does not exist", errJoin, number, image.Partition)
		}
	}
	return r.each(func(w *worker) error { return w.load(file, number) })
}

// state is what the recovery came to.
func (r *recovery) state(began time.Time) *State {
	first := r.workers[0]
	state := &State{path: r.cfg.Dir, gone: first.gone, programs: first.programs, current: r.current, time: first.time, log: first.bytes, paused: first.run.Paused}
	for _, w := range r.workers {
		w.settle(&r.report)
	}
	for id, w := range r.theirs {
		if reach := &w.reach[id]; reach.left {
			state.gone[uint32(id)] = max(state.gone[uint32(id)], reach.log.epoch+1)
		}
		p := w.reach[id].part
		if p == nil {
			continue
		}
		state.Partitions = append(state.Partitions, p)
		for table, store := range p.Stores {
			store.Rebind(state.programs[table])
			r.report.Keys += store.Len()
		}
	}
	state.snapshot, state.snapshotAt = r.report.SnapshotBytes, r.written
	state.unsynced, state.filled, state.eras = first.last, first.filled, first.allEras
	r.report.Snapshot = r.base
	r.report.Clean = r.sealed && r.report.Events == 0
	r.report.Times.Workers = len(r.workers)
	r.report.Duration = time.Since(began)
	state.Report = r.report
	return state
}

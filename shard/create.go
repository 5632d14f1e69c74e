package shard

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/mutant"
	"github.com/keyfold/keyfold/snapshot"
	"github.com/keyfold/keyfold/wal"
)

// Create makes the directory of a new shard. Partitions that come from another
// layout are taken over: a snapshot of them is written first, so that the new
// directory stands on its own. All is durable when Create returns.
func Create(cfg Config, ids []uint32, from map[uint32]*Partition, now Clock) (*State, error) {
	state := &State{path: cfg.Dir, programs: cfg.programs(), time: now.Opened, clock: now, paused: now.Paused}
	state.Report.Shard = cfg.Index
	taken := false
	for _, id := range ids {
		p := from[id]
		if p == nil {
			p = newPartition(id, state.programs)
		}
		p.Epoch = 0 // of the new layout
		for i, store := range p.Stores {
			store.Rebind(state.programs[i])
		}
		taken = taken || !p.empty()
		state.Partitions = append(state.Partitions, p)
	}
	for _, dir := range []string{"log", "snapshot"} {
		if err := fsys.MkdirAll(cfg.Log.FS, filepath.Join(cfg.Dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("shard: %w", err)
		}
	}
	state.current = Current{ID: cfg.ID, Generations: []Generation{{Number: 1}}}
	if taken {
		if err := cfg.firstSnapshot(state); err != nil {
			return nil, err
		}
		state.current.Snapshots = []uint64{1}
	}
	if err := cfg.firstGeneration(state); err != nil {
		return nil, errors.Join(err, state.Close())
	}
	return state, nil
}

func (c *Config) firstGeneration(state *State) error {
	writer, err := c.createGeneration(1, wal.End{}, state.time, startsOf(0, state.Partitions, nil, nil, c.eras()).after(state.paused).encode())
	if err != nil {
		return err
	}
	state.writer = writer
	if _, err := writer.Sync(); err != nil {
		return err
	}
	return state.current.write(c.Log.FS, c.Dir)
}

func (c *Config) firstSnapshot(state *State) error {
	job := roundJob{}
	path := c.snapshotPath(1)
	writer, err := snapshot.Create(c.Log.FS, path+".tmp", c.snapshotID(1), c.snapshotHeader())
	if err != nil {
		return err
	}
	job.writer = writer
	defer job.abort()
	one := frozen{images: make([]Image, len(state.programs))}
	for _, p := range state.Partitions {
		if p.empty() {
			continue
		}
		one.id, one.at = p.ID, p.holding()
		for i, store := range p.Stores {
			one.images[i] = store.Freeze(one.images[i])
		}
		if err := writePartition(writer, &one); err != nil {
			return err
		}
	}
	summary, err := writer.Finish()
	if err != nil {
		return err
	}
	job.writer = nil
	state.snapshot, state.snapshotAt = int64(summary.DataBytes), time.Unix(0, state.time)
	_, err = snapshot.Publish(c.Log.FS, path+".tmp", path, c.snapshotID(1))
	return err
}

// Resume makes a recovered shard ready to go on in its directory: it begins a new
// generation, because nothing is ever written behind a tear. Frames that are not
// known to be durable are written again there, so that what was read from the page
// cache is on the disk before anything depends on it.
func Resume(cfg Config, state *State) error {
	began := time.Now()
	defer func() { state.Report.Times.Resume = time.Since(began) }()
	last := *state.current.last()
	tail := tail{cfg: &cfg, generation: last.Number, end: last.End}
	if tail.empty = last.Sealed; !last.Sealed {
		if mutant.TailNotWrittenAgain {
			state.unsynced = state.unsynced[len(state.unsynced)-1:]
		}
		tail.end = state.horizonEnd(last.Number)
		if err := tail.count(len(state.unsynced), state.eras); err != nil {
			return err
		}
		// The open before this one may have written larger frames than this one may.
		cfg.Log.FrameBytesMax = max(cfg.Log.FrameBytesMax, tail.largest)
	}
	number := cfg.freshNumber(&state.current)
	removeUnnamed(&cfg, &state.current, func() {}) // what opens that failed have left
	writer, err := cfg.createGeneration(number, tail.end, state.time, startsOf(tail.frames, append(slices.Clone(state.Partitions), state.lost...), nil, state.gone, appendEra(tail.eras, eraOpen, cfg.schemas())).after(state.pausedBefore(&tail)).encode())
	if err != nil {
		return err
	}
	copying := time.Now()
	if state.Report.Copied, err = tail.copy(writer); err != nil {
		return errors.Join(err, writer.Close())
	}
	if _, err := writer.Sync(); err != nil {
		return errors.Join(err, writer.Close())
	}
	state.Report.Times.Copy = time.Since(copying)
	next := state.current.grown(ending{tail.end, treeBytes(cfg.Log.FS, cfg.generationDir(last.Number)), state.time}, number, state.needed(&tail))
	next.Kept = cfg.keep().trim(next.Kept, cfg.Clock())
	if mutant.AppendBehindTear { // it goes where the next recovery does not look
		state.writer, state.current = writer, next
		return nil
	}
	if err := next.write(cfg.Log.FS, cfg.Dir); err != nil {
		return errors.Join(err, writer.Close())
	}
	state.writer, state.current = writer, next
	removeUnnamed(&cfg, &state.current, func() {})
	return nil
}

// Retire ends the log of a recovered shard that will not be resumed, so that its changes
// can be read for ever: what is not known to be durable is written again, and the end
// sealed. The state can then be taken over by another layout.
func Retire(cfg Config, state *State) error {
	if state.current.last().Sealed {
		return nil
	}
	if err := Resume(cfg, state); err != nil {
		return err
	}
	w := state.writer
	state.writer = nil
	state.current = state.current.sealed(ending{w.End(), w.Bytes(), state.time})
	return errors.Join(w.Close(), state.current.write(cfg.Log.FS, cfg.Dir))
}

// needed says that the newest generation must be kept: it holds records that are not
// written again, or the ones that are follow its header, and no other generation says
// where partitions begin.
func (state *State) needed(t *tail) bool {
	c := &state.current
	switch n := len(c.Generations); {
	case state.filled != t.frames:
		return true
	case state.filled == 0:
		return false
	case n == 1:
		return true
	case len(c.Snapshots) == 0:
		return false
	default:
		return c.Generations[n-2].Number < c.Snapshots[len(c.Snapshots)-1]
	}
}

// horizonEnd is the last frame of the newest generation that is known to be durable.
func (state *State) horizonEnd(generation uint64) wal.End {
	first := state.unsynced[0]
	return wal.End{Generation: generation, Frame: first.number, Chain: first.chain}
}

// pausedBefore is the clock's in front of the frames that are copied.
func (state *State) pausedBefore(t *tail) int64 {
	if t.empty {
		return state.paused
	}
	return state.unsynced[0].paused
}

// freshNumber is a generation number that was never used, not even for a generation
// that a crash has left void.
func (c *Config) freshNumber(current *Current) uint64 {
	number := current.last().Number
	entries, err := c.Log.FS.ReadDir(filepath.Join(c.Dir, "log"))
	if err != nil {
		return number + 1
	}
	for _, entry := range entries {
		if n, err := strconv.ParseUint(entry.Name(), 10, 63); err == nil {
			number = max(number, n)
		}
	}
	return number + 1
}

// A tail is what lies behind the last frame of a generation that is known to be
// durable.
type tail struct {
	cfg        *Config
	generation uint64
	end        wal.End
	empty      bool  // so is that of a sealed generation: what is behind a seal is not read
	largest    int   // body of a frame
	frames     int   // that hold records
	eras       []era // of these frames, where they are written again
}

// count counts the frames of the tail, given the number of frames from its end on and
// the eras of their generation.
func (t *tail) count(frames int, eras []era) error {
	t.empty = frames <= 1
	return t.each(func(f wal.FrameView) error {
		t.largest = max(t.largest, len(f.Body))
		t.frames++
		s := eraOf(eras, f.Number)
		if s == nil {
			s = make(schemas, len(t.cfg.Tables))
		}
		t.eras = appendEra(t.eras, uint64(t.frames), s)
		return nil
	})
}

// copy writes the frames of the tail again, and says how many.
func (t *tail) copy(to *wal.Writer) (copied int, err error) {
	var frame wal.Frame
	err = t.each(func(f wal.FrameView) error {
		if err := to.Room(t.cfg.Log.FrameBytesMax); err != nil {
			return err
		}
		frame.Reset()
		frame.Bytes = append(frame.Bytes, f.Body...)
		frame.Count, frame.Time = f.Count, f.Time
		copied++
		_, err := to.Append(&frame)
		return err
	})
	return copied, err
}

// each calls do for each frame of the tail that holds records.
func (t *tail) each(do func(wal.FrameView) error) error {
	if t.empty {
		return nil
	}
	options := wal.ScanOptions{}
	_, err := wal.Scan(t.cfg.Log.FS, t.cfg.generationDir(t.generation), t.cfg.ID, t.generation, options, func(f wal.FrameView) error {
		if f.Number <= t.end.Frame || len(f.Body) == 0 {
			return nil
		}
		return do(f)
	})
	return err
}

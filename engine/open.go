package engine

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/mutant"
	"github.com/keyfold/keyfold/internal/slab"
	"github.com/keyfold/keyfold/shard"
	"github.com/keyfold/keyfold/wal"
)

var errNotExist = os.ErrNotExist

// lockName is the file that keeps a second engine out.
const lockName = "LOCK"

// Open opens the store in dir with its tables, or creates it. It recovers all shards
// at once, and returns when every table can be used. ctx is looked at between the
// steps; the engine does not depend on it later.
//
// Errors: ErrLocked when the store is open elsewhere, ErrTableInUse, a
// *[VersionError] when the tables of the store differ from those given, a
// *[CorruptError] when the store is damaged where no crash can have done it, and
// those of the disk. One that matches fs.ErrPermission says whose the file is and what to
// do: it is not damage, and nothing is left out because of it. Nothing is changed in the
// directory but for files that no manifest names.
func Open(ctx context.Context, dir string, options Options, tables ...Definition) (*Engine, error) {
	o, err := options.complete()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		dir: filepath.Clean(dir), options: o, memory: slab.NewArena(), moves: make(chan struct{}, 1), positions: newPositions(),
	}
	tables, err = describeAll(tables, e.positions)
	if err != nil {
		return nil, err
	}
	e.closing.begun, e.closing.done = make(chan struct{}), make(chan struct{})
	shared, err := e.enter()
	if err != nil {
		return nil, explained(o.Environment.FS, e.dir, err)
	}
	e.operator.reporter = newReporter(o.Logger)
	if shared {
		e.operator.reporter.say(slog.LevelWarn, "keyfold: a group may write to the store; whoever is in it can make it say anything", slog.String("dir", e.dir))
	}
	if err := e.open(ctx, tables); err != nil {
		e.operator.reporter.stop()
		for _, t := range e.tables {
			t.detach()
		}
		e.memory.Close()
		return nil, errors.Join(explained(o.Environment.FS, e.dir, err), e.lock.Close())
	}
	return e, nil
}

// describeAll checks the tables of the user, and adds one of the engine's own to them.
func describeAll(tables []Definition, own Definition) (all []Definition, err error) {
	if most := shard.TablesMax - 1; len(tables) == 0 || len(tables) > most {
		return nil, fmt.Errorf("keyfold: Open needs 1 to %d tables, not %d", most, len(tables))
	}
	all = append(slices.Clone(tables), own)
	names := make(map[string]bool)
	for _, t := range all {
		entry, _, err := t.describe()
		if err != nil {
			return nil, err
		}
		if names[entry.Name] {
			return nil, fmt.Errorf("%w: %q is given twice", ErrTableInUse, entry.Name)
		}
		names[entry.Name] = true
	}
	return all, nil
}

// enter makes the directory, if need be, and locks it. shared says that a group may write
// to it.
func (e *Engine) enter() (shared bool, err error) {
	fs := e.options.Environment.FS
	if err := fsys.MkdirAll(fs, e.dir, 0o700); err != nil {
		return false, fmt.Errorf("keyfold: %w", err)
	}
	if shared, err = openable(fs, e.dir); err != nil {
		return false, err
	}
	if mutant.NotLocked {
		e.lock = io.NopCloser(nil)
		return shared, nil
	}
	holder := fmt.Sprintf("process %d since %s", os.Getpid(), time.Now().UTC().Format(time.RFC3339))
	lock, err := fs.Lock(e.path(lockName), holder)
	if err != nil {
		return false, fmt.Errorf("keyfold: %w", err)
	}
	e.lock = lock
	return shared, nil
}

func (e *Engine) open(ctx context.Context, tables []Definition) error {
	began := time.Now()
	m, old, err := readManifest(e.options.Environment.FS, e.dir)
	if err != nil {
		return err
	}
	if m == nil {
		err = e.checkEmpty()
	}
	if err == nil && (m == nil || !m.Ready) {
		m, err = e.found()
	}
	if err != nil {
		return err
	}
	grown, err := e.identify(m, tables)
	if err != nil {
		return err
	}
	states, err := e.states(ctx, grown || old)
	if err != nil {
		return err
	}
	return e.start(states, began)
}

// identify makes m the manifest, with the tables of the program, if they are those of
// the store. changed says that something was added to it.
func (e *Engine) identify(m *manifest, tables []Definition) (changed bool, err error) {
	if p := e.options.Partitions; p != 0 && p != m.Partitions {
		return false, &VersionError{Have: fmt.Sprint(m.Partitions), Want: fmt.Sprint(p), Diff: fmt.Sprintf(
			"it has %d partitions, which cannot be changed; set Options.Partitions to 0 or %d", m.Partitions, m.Partitions)}
	}
	ids, changed, err := m.match(tables)
	if err != nil {
		return false, err
	}
	e.manifest = m
	if changed && m.Ready {
		if err := e.prune(); err != nil {
			return false, err
		}
	}
	if err := e.attach(tables, ids); err != nil {
		return false, err
	}
	e.routing = shard.Routing{Seed: m.Seed, Bits: m.partitionBits(), Hash: xxh3.HashSeed}
	if hash := e.options.Environment.Hash; hash != nil {
		e.routing.Hash = hash
	}
	return changed, nil
}

// checkEmpty makes sure that a directory without a manifest is no store that has lost
// it.
func (e *Engine) checkEmpty() error {
	entries, err := e.options.Environment.FS.ReadDir(e.dir)
	if err != nil {
		return fmt.Errorf("keyfold: %w", err)
	}
	for _, entry := range entries {
		if name := entry.Name(); name != lockName && !strings.HasPrefix(name, manifestName) {
			return &CorruptError{Path: e.path(manifestName), Err: fmt.Errorf(
				"there is no manifest, but %q; a store has lost its manifest, or the directory is not empty", name)}
		}
	}
	return nil
}

// found makes the first manifest of a new store, or of one that was never ready:
// nothing was acknowledged there, so it begins again with the options of now. The
// manifest says that the store is being created, so that a crash before it is ready
// leaves nothing that looks like damage.
func (e *Engine) found() (*manifest, error) {
	m := &manifest{Partitions: e.options.Partitions, Layout: 1, Shards: e.options.Shards}
	setDefault(&m.Partitions, partitionsDefault)
	m.Shards = min(m.Shards, m.Partitions)
	m.Owners = assign(make([]uint16, m.Partitions), m.Shards)
	m.Seed = e.options.Environment.Seed
	var random [24]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, fmt.Errorf("keyfold: %w", err)
	}
	copy(m.Store[:], random[:16])
	setDefault(&m.Seed, binary.LittleEndian.Uint64(random[16:]))
	return m, nil
}

// attach takes the tables and orders them by their ids.
func (e *Engine) attach(tables []Definition, ids []int) error {
	e.bindings = make([]attachment, len(e.manifest.Tables))
	for i, t := range tables {
		if ids[i] == noTable {
			continue
		}
		a, err := t.attach(e, uint16(ids[i]))
		if err != nil {
			return err
		}
		e.tables = append(e.tables, t)
		e.bindings[ids[i]] = a
	}
	for id := range e.bindings {
		if t := &e.manifest.Tables[id]; t.Dropped {
			e.bindings[id] = &droppedBinding{t.number()}
		}
	}
	return nil
}

// start makes the shards run and opens the tables.
func (e *Engine) start(states []*shard.State, began time.Time) error {
	cpus := e.options.cpus(len(states))
	r := &route{owner: e.owners, versions: make([]uint16, e.manifest.Shards)}
	var shards []*shard.Shard
	for i, state := range states {
		s, err := shard.New(e.shardConfig(e.manifest, i, cpus[i]), state)
		if err != nil {
			return err
		}
		shards = append(shards, s)
		if e.recovery.ShardsBefore == 0 {
			e.recovery.add(state.Report)
		}
	}
	for _, b := range e.bindings {
		e.recovery.Lifted += b.liftedStates()
	}
	e.history.trails = e.formerTrails()
	// Once it is archived it has no snapshots any more.
	if former := e.manifest.Former; former != 0 && e.layoutDir(former) == e.path(layoutName(former)) {
		e.history.bases = e.layoutShards(former)
	}
	e.recovery.Duration = time.Since(began)
	e.fleet.Store(&shards)
	e.operator.reporter.opened(e.dir, len(shards), &e.recovery)
	e.route.Store(r)
	for _, s := range shards {
		s.Start()
	}
	for _, b := range e.bindings {
		b.ready()
	}
	e.startAdviser()
	if hear := e.options.Environment.Hear; hear != nil {
		hear(e.fired)
	}
	return nil
}

// shardConfig is the configuration of a shard of the layout of m.
func (e *Engine) shardConfig(m *manifest, index, cpu int) shard.Config {
	o := &e.options
	c := shard.Config{
		Index:   index,
		ID:      wal.ID{Store: m.Store, Layout: m.Layout, Shard: uint32(index)},
		Dir:     e.path(layoutName(m.Layout), fmt.Sprintf("shard-%03d", index)),
		Routing: e.routing,
		Inbox:   o.InboxBytes,
		Wait:    shard.WaitConfig{Spin: o.Spin, CPU: cpu},
		Slots:   &e.slots,
		Workers: (runtime.GOMAXPROCS(0) + m.Shards - 1) / m.Shards,
		Clock:   o.Environment.Now,
		Notify:  e.operator.reporter.notify(e.dir),
		Log: shard.LogConfig{
			FS: o.Environment.FS, Device: o.device(), Sync: shard.SyncMode(o.Sync), Interval: o.SyncInterval,
			SegmentBytes: o.SegmentBytes, SnapshotBytes: o.SnapshotBytes, RecoveryBudget: o.RecoveryBudget,
			Keep:          e.keep,
			FrameBytesMax: shard.FrameTargetBytes + o.EventBytesMax + o.KeyBytesMax + 4<<10,
		},
	}
	for _, b := range e.bindings {
		c.Tables = append(c.Tables, b)
	}
	return c
}

func layoutName(number uint32) string { return fmt.Sprintf("layout-%04d", number) }

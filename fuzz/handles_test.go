package fuzz

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

// handles is a disk that knows which of its files and locks are open, and who opened them.
type handles struct {
	fsys.FS
	mu   sync.Mutex // guards open
	open map[io.Closer]string
}

func (h *handles) keep(c io.Closer, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open[c] = fmt.Sprintf("%s, by\n%s", name, debug.Stack())
}

func (h *handles) forget(c io.Closer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, c)
}

// left is one of those that are open, "" if none is.
func (h *handles) left() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, by := range h.open {
		return by
	}
	return ""
}

// OpenFile keeps what it opens.
func (h *handles) OpenFile(name string, flag int, perm os.FileMode) (fsys.File, error) {
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	kept := &handle{File: f, of: h}
	h.keep(kept, name)
	return kept, nil
}

// Lock keeps what it locks.
func (h *handles) Lock(name, holder string) (io.Closer, error) {
	l, err := h.FS.Lock(name, holder)
	if err != nil {
		return nil, err
	}
	kept := &lockHandle{l, h}
	h.keep(kept, name)
	return kept, nil
}

type handle struct {
	fsys.File
	of *handles
}

// Close closes the file; an error leaves it closed, as that of a system does.
func (f *handle) Close() error {
	f.of.forget(f)
	return f.File.Close()
}

type lockHandle struct {
	io.Closer
	of *handles
}

// Close gives the lock back.
func (l *lockHandle) Close() error {
	l.of.forget(l)
	return l.Closer.Close()
}

// comings are a store's life with all that opens files.
func comings(r *rig, disk *handles, backup []byte) {
	ctx, cancel := patiently()
	defer cancel()
	o := r.options
	o.Environment = &seam.Environment{FS: disk, Now: r.now.Load, Seed: hashSeed, Hash: r.hash}
	o.KeepLog = engine.KeepLog{Bytes: 1 << 20}
	for _, shards := range []int{1, 1, 2, 1} {
		o.Shards = shards
		e, err := engine.Open(ctx, "/store", o, r.tallies, r.notes)
		if err != nil {
			continue
		}
		for p := range 8 {
			_, _ = r.tallies.Do(ctx, r.keyOf(p), step{})
		}
		_ = e.Snapshot(ctx)
		_ = e.Resize(ctx, 2)
		_ = e.Backup(ctx, io.Discard)
		for _, states := range []bool{false, true} {
			changes, err := r.tallies.Changes(ctx, engine.Position{}, engine.ChangesOptions{Stop: true, States: states})
			if err != nil {
				continue
			}
			for range changes.All(ctx) {
			}
			_ = changes.Close()
		}
		_ = e.Close()
	}
	_ = engine.Restore(ctx, bytes.NewReader(backup), "/copy", o)
	if _, err := engine.Verify(ctx, "/store", engine.VerifyOptions{Environment: o.Environment}); err == nil {
		_, _ = engine.Salvage(ctx, "/store", "/salvaged", engine.VerifyOptions{Environment: o.Environment})
	}
	_, _ = engine.ReplayCheck(ctx, "/store", o, r.tallies, r.notes)
}

// handlesStride is how many operations one run is for. All of them take minutes.
const handlesStride = 31

// Goal: whatever fails of the disk, and whenever, no file stays open and no lock is kept
// behind those who close what they were given.
// Method: the life of a store with other numbers of shards, snapshots, backups and readers, in
// which some operation fails once.
func TestAnErrorOfTheDiskLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	random := random(t)
	_, backup := backedUp(t, random)
	stride, runs := max(1, handlesStride / *rounds), 0
	for _, kind := range kinds {
		for n, struck := 1+random.IntN(stride), true; struck; n += stride {
			f := fate{kind: kind, n: n, err: crashfs.ErrIO}
			life := newRig(small(), hashes["full"])
			life.disk.SetHook(f.strike)
			disk := &handles{FS: life.disk, open: map[io.Closer]string{}}
			comings(life, disk, backup)
			if by := disk.left(); by != "" {
				t.Fatalf("%v number %d fails for %q, and this is left open: %s", kind, n, f.struck(), by)
			}
			struck = f.struck() != ""
			runs++
		}
	}
	t.Logf("%d runs", runs)
}

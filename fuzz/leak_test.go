package fuzz

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// held is what a process holds of the system.
type held struct {
	files   int   // open, but for those of the kernel's own
	mapped  int64 // bytes of memory that the Go runtime has not mapped
	objects int64 // bytes in use on the Go heap
}

// holding looks at this process. Where the system does not tell, counts are 0.
func holding(t *testing.T) held {
	t.Helper()
	runtime.GC()
	runtime.GC() // what finalizers and pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h := held{objects: int64(m.HeapAlloc)}
	entries, _ := os.ReadDir("/proc/self/fd") // there is none on other systems
	for _, entry := range entries {
		if name, _ := os.Readlink(filepath.Join("/proc/self/fd", entry.Name())); !strings.HasPrefix(name, "anon_inode:") {
			h.files++
		}
	}
	maps, _ := os.ReadFile("/proc/self/maps")
	for line := range bytes.Lines(maps) {
		var from, to uint64
		if _, err := fmt.Sscanf(string(line), "%x-%x", &from, &to); err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(line))
		if len(fields) < 6 && strings.HasPrefix(fields[1], "rw") { // no file; not every kernel has the names that the runtime gives its own
			h.mapped += int64(to - from)
		}
	}
	h.mapped -= int64(m.Sys)
	return h
}

// What the process may hold more of afterwards, because the runtime keeps it for later: less
// than one of so many stores would leave behind.
const (
	heapBytesSpare   = 512 << 10
	mappedBytesSpare = 1 << 20 // the states of a store with few keys take 2 MiB for each table
)

// Goal: stores that come and go leave nothing: no file, no goroutine, no memory.
// Method: cycles on the disk and in memory with events, timers, snapshots, a kept log, a
// second opener that is refused, and a shard that fails in between.
func TestStoresThatComeAndGoLeaveNothing(t *testing.T) {
	row := tries(t, "R20", "stores opened, used and closed, with timers, snapshots, a kept log, refused openers and failed shards", "1,000 cycles: +0 files, +0 goroutines, +0 bytes mapped, a flat heap")
	cycles := 50 * min(*rounds, 20)
	dir := filepath.Join(t.TempDir(), "store")
	for i := range 10 { // what is made once
		must(t, comeAndGo(dir, i))
	}
	before := holding(t)
	for i := range cycles {
		must(t, comeAndGo(dir, i))
		row.Cycles++
	}
	goleak.VerifyNone(t)
	after := holding(t)
	if after.files > before.files || after.mapped > before.mapped+mappedBytesSpare || after.objects > before.objects+heapBytesSpare {
		t.Errorf("after %d cycles it holds %+v, before them %+v", cycles, after, before)
	}
	t.Logf("before %+v, after %+v", before, after)
}

// comeAndGo opens a store, uses it and closes it; every fifth time its disk fails.
func comeAndGo(dir string, cycle int) error {
	o := small()
	o.Shards, o.KeepLog, o.Device = 1+cycle%3, engine.KeepLog{Bytes: 64 << 10}, []engine.LogDevice{engine.DeviceDirect, engine.DeviceLibrary}[cycle%2]
	fails := cycle%5 == 4
	if o.Sync = engine.SyncMode(cycle % 3); fails {
		o.Sync, o.Device = engine.SyncAlways, engine.DeviceDirect
	}
	r := newRig(o, hashes["full"])
	if fails {
		r.disk.FailNth(crashfs.Sync, 40, crashfs.ErrIO)
	} else {
		r.dir = dir
	}
	alarms := engine.NewTable(engine.Spec[string, int64, int64, int64]{
		Name: "alarms", TTL: engine.TTL{Idle: time.Hour},
		Apply: func(c *engine.Context[string], s *int64, e int64) int64 {
			*s += e
			c.SetTimer(c.Now().Add(time.Duration(e) * time.Minute))
			return *s
		},
		OnTimer: func(*engine.Context[string], *int64) {},
	})
	tables := []engine.Definition{newTallies(), newNotes(), alarms}
	if err := r.openWith(tables...); err != nil {
		return err
	}
	if err := r.refusesAnother(); err != nil {
		return err
	}
	ctx, cancel := patiently()
	defer cancel()
	for i := range 40 {
		if _, err := alarms.Do(ctx, fmt.Sprint(i), int64(1+i%3), r.strongest()); err != nil && !fails {
			return err
		}
	}
	if err := r.engine.Snapshot(ctx); err != nil && !fails {
		return err
	}
	err := r.engine.Close()
	if (err != nil) != fails {
		return violated("Close of a store whose disk fails (%v): %w", fails, err)
	}
	return nil
}

// refusesAnother wants a second opener to be refused.
func (r *rig) refusesAnother() error {
	first := r.engine
	defer func() { r.engine = first }()
	if err := r.openWith(newTallies()); !errors.Is(err, engine.ErrLocked) {
		return violated("the store is open, and a second opener gets: %v", err)
	}
	return nil
}

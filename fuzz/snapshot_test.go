package fuzz

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// An alarmed counts how often Options.Logger hears that something was left out.
type alarmed struct {
	slog.Handler
	count *atomic.Int64 // the reporter of an engine adds, tests load after its Close
}

func (alarmed) Enabled(context.Context, slog.Level) bool { return true }

func (a alarmed) Handle(_ context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn && strings.Contains(r.Message, "left something out") {
		a.count.Add(1)
	}
	return nil
}

// grownBytes is what the snapshots of a grown store have at least.
const grownBytes = 64 << 10

// grown makes a store with one shard that was closed, with two snapshots of some size and
// few events behind each. Long keys make it grow with few events, which costs less time.
func grown(t *testing.T, random *rand.Rand) (*specimen, *atomic.Int64) {
	t.Helper()
	heard := &atomic.Int64{}
	o := small()
	o.Shards, o.Partitions, o.SnapshotBytes, o.KeyBytesMax = 1, 2, 1<<30, 2<<10
	o.Logger = slog.New(alarmed{slog.DiscardHandler, heard})
	r := newRig(o, hashes["full"])
	must(t, r.open())
	for i := range 36 {
		n := name{notes: true, key: fmt.Sprintf("%03d-%s", i, filler(1900, uint64(i)))}
		must(t, r.do(n, step{Filler: filler(noteBytesMax, random.Uint64())}, engine.Applied))
	}
	for range 2 {
		must(t, snapshot(r))
		must(t, r.load(random, 5, engine.Durable))
	}
	r.hurry()
	return &specimen{rig: r, view: copyOf(r.disk)}, heard
}

// Goal: no byte of a snapshot is ever believed when it is another one. It costs time and
// not events: the snapshot before and the log give the same state, which Recovery and the
// Logger say aloud; without them the store is refused.
// Method: each byte of a snapshot of 64 KiB flipped, and the file cut at each eighth, in the
// long run at each; a sample by default. Every sixteenth time the one before is damaged, too.
func TestADamagedSnapshotIsNeverBelieved(t *testing.T) {
	t.Parallel()
	row := tries(t, "R10", "each byte of a snapshot of 64 KiB flipped, cut at each eighth, in the long run at each, and Open",
		"every one: the snapshot before and the log give the same state, with a warning in Recovery and in the log; without them refused; 0 wrong states")
	random := random(t)
	s, heard := grown(t, random)
	snapshots := matching(s.view, "/snapshot/")
	whole := contents(s.view, snapshots[1])
	if len(snapshots) != 2 || len(whole) < grownBytes {
		t.Fatalf("%d snapshots, the newest of %d bytes", len(snapshots), len(whole))
	}
	older := contents(s.view, snapshots[0])
	step, cutStep := stride(len(whole), 500), 8
	if *rounds >= longRounds {
		cutStep = 1
	}
	cut := random.IntN(cutStep)
	for at := random.IntN(step); at < len(whole); at += step {
		damages := map[string][]byte{"flipped": flipped(whole, at, random)}
		if step > 1 || at%cutStep == cut {
			damages["cut"] = whole[:at]
		}
		for what, damaged := range damages {
			disk := copyOf(s.disk)
			replace(disk, snapshots[1], damaged)
			both := random.IntN(16) == 0
			if both {
				replace(disk, snapshots[0], flipped(older, min(at, len(older)-1), random))
			}
			if err := s.missing(disk, heard, both); err != nil {
				t.Fatalf("%s at %d, and the one before: %v: %v", what, at, both, err)
			}
			row.Cycles++
		}
	}
}

// missing opens a store without its newest snapshot, or without both.
func (s *specimen) missing(disk *crashfs.FS, heard *atomic.Int64, both bool) error {
	before := heard.Load()
	v, err := s.tryOpening(disk, safe)
	switch {
	case err != nil:
		return err
	case both && v.refused == nil:
		return violated("it was opened without a snapshot that is whole")
	case both:
		return nil
	case v.refused != nil:
		return violated("it was refused: %w", v.refused)
	case len(v.warnings) != 1 || !strings.Contains(v.warnings[0], ".snap"):
		return violated("Recovery warns of %q", v.warnings)
	case heard.Load() != before+1:
		return violated("the logger heard %d warnings", heard.Load()-before)
	}
	return nil
}

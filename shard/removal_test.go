package shard

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// Goal: nobody who asked for a snapshot waits until what it replaced is removed.
func TestASnapshotIsToldBeforeAnythingIsRemoved(t *testing.T) {
	r := threeRounds(t)
	var left []string
	r.ask(func(error) { left = r.names("log") })
	r.settle()
	if want := []string{"00000003", "00000004", "00000005"}; !slices.Equal(left, want) {
		t.Errorf("%v was there when the snapshot was told, want %v", left, want)
	}
	if have, want := r.names("log"), []string{"00000004", "00000005"}; !slices.Equal(have, want) {
		t.Errorf("%v is left, want %v", have, want)
	}
}

// Goal: a large file is removed in steps with rests between them; without rests when a
// round or the end of the shard waits for that. Method: a file of four steps that
// CURRENT does not name, and the clock of a bubble. In the middle of the removal the
// hook makes somebody wait.
func TestARemovalRestsUnlessSomebodyWaits(t *testing.T) {
	for what, c := range map[string]struct {
		interrupt func(r *rig)
		rests     time.Duration
	}{
		"nobody waits":    {func(*rig) {}, 3},
		"a round waits":   {func(r *rig) { r.ask(func(error) {}); r.turn() }, 1},
		"the shard stops": {func(r *rig) { r.inbox.Close() }, 1},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.accept(add("0a"))
				large(t, r, removalBytes*4)
				truncations := 0
				r.disk.SetHook(func(op crashfs.Op) error {
					if op.Kind == crashfs.Truncate && filepath.Base(op.Name) == "large" {
						if truncations++; truncations == 2 {
							c.interrupt(r)
						}
					}
					return nil
				})
				began := time.Now()
				r.ask(func(error) {})
				r.settle()
				if rested := time.Since(began); rested != c.rests*removalPause {
					t.Errorf("rested for %v, want %v", rested, c.rests*removalPause)
				}
				if truncations != 3 || slices.Contains(r.names("log"), "00000099") {
					t.Errorf("%d steps, and %v is left", truncations, r.names("log"))
				}
			})
		})
	}
}

// Goal: a cut that its caller has given up holds no files. Method: the call ends before the
// shard has seen it, and at the same time.
func TestCutThatWasGivenUpHoldsNothing(t *testing.T) {
	for n := range 40 {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t)
			r.accept(add("0a"))
			ctx, cancel := context.WithCancel(t.Context())
			ended := false
			go func() {
				if c, err := r.Cut(ctx); err == nil {
					c.Release()
				}
				ended = true
			}()
			synctest.Wait()
			if n%2 == 0 {
				cancel()
				synctest.Wait()
			} else {
				r.serveControl()
				cancel()
			}
			for range 100 {
				r.turn()
				r.sync()
				synctest.Wait()
			}
			if holds := r.round.removal.holds; holds != 0 || !ended {
				t.Errorf("given up at the same time: %v; ended %v, %d hold files", n%2 == 1, ended, holds)
			}
		})
	}
}

// large makes a large file that CURRENT does not name.
func large(t *testing.T, r *rig, bytes int64) {
	t.Helper()
	dir := r.cfg.generationDir(99)
	if err := fsys.MkdirAll(r.disk, dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fsys.ReplaceFile(r.disk, filepath.Join(dir, "large"), make([]byte, bytes)); err != nil {
		t.Fatal(err)
	}
}

package fuzz

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
)

// Goal: a symbolic link in the place of a file is never followed to what it names.
// Method: a closed store on the disk; each of its files is moved out and linked to.
func TestALinkInThePlaceOfAFileIsNotFollowed(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links need a right there that few have")
	}
	row := tries(t, "R11", "a link in the place of each file of a store", "refused as damaged, or a snapshot that is left out with a warning; never followed")
	random := random(t)
	o := small()
	o.SnapshotBytes = 1 << 30
	r := newRig(o, hashes["full"])
	r.dir = t.TempDir()
	must(t, r.open())
	must(t, r.load(random, 60, engine.Written))
	must(t, snapshot(r))
	must(t, r.load(random, 60, engine.Written))
	r.oracle.each(func(l *line) { l.safe = l.done })
	r.hurry()
	original, elsewhere := r.dir, t.TempDir()
	err := filepath.WalkDir(original, func(path string, d os.DirEntry, err error) error {
		name := strings.TrimPrefix(path, original)
		if err != nil || d.IsDir() || name == "/LOCK" || strings.HasSuffix(name, ".tmp") { // nobody reads those
			return err
		}
		row.Cycles++
		dir := t.TempDir()
		moved := filepath.Join(elsewhere, filepath.Base(dir))
		if err := errors.Join(os.CopyFS(dir, os.DirFS(original)), os.Rename(dir+name, moved), os.Symlink(moved, dir+name)); err != nil {
			return err
		}
		return r.tryLinked(dir, name)
	})
	must(t, err)
}

// tryLinked opens a store with a link in it: it is refused, or the link was a snapshot
// and is left out, or nobody reads it.
func (r *rig) tryLinked(dir, name string) error {
	c := r.on(r.disk)
	c.dir = dir
	err := c.open()
	var corrupt *engine.CorruptError
	if err != nil {
		if !errors.As(err, &corrupt) {
			return violated("%s is a link: refused, but not as damaged: %w", name, err)
		}
		return nil
	}
	unneeded := strings.Contains(name, "/log/00000001/") // only the empty state before the snapshot needs it
	if len(c.engine.Recovery().Warnings) == 0 && !unneeded {
		return violated("%s is a link: opened without a warning", name)
	}
	return errors.Join(c.judge(safe), c.abandon())
}

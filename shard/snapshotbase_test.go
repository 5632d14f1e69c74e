package shard

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// heavy is a rig whose snapshots are so large that they are removed in steps, with two of
// them. The disk removes no snapshot at last, so that one that was cut down stays as it is.
func heavy(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	r.accept(add("0a"))
	keys := r.parts[0].Stores[0].(*ledgerStore).keys
	for len(keys["0a"]) < removalBytes/16 {
		keys["0a"] = append(keys["0a"], entry{})
	}
	r.disk.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Remove && filepath.Ext(op.Name) == ".snap" {
			return os.ErrPermission
		}
		return nil
	})
	r.snapshot()
	r.snapshot()
	return r
}

// readAll reads all of a base that the test needs.
func readAll(b *Base) error {
	return b.Blocks(0, 0, func(uint8, uint32, []byte) error { return nil })
}

// Goal: a snapshot that a reader has open and that the shard removes meanwhile is not taken
// for damaged; one that is damaged is.
func TestABaseThatIsRemovedUnderItsReaderIsNoDamage(t *testing.T) {
	r := heavy(t)
	bases, err := Bases(r.cfg)
	if err != nil || len(bases) != 2 {
		t.Fatal(len(bases), err)
	}
	for _, b := range bases {
		defer b.Close()
		if err := readAll(b); err != nil {
			t.Fatal(err)
		}
	}
	r.snapshot()
	var damage *CorruptError
	if err := readAll(bases[0]); !errors.Is(err, ErrReplaced) || errors.As(err, &damage) {
		t.Errorf("read while it was removed: %v, want ErrReplaced", err)
	}
	rot(t, r.disk, bases[1].path, 4<<10)
	if err := readAll(bases[1]); !errors.As(err, &damage) {
		t.Errorf("one that is damaged: %v, want a CorruptError", err)
	}
}

// An overtaken disk has a shard take snapshots when the first one is about to be opened.
type overtaken struct {
	fsys.FS
	meanwhile func()
}

func (o *overtaken) OpenFile(name string, flag int, perm os.FileMode) (fsys.File, error) {
	if f := o.meanwhile; f != nil && filepath.Ext(name) == ".snap" {
		o.meanwhile = nil
		f()
	}
	return o.FS.OpenFile(name, flag, perm)
}

// Goal: who opens the bases of a shard gets those of now, also when one is removed between
// the look at CURRENT and the opening.
func TestBasesThatAreReplacedWhenTheyAreOpenedAreThoseOfNow(t *testing.T) {
	r := heavy(t)
	cfg := r.cfg
	cfg.Log.FS = &overtaken{FS: r.disk, meanwhile: r.snapshot}
	bases, err := Bases(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var numbers []uint64
	for _, b := range bases {
		defer b.Close()
		numbers = append(numbers, b.number)
		if err := readAll(b); err != nil {
			t.Error(err)
		}
	}
	if want := r.log.current.Snapshots; len(numbers) != 2 || numbers[0] != want[0] || numbers[1] != want[1] {
		t.Errorf("snapshots %v, want %v", numbers, want)
	}
}

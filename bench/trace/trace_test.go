package trace

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Goal: the first thing that is slow, and no other, leaves its trace.
// Method: tell of fast things, then of many slow ones at once.
func TestFirstSlowThingLeavesItsTrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slow.trace")
	r, err := Start(file, 5*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	r.Saw(5 * time.Millisecond)
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was fast left a file, %v", err)
	}
	var many sync.WaitGroup
	for range 8 {
		many.Go(func() { r.Saw(6 * time.Millisecond) })
	}
	many.Wait()
	found, err := r.Stop()
	if err != nil || found.File != file || found.Took != 6e6 || found.After != 5e6 {
		t.Errorf("%+v, %v", found, err)
	}
	if text, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(text, []byte("go 1.")) {
		t.Errorf("%.20q is no trace, %v", text, err)
	}
}

func TestNothingSlowLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	r, err := Start(filepath.Join(dir, "slow.trace"), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	r.Saw(time.Millisecond)
	found, err := r.Stop()
	left, _ := os.ReadDir(dir)
	if err != nil || found != (Slow{After: 1e9}) || len(left) != 0 {
		t.Errorf("%+v, %v, %v", found, left, err)
	}
	if again, err := Start(filepath.Join(dir, "slow.trace"), time.Second); err != nil {
		t.Errorf("a stopped recorder keeps the next one from starting: %v", err)
	} else if _, err := again.Stop(); err != nil {
		t.Error(err)
	}
}

func TestTraceThatCannotBeWrittenIsAnError(t *testing.T) {
	r, err := Start(filepath.Join(t.TempDir(), "none", "slow.trace"), time.Nanosecond)
	if err != nil {
		t.Fatal(err)
	}
	r.Saw(time.Second)
	if _, err := r.Stop(); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Start("x", 0); err == nil {
		t.Error("no time at all was accepted")
	}
}

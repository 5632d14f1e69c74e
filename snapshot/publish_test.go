package snapshot

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

const (
	tmpName   = "shard/7.snap.tmp"
	finalName = "shard/7.snap"
)

// shardDir gives a file system with the directory of a shard, which is durable.
func shardDir(tb testing.TB) *crashfs.FS {
	tb.Helper()
	fs := crashfs.New()
	if err := errors.Join(fs.Mkdir("shard", 0o700), fs.SyncDir(".")); err != nil {
		tb.Fatal(err)
	}
	return fs
}

// publishSample does all from Create to Publish, and stops at the first error.
func publishSample(fs fsys.FS) (Summary, error) {
	w, err := Create(fs, tmpName, testID, []byte("header"))
	if err != nil {
		return Summary{}, err
	}
	for _, m := range sample {
		for _, it := range m.items {
			err = errors.Join(err, w.Block(m.partition, it.table, it.form, it.entries, it.data))
		}
		err = errors.Join(err, w.EndPartition(m.partition, m.sequence, m.epoch))
	}
	if _, finish := w.Finish(); err != nil || finish != nil {
		return Summary{}, errors.Join(err, finish, w.Abort())
	}
	return Publish(fs, tmpName, finalName, testID)
}

// Goal: a crash leaves a whole file under the final name or none, and never none
// once Publish has returned nil.
// Method: a crash after every operation, under every model of what the disk keeps.
func TestAfterACrashTheFinalFileIsWholeOrAbsent(t *testing.T) {
	seed := seedFor(t)
	fs := shardDir(t)
	first := fs.Ops()
	if _, err := publishSample(fs); err != nil {
		t.Fatal(err)
	}
	last, found := fs.Ops(), 0
	for n := first; n <= last; n++ {
		for i := range uint64(8) {
			for _, model := range crashfs.Models(seed + i) {
				fs := shardDir(t)
				fs.StopAfter(n)
				_, err := publishSample(fs)
				disk := fs.Crash(model)
				if checkFinal(t, disk, fmt.Sprintf("crash after operation %d, %v", n, model)) {
					found++
				} else if err == nil {
					t.Errorf("crash after operation %d, %v: what was published is gone", n, model)
				}
			}
		}
	}
	if last-first < 5 || found == 0 {
		t.Errorf("%d operations, and the file was there %d times", last-first, found)
	}
}

// checkFinal says whether the final file is there, and checks that it is whole then.
func checkFinal(t *testing.T, fs fsys.FS, when string) bool {
	t.Helper()
	_, err := Verify(fs, finalName, testID)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", when, err)
	}
	return err == nil
}

// Goal: an error of the disk at any moment is reported, and leaves no bad file
// under the final name.
// Method: each operation fails once, in the ways a disk fails.
func TestEveryErrorOfTheDiskIsReported(t *testing.T) {
	var all []crashfs.Op
	fs := shardDir(t)
	fs.SetHook(func(op crashfs.Op) error { all = append(all, op); return nil })
	if _, err := publishSample(fs); err != nil {
		t.Fatal(err)
	}
	for i, op := range all {
		for name, fault := range map[string]error{
			"error": crashfs.ErrIO, "full": crashfs.ErrFull,
			"short": crashfs.ShortWrite(5, crashfs.ErrIO), "dirty": crashfs.DropDirty(crashfs.ErrIO),
		} {
			fs, n := shardDir(t), 0
			fs.SetHook(func(crashfs.Op) error {
				if n++; n == i+1 {
					return fault
				}
				return nil
			})
			_, err := publishSample(fs)
			if !errors.Is(err, crashfs.ErrIO) && !errors.Is(err, fsys.ErrNoSpace) {
				t.Errorf("%s of %v: %v", name, op, err)
			}
			fs.SetHook(nil)
			checkFinal(t, fs, fmt.Sprintf("%s of %v", name, op))
		}
	}
}

// Goal: the order that a crash depends on: synced, renamed, directory synced,
// evicted, and only then read.
func TestStepsOfPublishComeInOrder(t *testing.T) {
	fs := shardDir(t)
	var steps []string
	fs.SetHook(func(op crashfs.Op) error {
		if op.Kind != crashfs.Close && op.Kind != crashfs.Size && op.Kind != crashfs.Open {
			if step := op.Kind.String(); len(steps) == 0 || steps[len(steps)-1] != step {
				steps = append(steps, step)
			}
		}
		return nil
	})
	if _, err := publishSample(fs); err != nil {
		t.Fatal(err)
	}
	kinds := []crashfs.Kind{
		crashfs.Create, crashfs.Write, crashfs.Sync, crashfs.Read, crashfs.Lstat, crashfs.Rename, crashfs.SyncDir,
		crashfs.Evict, crashfs.Read, crashfs.Evict,
	}
	var want []string
	for _, k := range kinds {
		want = append(want, k.String())
	}
	if !slices.Equal(steps, want) {
		t.Errorf("steps\n%s, want\n%s", strings.Join(steps, ", "), strings.Join(want, ", "))
	}
}

func TestPublishRefusesWhatTheDiskHoldsOtherwise(t *testing.T) {
	fs := shardDir(t)
	write(t, fs, tmpName, testID, []byte("header"), sample)
	good := content(t, fs, tmpName)
	fs.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Evict {
			fs.SetHook(nil)
			good[headBytes+len("header")+blockBytes+100] ^= 1
			put(t, fs, finalName, good)
		}
		return nil
	})
	if _, err := Publish(fs, tmpName, finalName, testID); !errors.As(err, new(*CorruptError)) {
		t.Errorf("published what the disk does not hold: %v", err)
	}
}

func TestPublishRenamesOnlyWhatIsFinishedAndOnlyToANewName(t *testing.T) {
	fs := shardDir(t)
	write(t, fs, tmpName, testID, []byte("header"), sample)
	good := content(t, fs, tmpName)
	put(t, fs, tmpName, good[:len(good)-1])
	if _, err := Publish(fs, tmpName, finalName, testID); !errors.As(err, new(*CorruptError)) {
		t.Errorf("an unfinished file: %v", err)
	}
	put(t, fs, tmpName, good)
	other := testID
	other.Number++
	if _, err := Publish(fs, tmpName, finalName, other); !errors.Is(err, ErrForeign) {
		t.Errorf("a file with another number: %v", err)
	}
	put(t, fs, finalName, []byte("taken"))
	if _, err := Publish(fs, tmpName, finalName, testID); !errors.Is(err, os.ErrExist) {
		t.Errorf("a name that is taken: %v", err)
	}
	if string(content(t, fs, finalName)) != "taken" {
		t.Error("the file under the final name was replaced")
	}
	if _, err := Publish(fs, tmpName, "7.snap", testID); err == nil {
		t.Error("published into another directory")
	}
}

func TestPublishWorksOnTheFileSystemOfTheMachine(t *testing.T) {
	dir := t.TempDir()
	wrote := write(t, fsys.OS(), dir+"/7.tmp", testID, nil, sample)
	read, err := Publish(fsys.OS(), dir+"/7.tmp", dir+"/7.snap", testID)
	if err != nil || read != wrote {
		t.Fatalf("wrote %+v, read %+v, %v", wrote, read, err)
	}
	if _, err := os.Lstat(dir + "/7.tmp"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is there: %v", err)
	}
}

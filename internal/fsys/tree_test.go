package fsys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// traced notes the operations that order a replacement, and fails the one called
// fail.
type traced struct {
	FS
	fail string
	ops  []string
}

var errInjected = errors.New("injected")

func (t *traced) note(op, name string) error {
	t.ops = append(t.ops, op+" "+filepath.Base(name))
	if op == t.fail {
		return errInjected
	}
	return nil
}

func (t *traced) OpenFile(name string, flag int, perm os.FileMode) (File, error) {
	if err := t.note("open", name); err != nil {
		return nil, err
	}
	f, err := t.FS.OpenFile(name, flag, perm)
	return &tracedFile{f, t, name}, err
}

func (t *traced) Mkdir(name string, perm os.FileMode) error {
	return errors.Join(t.note("mkdir", name), t.FS.Mkdir(name, perm))
}

func (t *traced) Rename(oldName, newName string) error {
	if err := t.note("rename", newName); err != nil {
		return err
	}
	return t.FS.Rename(oldName, newName)
}

func (t *traced) SyncDir(name string) error {
	return errors.Join(t.note("syncdir", name), t.FS.SyncDir(name))
}

type tracedFile struct {
	File
	t    *traced
	name string
}

func (f *tracedFile) Write(p []byte) (int, error) {
	if err := f.t.note("write", f.name); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *tracedFile) Sync() error {
	return errors.Join(f.t.note("sync", f.name), f.File.Sync())
}

func TestReplaceFileSyncsTheFileBeforeItsNameAndTheNameBeforeItReturns(t *testing.T) {
	dir := t.TempDir()
	fs := &traced{FS: OS()}
	if err := ReplaceFile(fs, filepath.Join(dir, "f"), []byte("new")); err != nil {
		t.Fatal(err)
	}
	want := []string{"open f.tmp", "write f.tmp", "sync f.tmp", "rename f", "syncdir " + filepath.Base(dir)}
	if !slices.Equal(fs.ops, want) {
		t.Fatalf("got %q", fs.ops)
	}
}

func TestReplaceFileThatFailsBeforeTheRenameLeavesTheOldOne(t *testing.T) {
	for _, fail := range []string{"open", "write", "sync", "rename"} {
		name := filepath.Join(t.TempDir(), "f")
		if err := ReplaceFile(OS(), name, []byte("old")); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceFile(&traced{FS: OS(), fail: fail}, name, []byte("new")); !errors.Is(err, errInjected) {
			t.Errorf("%s fails: %v", fail, err)
		}
		if got, err := ReadFile(OS(), name, 10); string(got) != "old" {
			t.Errorf("%s fails: the file is %q, %v", fail, got, err)
		}
		if err := ReplaceFile(OS(), name, []byte("newer")); err != nil {
			t.Errorf("after a failed %s a stale file is in the way: %v", fail, err)
		}
	}
}

func TestReplaceFileReportsADirectoryThatDoesNotSync(t *testing.T) {
	fs := &traced{FS: OS(), fail: "syncdir"}
	if err := ReplaceFile(fs, filepath.Join(t.TempDir(), "f"), nil); !errors.Is(err, errInjected) {
		t.Fatalf("got %v", err)
	}
}

func TestMkdirAllSyncsEveryParentThatGotAnEntry(t *testing.T) {
	root := t.TempDir()
	fs := &traced{FS: OS()}
	if err := MkdirAll(fs, filepath.Join(root, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	above, base := filepath.Base(filepath.Dir(root)), filepath.Base(root)
	want := []string{"syncdir " + above, "mkdir a", "syncdir " + base, "mkdir b", "syncdir a"}
	if !slices.Equal(fs.ops, want) {
		t.Fatalf("got %q, want %q", fs.ops, want)
	}
}

// What was there may be the work of a process that was killed before its sync.
func TestMkdirAllSyncsTheParentOfADirectoryThatIsThere(t *testing.T) {
	root := t.TempDir()
	fs := &traced{FS: OS()}
	if err := MkdirAll(fs, root, 0o700); err != nil {
		t.Fatal(err)
	}
	if want := []string{"syncdir " + filepath.Base(filepath.Dir(root))}; !slices.Equal(fs.ops, want) {
		t.Fatalf("got %q, want %q", fs.ops, want)
	}
}

func TestMkdirAllGoesThroughALinkAndNotOverAFile(t *testing.T) {
	root := t.TempDir()
	link, file := filepath.Join(root, "link"), filepath.Join(root, "file")
	create(t, OS(), file)
	if err := MkdirAll(OS(), filepath.Join(file, "x"), 0o700); err == nil {
		t.Error("a directory below a file")
	}
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if err := MkdirAll(OS(), filepath.Join(link, "x", "y"), 0o700); err != nil {
		t.Error(err)
	}
}

func TestRemoveTreeRemovesFilesAndDirectories(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	for i := range 3 {
		dir := filepath.Join(root, "a", fmt.Sprint(i))
		if err := MkdirAll(OS(), dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceFile(OS(), filepath.Join(dir, "f"), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second time it is gone
		if err := RemoveTree(OS(), root); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(root); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("left: %v", err)
	}
}

// Goal: a large file shrinks step by step, with a rest behind each step, and is gone
// in the end; a small one is removed at once.
func TestRemoveTreeInStepsShrinksLargeFiles(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	if err := MkdirAll(OS(), root, 0o700); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(root, "large")
	for name, bytes := range map[string]int{large: 10, filepath.Join(root, "small"): 3} {
		if err := ReplaceFile(OS(), name, make([]byte, bytes)); err != nil {
			t.Fatal(err)
		}
	}
	var sizes []int64
	for range 2 { // the second time it is gone
		err := RemoveTreeInSteps(OS(), root, 3, func() {
			info, err := os.Lstat(large)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, info.Size())
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if want := []int64{7, 4, 1}; !slices.Equal(sizes, want) {
		t.Errorf("sizes %v, want %v", sizes, want)
	}
	if _, err := os.Lstat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}

func TestRemoveTreeRemovesNothingWhenThereIsALink(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	kept, mine := filepath.Join(outside, "kept"), filepath.Join(root, "a")
	create(t, OS(), kept)
	create(t, OS(), mine)
	if err := os.Symlink(outside, filepath.Join(root, "z")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if err := RemoveTree(OS(), root); err == nil {
		t.Error("no error")
	}
	if err := RemoveTreeInSteps(OS(), root, 1, func() {}); err == nil {
		t.Error("in steps: no error")
	}
	for _, name := range []string{kept, mine} {
		if _, err := os.Lstat(name); err != nil {
			t.Errorf("removed: %v", err)
		}
	}
}

func TestRemoveTreeHasABottom(t *testing.T) {
	root := t.TempDir()
	deep := root
	for range treeDepthMax + 1 {
		deep = filepath.Join(deep, "d")
	}
	if err := MkdirAll(OS(), deep, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := RemoveTree(OS(), root); err == nil {
		t.Fatal("no error")
	}
}

func TestReadFileRefusesMoreThanTheLimit(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadFile(OS(), name, 5); string(got) != "12345" || err != nil {
		t.Errorf("at the limit: %q, %v", got, err)
	}
	if _, err := ReadFile(OS(), name, 4); !errors.Is(err, errTooLarge) {
		t.Errorf("above the limit: %v", err)
	}
}

// A replacement whose room was reserved writes into the file that has it, and no other.
func TestReplaceFileUsesTheRoomThatWasReserved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	for range 2 {
		if err := ReserveReplacement(OS(), name, 4<<10); err != nil {
			t.Fatal(err)
		}
	}
	reserved, err := os.Lstat(name + TemporarySuffix)
	if err != nil || reserved.Size() != 0 {
		t.Fatal(reserved, err)
	}
	if err := ReplaceFile(OS(), name, []byte("new")); err != nil {
		t.Fatal(err)
	}
	found, err := os.Lstat(name)
	if err != nil || !os.SameFile(found, reserved) {
		t.Fatalf("it is another file than the one with the room: %v", err)
	}
	if got, err := ReadFile(OS(), name, 10); string(got) != "new" {
		t.Fatalf("%q, %v", got, err)
	}
}

// What a crash has left under the temporary name is not written into.
func TestAReservationReplacesWhatACrashHasLeft(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name+TemporarySuffix, []byte("half of a replacement"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ReserveReplacement(OS(), name, 4<<10); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(name + TemporarySuffix); err != nil || info.Size() != 0 {
		t.Fatal(info, err)
	}
}

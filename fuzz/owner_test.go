//go:build unix

package fuzz

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/keyfold/keyfold/engine"
)

// guestID is a user and a group that own nothing here.
const guestID = 54321

// A lodging is a store that a guest tries to open: with all of it as a user of the group of
// guests may see it.
type lodging struct {
	t        *testing.T
	original string
	binary   string // of the guest, where it may run it
	changed  string // the last file that was changed by the last try
}

// try has a guest open a copy of the store, with the files of which some rights have been
// changed.
func (l *lodging) try(change func(dir string) error) (said, dir string, err error) {
	said, dir, err = l.tryAnyhow(change)
	if err != nil && l.changed != "" {
		l.t.Errorf("a store that was refused has changed: %s\n%s", l.changed, said)
	}
	return said, dir, err
}

// tryAnyhow is try, but for files that a refused store has changed: those that are only
// written may be found too late.
func (l *lodging) tryAnyhow(change func(dir string) error) (said, dir string, err error) {
	dir = filepath.Join(lodgingDirectory(l.t), "store")
	must(l.t, os.CopyFS(dir, os.DirFS(l.original)))
	each(l.t, dir, func(path string, info fs.FileInfo) error {
		mode := fs.FileMode(0o600)
		if info.IsDir() {
			mode = 0o700
		}
		return errors.Join(os.Chown(path, guestID, guestID), os.Chmod(path, mode))
	})
	must(l.t, change(dir))
	before := inventory(l.t, dir)
	guest := exec.Command(l.binary)
	guest.Dir = "/"
	guest.Env = append(os.Environ(), guestVariable+"="+dir)
	guest.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: guestID, Gid: guestID}}
	out, err := guest.CombinedOutput()
	l.changed = ""
	after := inventory(l.t, dir)
	for line := range strings.Lines(before) { // files that nothing names may have come
		if !strings.Contains(after, line) {
			l.changed, _, _ = strings.Cut(line, " ")
		}
	}
	return string(out), dir, err
}

// lodgingDirectory is a directory that guests may pass through, unlike those of t.TempDir.
func lodgingDirectory(t *testing.T) string {
	dir, err := os.MkdirTemp("", "keyfold-owner-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return dir
}

// inventory is what the files of a store hold, but for LOCK.
func inventory(t *testing.T, dir string) string {
	all := ""
	each(t, dir, func(path string, info fs.FileInfo) error {
		if !info.Mode().IsRegular() || info.Name() == "LOCK" {
			return nil
		}
		b, err := os.ReadFile(path)
		all += fmt.Sprintf("%s %v %x\n", path, info.Mode(), b)
		return err
	})
	return all
}

// each does something to all of a tree.
func each(t *testing.T, dir string, do func(path string, info fs.FileInfo) error) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		return errors.Join(err, do(path, info))
	}))
}

// Goal: a store that this process may not read and write is refused as that, with who owns
// what and what to do, never as damaged, and nothing is left out because of it; one of
// somebody else that it may use, as root or by a group, is used.
// Method: another user opens a store of which each file and directory in turn is somebody
// else's, or has no rights.
func TestAStoreOfSomebodyElseIsRefusedOnlyIfItCannotBeUsed(t *testing.T) {
	if dir := os.Getenv(guestVariable); dir != "" {
		t.Skip("this is a guest")
	}
	row := tries(t, "R11", "each file and directory of a store of another owner, or without rights, and a store of another owner's that may be used",
		"refused as that with what to do, 0 files changed, nothing left out; used if it can be")
	if os.Getuid() != 0 {
		row.Skipped = "only root can give files away"
		t.Skip(row.Skipped)
	}
	t.Parallel()
	l := &lodging{t: t, original: filepath.Join(t.TempDir(), "store"), binary: filepath.Join(lodgingDirectory(t), "guest")}
	binary, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(l.binary, binary, 0o755))
	o := small()
	o.SnapshotBytes = 1 << 30
	r := newRig(o, hashes["full"])
	r.dir = l.original
	must(t, r.open())
	random := random(t)
	for range 2 {
		must(t, r.load(random, 40, engine.Durable))
		must(t, snapshot(r))
	}
	must(t, r.load(random, 20, engine.Durable))
	r.hurry()
	var names []string
	each(t, l.original, func(path string, info fs.FileInfo) error {
		names = append(names, strings.TrimPrefix(path, l.original))
		return nil
	})
	for _, name := range names {
		for what, change := range map[string]func(string) error{
			"of root":        func(path string) error { return os.Chown(path, 0, 0) },
			"without rights": func(path string) error { return os.Chmod(path, 0) },
		} {
			try := l.try
			if strings.HasSuffix(name, ".tmp") {
				try = l.tryAnyhow
			}
			said, dir, err := try(func(dir string) error { return change(dir + name) })
			row.Cycles++
			if err == nil {
				if !unreadByOpen(r, name) {
					t.Errorf("%q %s: opened", name, what)
				}
				continue
			}
			if !strings.Contains(said, "rights true, damage false") || !strings.Contains(said, fmt.Sprintf("chown -R %d %s", guestID, dir)) {
				t.Errorf("%q %s: %s", name, what, said)
			}
		}
	}
	for what, change := range map[string]func(string) error{
		"of root, and of a group": func(dir string) error { return bestow(t, dir, 0, 0o060, 0o2070) },
		"as it is":                func(string) error { return nil },
	} {
		row.Cycles++
		if said, _, err := l.try(change); err != nil {
			t.Errorf("%s: %s", what, said)
		}
	}
	_, dir, err := l.try(func(string) error { return nil })
	must(t, err)
	row.Cycles++
	must(t, beGuest(dir)) // as root
}

// bestow gives a store to a user and the group of guests, with rights added.
func bestow(t *testing.T, dir string, uid int, file, directory fs.FileMode) error {
	each(t, dir, func(path string, info fs.FileInfo) error {
		add := file
		if info.IsDir() {
			add = directory
		}
		return errors.Join(os.Chown(path, uid, guestID), os.Chmod(path, info.Mode().Perm()|add&0o777))
	})
	return nil
}

// unreadByOpen says that Open does not look into a file or directory: those of older states.
func unreadByOpen(r *rig, name string) bool {
	for _, unread := range []string{"/log/00000001", "/log/00000002", "/snapshot/00000002.snap"} {
		if strings.Contains(name, unread) {
			return true
		}
	}
	return false
}

// A directory that a group may write is told of, because volumes are given to groups on
// purpose; one that everybody may write is refused.
func TestADirectoryThatEverybodyCanWriteIsRefused(t *testing.T) {
	t.Parallel()
	for mode, refused := range map[fs.FileMode]bool{0o700: false, 0o770: false, 0o702: true, 0o777: true} {
		var log bytes.Buffer
		r := newRig(small(), hashes["full"])
		r.dir = filepath.Join(t.TempDir(), "store")
		r.options.Logger = slog.New(slog.NewTextHandler(&log, nil))
		must(t, os.Mkdir(r.dir, 0o700))
		must(t, os.Chmod(r.dir, mode))
		err := r.open()
		if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), "chmod o-w "+r.dir) {
			t.Errorf("mode %v: %v", mode, err)
		}
		must(t, r.abandon()) // which waits for the log
		if told := strings.Contains(log.String(), "level=WARN"); told != (mode == 0o770) {
			t.Errorf("mode %v: a warning is there: %v: %s", mode, told, log.String())
		}
	}
}

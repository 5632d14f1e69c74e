package fuzz

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
)

// Goal: nobody who only chooses keys can aim them at one partition.
// Method: 100,000 keys that the hash without a seed puts into partition 0 of 64, sent to
// new stores, whose seeds are random.
func TestKeysThatAreAimedAtAPartitionSpread(t *testing.T) {
	t.Parallel()
	const partitions, keys, most = 64, 100_000, 1.15
	row := tries(t, "S1", "100,000 keys that the hash without a seed puts into one partition of 64, in a new store", "no partition has more than 1.15 of its fair share")
	aimed := make([]uint64, 0, keys)
	var key [8]byte
	for n := uint64(0); len(aimed) < keys; n++ {
		binary.LittleEndian.PutUint64(key[:], n)
		if xxh3.Hash(key[:])>>(64-6) == 0 {
			aimed = append(aimed, n)
		}
	}
	for range min(*rounds, 10) {
		table := engine.Fold("aimed", func(_ *engine.Context[uint64], s *uint8, _ struct{}) { *s++ })
		ctx, cancel := patiently()
		defer cancel()
		e, err := engine.Open(ctx, filepath.Join(t.TempDir(), "store"), engine.Options{Shards: 2, Partitions: partitions, Sync: engine.SyncNever, Spin: -1}, table)
		must(t, err)
		p, err := table.Producer(engine.ProducerOptions[uint64, struct{}]{Ack: engine.Applied})
		must(t, err)
		for _, n := range aimed {
			must(t, p.Send(ctx, n, struct{}{}))
		}
		must(t, p.Close(ctx))
		stats, err := e.Stats(ctx)
		must(t, err)
		for _, p := range stats.Partitions {
			if share := float64(p.Keys) / (keys / partitions); share > most {
				t.Errorf("partition %d has %d keys, %.3f of its share", p.Partition, p.Keys, share)
			}
		}
		if stats.Keys != keys {
			t.Errorf("%d keys of %d", stats.Keys, keys)
		}
		must(t, e.Close())
		row.Cycles++
		row.Checked += keys
	}
}

// maskedVariable makes the test binary one that only makes a store, in the directory that
// it names, under the mask that it was begun with.
const maskedVariable = "KEYFOLD_FUZZ_MASKED"

// Goal: nobody else may read a store, whatever the mask of the process says, and its owner
// may.
// Method: children with a mask that takes nothing away, and one that takes away what others
// may, make stores with both devices.
func TestFilesAreTheirOwnersAloneUnderAnyMask(t *testing.T) {
	if dir := os.Getenv(maskedVariable); dir != "" {
		must(t, lead(dir))
		return
	}
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there are no such modes")
	}
	row := tries(t, "S3", "stores made under umask 000 and 077", "directories 0700, files 0600")
	for _, mask := range []string{"000", "077"} {
		dir := filepath.Join(t.TempDir(), "store")
		child := exec.Command("sh", "-c", `umask "$0" && exec "$@"`, mask, os.Args[0], "-test.run", "^"+t.Name()+"$")
		child.Env = append(os.Environ(), maskedVariable+"="+dir)
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			want := fs.FileMode(0o600)
			if entry.IsDir() {
				want = fs.ModeDir | 0o700
			}
			if info.Mode() != want {
				t.Errorf("umask %s: %s is %v and must be %v", mask, path, info.Mode(), want)
			}
			row.Cycles++
			return nil
		}))
	}
}

// lead takes a store of the disk through its life, with either device.
func lead(dir string) error {
	for _, device := range []engine.LogDevice{engine.DeviceDirect, engine.DeviceLibrary} {
		o := small()
		o.Device, o.KeepLog = device, engine.KeepLog{Bytes: 1 << 20}
		r := newRig(o, hashes["full"])
		r.dir = filepath.Join(dir, []string{"direct", "library"}[device])
		for range 2 {
			if err := r.open(); err != nil {
				return err
			}
			for i := range 60 {
				if err := r.do(name{key: fmt.Sprint(i % 7)}, step{Filler: filler(200, uint64(i))}, engine.Written); err != nil {
					return err
				}
			}
			if err := snapshot(r); err != nil {
				return err
			}
			r.hurry()
			r.options.Shards++
		}
	}
	return nil
}

// Goal: whoever may plant links in the directory of a store makes it write nowhere else.
// Method: links to a file and to a directory of somebody else under each name that the
// store makes next.
func TestPlantedLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("links need a right there that few have")
	}
	row := tries(t, "S3", "links to a foreign file and directory planted under the names that a store makes next", "0 foreign bytes changed")
	foreign := t.TempDir()
	file, inner := filepath.Join(foreign, "file"), filepath.Join(foreign, "directory")
	must(t, os.WriteFile(file, []byte("foreign"), 0o600))
	must(t, os.Mkdir(inner, 0o700))
	for _, target := range []string{file, inner, filepath.Join(foreign, "nothing yet")} {
		for _, planted := range []string{
			"LOCK", "MANIFEST", "MANIFEST.tmp", "layout-0001", "layout-0002", "layout-0001/shard-000/CURRENT.tmp", "layout-0001/shard-000/log/00000002",
			"layout-0001/shard-000/log/00000003", "layout-0001/shard-000/snapshot/00000002.snap", "layout-0001/shard-000/snapshot/00000002.snap.tmp",
			"layout-0001/shard-000/snapshot/00000003.snap.tmp", "layout-0001/shard-000/log/00000001/00000000000000000999",
		} {
			for _, made := range []bool{false, true} {
				dir := filepath.Join(t.TempDir(), "store")
				tryPlanted(t, dir, planted, target, made)
				text, err := os.ReadFile(file)
				must(t, err)
				entries, err := os.ReadDir(foreign)
				must(t, err)
				within, err := os.ReadDir(inner)
				must(t, err)
				if string(text) != "foreign" || len(entries) != 2 || len(within) != 0 {
					t.Fatalf("a link to %s as %s: the file holds %q, there are %v and %v", target, planted, text, entries, within)
				}
				row.Cycles++
			}
		}
	}
}

// tryPlanted has a store live with a link in its directory. What it says is its own affair.
func tryPlanted(t *testing.T, dir, planted, target string, made bool) {
	o := small()
	o.Shards = 1
	r := newRig(o, hashes["full"])
	r.dir = dir
	if made {
		must(t, r.open())
		r.hurry()
	}
	name := filepath.Join(dir, planted)
	must(t, os.MkdirAll(filepath.Dir(name), 0o700))
	_ = os.RemoveAll(name) // of what the store has made itself
	must(t, os.Symlink(target, name))
	if r.open() != nil {
		return
	}
	ctx, cancel := patiently()
	defer cancel()
	for i := range 40 {
		if _, err := r.tallies.Do(ctx, fmt.Sprint(i), step{Filler: filler(300, 1)}, engine.Written); err != nil {
			break
		}
	}
	_ = r.engine.Snapshot(ctx)
	_ = r.engine.Close()
}

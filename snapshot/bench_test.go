package snapshot

import (
	"fmt"
	"os"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/fsys"
)

// A shard's worth of data: 64 MiB, with entries of 64 bytes.
const (
	benchBytes     = 64 << 20
	benchEntry     = 64
	benchPartition = 1 << 20
)

// writeBench writes a file of benchBytes in blocks.
func writeBench(b *testing.B, path string, data []byte, sync bool) {
	b.Helper()
	var fs fsys.FS = fsys.OS()
	if !sync {
		fs = withoutSync{fs}
	}
	w, err := Create(fs, path, testID, nil)
	if err != nil {
		b.Fatal(err)
	}
	for p := range uint32(benchBytes / benchPartition) {
		for n := 0; n < benchPartition && err == nil; n += len(data) {
			err = w.Block(p, 0, 0, uint32(len(data)/benchEntry), data)
		}
		if err == nil {
			err = w.EndPartition(p, 1, 1)
		}
	}
	if s, finish := w.Finish(); err != nil || finish != nil || s.Entries != benchBytes/benchEntry {
		b.Fatal(s, err, finish)
	}
}

// withoutSync is a file system that takes every sync for done, so that the cost of
// the code is seen and not that of the disk.
type withoutSync struct{ fsys.FS }

func (fs withoutSync) OpenFile(name string, flag int, perm os.FileMode) (fsys.File, error) {
	f, err := fs.FS.OpenFile(name, flag, perm)
	return fileWithoutSync{f}, err
}

type fileWithoutSync struct{ fsys.File }

func (fileWithoutSync) Sync() error { return nil }

// perSecond reports the entries, beside the bytes.
func perSecond(b *testing.B) {
	b.SetBytes(benchBytes)
	b.ReportMetric(benchBytes/benchEntry*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkWrite writes 64 MiB; os.WriteFile does the same in one call, without
// hashes and without a sync.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, sync := range []bool{false, true} {
			b.Run(fmt.Sprintf("block=%d/sync=%v", size, sync), func(b *testing.B) {
				path, data := b.TempDir()+"/a", make([]byte, size)
				for b.Loop() {
					writeBench(b, path, data, sync)
					if err := os.Remove(path); err != nil {
						b.Fatal(err)
					}
				}
				perSecond(b)
			})
		}
	}
	b.Run("rival=os.WriteFile", func(b *testing.B) {
		path, data := b.TempDir()+"/a", make([]byte, benchBytes)
		for b.Loop() {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				b.Fatal(err)
			}
			if err := os.Remove(path); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b)
	})
}

// BenchmarkLoad loads 64 MiB from the page cache, by one goroutine or two;
// os.ReadFile does not verify, and takes memory for all of it.
func BenchmarkLoad(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20} {
		for _, loaders := range []int{1, 2} {
			b.Run(fmt.Sprintf("block=%d/loaders=%d", size, loaders), func(b *testing.B) {
				path := b.TempDir() + "/a"
				writeBench(b, path, make([]byte, size), false)
				for b.Loop() {
					loadBench(b, path, loaders)
				}
				perSecond(b)
			})
		}
	}
	b.Run("rival=os.ReadFile", func(b *testing.B) {
		path := b.TempDir() + "/a"
		writeBench(b, path, make([]byte, 1<<20), false)
		for b.Loop() {
			if data, err := os.ReadFile(path); err != nil || len(data) < benchBytes {
				b.Fatal(len(data), err)
			}
		}
		perSecond(b)
	})
	b.Run("rival=xxh3", func(b *testing.B) {
		data, sum := make([]byte, 1<<20), uint64(0)
		for b.Loop() {
			for range benchBytes / len(data) {
				sum += xxh3.HashSeed(data, sum)
			}
		}
		perSecond(b)
	})
}

// loadBench loads every partition of a file.
func loadBench(b *testing.B, path string, loaders int) {
	b.Helper()
	r, err := Open(fsys.OS(), path, testID)
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan uint64, loaders)
	for i := range loaders {
		go func() {
			var entries uint64
			for p := i; p < len(r.Partitions()); p += loaders {
				if e := r.Load(r.Partitions()[p].Partition, func(_ uint16, _ uint8, n uint32, _ []byte) error {
					entries += uint64(n)
					return nil
				}); e != nil {
					b.Error(e)
				}
			}
			done <- entries
		}()
	}
	var entries uint64
	for range loaders {
		entries += <-done
	}
	if err := r.Close(); err != nil || entries != benchBytes/benchEntry {
		b.Fatal(entries, err)
	}
}

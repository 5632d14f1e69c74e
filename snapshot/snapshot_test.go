package snapshot

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

var testID = ID{Store: [16]byte{1, 2, 3, 15: 16}, Layout: 1, Shard: 2, Number: 7}

var seedFlag = flag.Uint64("seed", 0, "repeat a random test with this seed")

// seedFor gives the seed of a random test, and says how to repeat it.
func seedFor(tb testing.TB) uint64 {
	tb.Helper()
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64()
	}
	tb.Logf("repeat: go test ./snapshot -run '^%s$' -seed=%d", tb.Name(), seed)
	return seed
}

// item is one block as it is given to Block and as Load gives it back.
type item struct {
	table   uint16
	form    uint8
	entries uint32
	data    []byte
}

// image is one partition.
type image struct {
	partition       uint32
	sequence, epoch uint64
	items           []item
}

// sampleImages gives some partitions with about 10 KiB in blocks of many sizes.
func sampleImages() []image {
	r := rand.New(rand.NewPCG(1, 2))
	images := []image{{partition: 9, sequence: 100, epoch: 1}, {partition: 3}, {partition: 4000, sequence: 1 << 40, epoch: 3}, {partition: 0, sequence: 5}}
	for i, n := range []int{3, 0, 5, 1} {
		for j := range n {
			data := make([]byte, 180*(i+1)*(j+1))
			for k := range data {
				data[k] = byte(r.Uint32())
			}
			images[i].items = append(images[i].items, item{uint16(j), uint8(j % 3), uint32(len(data) / 20), data})
		}
	}
	images[2].items[1].data, images[2].items[1].entries = []byte{}, 0
	return images
}

// write writes images to path up to and with Finish.
func write(tb testing.TB, fs fsys.FS, path string, id ID, header []byte, images []image) Summary {
	tb.Helper()
	w, err := Create(fs, path, id, header)
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range images {
		for _, it := range m.items {
			if err := w.Block(m.partition, it.table, it.form, it.entries, it.data); err != nil {
				tb.Fatal(err)
			}
		}
		if err := w.EndPartition(m.partition, m.sequence, m.epoch); err != nil {
			tb.Fatal(err)
		}
	}
	s, err := w.Finish()
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// load reads all of path that can be read: the images up to the first error of each.
func load(fs fsys.FS, path string, id ID) (images []image, err error) {
	r, err := Open(fs, path, id)
	if err != nil {
		return nil, err
	}
	for _, p := range r.Partitions() {
		m := image{partition: p.Partition, sequence: p.Sequence, epoch: p.Epoch}
		err = errors.Join(err, r.Load(p.Partition, func(table uint16, form uint8, entries uint32, data []byte) error {
			m.items = append(m.items, item{table, form, entries, append([]byte{}, data...)})
			return nil
		}))
		images = append(images, m)
	}
	return images, errors.Join(err, r.Close())
}

// content reads a file as bytes.
func content(tb testing.TB, fs fsys.FS, path string) []byte {
	tb.Helper()
	f, err := fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	size, err := f.Size()
	if err != nil {
		tb.Fatal(err)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
	return b
}

// put makes path a file with just these bytes.
func put(tb testing.TB, fs fsys.FS, path string, b []byte) {
	tb.Helper()
	f, err := fs.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

func TestWhatWasWrittenIsLoaded(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), BlockBytesMax/16)
	mixed := []image{{partition: 1, items: []item{
		{1, 1, 1, []byte("a")}, {2, 2, 2, big[:chunkBytes-1]}, {3, 3, 3, big[:chunkBytes]}, {4, 4, 4, big[1 : chunkBytes+2]},
		{5, 5, 5, big}, {6, 0, 0, []byte{}}, {65535, 7, 7, big[:100_000]}, {8, 8, 8, big[3:]},
		{9, 1, 3, slices.Concat(big, big, big[:1])}, {9, 1, 4, slices.Concat(big, big[5:6])}, {9, 2, 5, big[:9]}, {9, 2, 1 << 21, slices.Concat(big[1:], big)},
	}}, {partition: 1<<32 - 1, sequence: 1<<64 - 1, epoch: 1<<64 - 1}}
	for name, images := range map[string][]image{"nothing": nil, "small": sampleImages(), "up to the limits": mixed} {
		for _, header := range [][]byte{{}, []byte("header"), big[:HeaderBytesMax]} {
			fs := crashfs.New()
			wrote := write(t, fs, "a", testID, header, images)
			got, err := load(fs, "a", testID)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(got) != len(images) || len(got) > 0 && !reflect.DeepEqual(got, images) {
				t.Fatalf("%s: other blocks came back", name)
			}
			read, err := Verify(fs, "a", testID)
			if err != nil || read != wrote || wrote.FileBytes != uint64(len(content(t, fs, "a"))) {
				t.Fatalf("%s: wrote %+v, read %+v, %v", name, wrote, read, err)
			}
			r, err := Open(fs, "a", testID)
			if err != nil || !bytes.Equal(r.Header(), header) {
				t.Fatalf("%s: header of %d bytes: %v", name, len(header), err)
			}
		}
	}
}

func TestSummaryCountsWhatIsInTheFile(t *testing.T) {
	fs := crashfs.New()
	got := write(t, fs, "a", testID, []byte("header"), sampleImages())
	want := Summary{Partitions: 4, FileBytes: uint64(len(content(t, fs, "a")))}
	for _, m := range sampleImages() {
		for _, it := range m.items {
			want.Blocks++
			want.Entries += uint64(it.entries)
			want.DataBytes += uint64(len(it.data))
		}
	}
	if got != want {
		t.Errorf("summary %+v, want %+v", got, want)
	}
}

func TestFilesAreForTheirOwnerOnlyAndNotOverwritten(t *testing.T) {
	path := t.TempDir() + "/a"
	write(t, fsys.OS(), path, testID, nil, sampleImages())
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := Create(fsys.OS(), path, testID, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("created over a file: %v", err)
	}
}

func TestPartitionsLoadInParallel(t *testing.T) {
	fs := crashfs.New()
	images := sampleImages()
	write(t, fs, "a", testID, nil, images)
	r, err := Open(fs, "a", testID)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for i := range 4 * len(images) {
		m := images[i%len(images)]
		wait.Go(func() {
			n := 0
			err := r.Load(m.partition, func(table uint16, _ uint8, _ uint32, data []byte) error {
				if table != m.items[n].table || !bytes.Equal(data, m.items[n].data) {
					return fmt.Errorf("block %d is another one", n)
				}
				n++
				return nil
			})
			if err != nil || n != len(m.items) {
				t.Errorf("partition %d: %d blocks, %v", m.partition, n, err)
			}
		})
	}
	wait.Wait()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func TestLoadsDoNotShareMemory(t *testing.T) {
	fs := crashfs.New()
	write(t, fs, "a", testID, nil, sampleImages())
	r, err := Open(fs, "a", testID)
	if err != nil {
		t.Fatal(err)
	}
	ignore := func(uint16, uint8, uint32, []byte) error { return nil }
	for range 2 { // the second round finds the memory of the first
		err = errors.Join(err, r.Load(4000, func(_ uint16, _ uint8, _ uint32, data []byte) error {
			before := bytes.Clone(data)
			if err := r.Load(9, ignore); err != nil || !bytes.Equal(before, data) {
				return fmt.Errorf("a block changed while another partition was loaded: %v", err)
			}
			return nil
		}))
	}
	if err := errors.Join(err, r.Close()); err != nil {
		t.Error(err)
	}
}

func TestAFileHoldsNoMoreThanPartitionsMax(t *testing.T) {
	w, err := Create(crashfs.New(), "a", testID, nil)
	if err != nil {
		t.Fatal(err)
	}
	for p := range uint32(PartitionsMax) {
		if err := w.EndPartition(p, 0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.EndPartition(PartitionsMax, 0, 0); err == nil || !strings.Contains(err.Error(), "more than 1048576 partitions") {
		t.Errorf("%v", err)
	}
	if err := w.Abort(); err != nil {
		t.Error(err)
	}
}

func TestLoadStopsAtTheErrorOfItsCaller(t *testing.T) {
	fs := crashfs.New()
	write(t, fs, "a", testID, nil, sampleImages())
	r, err := Open(fs, "a", testID)
	if err != nil {
		t.Fatal(err)
	}
	enough, calls := errors.New("enough"), 0
	err = r.Load(9, func(uint16, uint8, uint32, []byte) error { calls++; return enough })
	if err != enough || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	if err := r.Load(77, nil); err == nil || !strings.Contains(err.Error(), "no partition 77") {
		t.Errorf("loading what is not there: %v", err)
	}
	if _, ok := r.Partition(77); ok {
		t.Error("partition 77 is there")
	}
}

func TestMisuseNeverMakesAWholeFile(t *testing.T) {
	for _, c := range []struct {
		name, want string
		use        func(w *Writer) error
	}{
		{"partition within another", "partition 2 begins before partition 1 has ended", func(w *Writer) error {
			return errors.Join(w.Block(1, 0, 0, 0, nil), w.Block(2, 0, 0, 0, nil))
		}},
		{"end of another partition", "partition 2 begins before partition 1 has ended", func(w *Writer) error {
			return errors.Join(w.Block(1, 0, 0, 0, nil), w.EndPartition(2, 0, 0))
		}},
		{"partition twice", "partition 1 appears twice", func(w *Writer) error {
			return errors.Join(w.EndPartition(1, 0, 0), w.EndPartition(1, 0, 0))
		}},
		{"more entries than bytes in a piece", "a block of 4194306 bytes and 2097154 entries", func(w *Writer) error {
			return errors.Join(w.Block(1, 0, 0, BlockBytesMax/2+2, make([]byte, BlockBytesMax+2)), w.EndPartition(1, 0, 0))
		}},
		{"more entries than bytes", "a block of 2 bytes and 3 entries", func(w *Writer) error {
			return errors.Join(w.Block(1, 0, 0, 3, make([]byte, 2)), w.EndPartition(1, 0, 0))
		}},
		{"partition without an end", "partition 1 has not ended", func(w *Writer) error { return w.Block(1, 0, 0, 0, nil) }},
		{"aborted", "the file was finished or aborted", func(w *Writer) error { return w.Abort() }},
	} {
		fs := crashfs.New()
		w, err := Create(fs, "a", testID, nil)
		if err != nil {
			t.Fatal(err)
		}
		misuse := c.use(w)
		if _, err := w.Finish(); err == nil || !strings.HasPrefix(err.Error(), "snapshot: write a: "+c.want) {
			t.Errorf("%s: %v, and then Finish: %v", c.name, misuse, err)
		}
		if misuse != nil && w.EndPartition(1, 0, 0) == nil {
			t.Errorf("%s: %v, and then a partition ended", c.name, misuse)
		}
		if _, err := Verify(fs, "a", testID); err == nil {
			t.Errorf("%s: the file is whole", c.name)
		}
		if err := w.Abort(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := fs.Lstat("a"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the file is there: %v", c.name, err)
		}
	}
	if _, err := Create(crashfs.New(), "a", testID, make([]byte, HeaderBytesMax+1)); err == nil {
		t.Error("a header that is too large was taken")
	}
}

func TestAbortAfterFinishKeepsTheFile(t *testing.T) {
	fs := crashfs.New()
	w, err := Create(fs, "a", testID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(fs, "a", testID); err != nil {
		t.Error(err)
	}
	if _, err := w.Finish(); err == nil {
		t.Error("finished twice")
	}
}

// Goal: blocks cost no garbage on either side.
// Method: the count of allocations over many blocks, to files of the system.
func TestBlocksAreMovedWithoutAllocating(t *testing.T) {
	const blocks = 5000
	path, data := t.TempDir()+"/a", make([]byte, 300)
	w, err := Create(fsys.OS(), path, testID, nil)
	if err != nil {
		t.Fatal(err)
	}
	grew := mallocs(func() {
		for range blocks {
			err = errors.Join(err, w.Block(1, 1, 0, 1, data))
		}
	})
	err = errors.Join(err, w.EndPartition(1, 1, 1))
	if _, finish := w.Finish(); err != nil || finish != nil {
		t.Fatal(err, finish)
	}
	if grew > blocks/50 {
		t.Errorf("%d allocations to write %d blocks", grew, blocks)
	}
	r, err := Open(fsys.OS(), path, testID)
	if err != nil {
		t.Fatal(err)
	}
	if grew = mallocs(func() { err = r.Load(1, func(uint16, uint8, uint32, []byte) error { return nil }) }); err != nil {
		t.Fatal(err)
	}
	if grew > blocks/50 {
		t.Errorf("%d allocations to load %d blocks", grew, blocks)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// mallocs counts the allocations of the process while fn runs.
func mallocs(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// allocated counts the bytes that are allocated while fn runs.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Goal: no sync of a file has more to write than syncBytes and a block, however large the
// file is, so that nobody else's sync waits for long. Method: look how many syncs there
// were after each block.
func TestALargeFileIsSyncedInSteps(t *testing.T) {
	fs := crashfs.New()
	syncs := 0
	fs.SetHook(func(op crashfs.Op) error {
		if op.Kind == crashfs.Sync {
			syncs++
		}
		return nil
	})
	w, err := Create(fs, "a", testID, nil)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 3<<20)
	for wrote := len(data); wrote < 4*syncBytes; wrote += len(data) {
		if err := w.Block(1, 0, 0, 1, data); err != nil {
			t.Fatal(err)
		}
		if least := wrote / (syncBytes + len(data)); syncs < least {
			t.Fatalf("%d syncs behind %d bytes", syncs, wrote)
		}
	}
	if err := w.EndPartition(1, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(); err != nil || syncs > 5 {
		t.Error(syncs, err)
	}
}

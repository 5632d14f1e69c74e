package snapshot

import (
	"errors"
	"fmt"
	"os"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/mutant"
)

// chunkBytes is how much is written or read at once where there is as much. Larger
// gains nothing (BenchmarkWrite).
const chunkBytes = 1 << 20

// errFinished is what a writer says after Finish or Abort.
var errFinished = errors.New("the file was finished or aborted")

// A Writer writes one file. It must be used by one goroutine at a time. After an
// error every call but Abort returns that error, and the file will never be whole.
type Writer struct {
	fs        fsys.FS
	file      fsys.File
	path      string
	seed      uint64
	offset    uint64 // of the next byte given to write
	buffer    []byte // written, but not to the file yet
	unsynced  int    // bytes given to the file since it was synced
	scratch   [footBytes]byte
	open      bool // the last partition is not ended yet
	directory []Partition
	seen      map[uint32]struct{} // partitions in directory
	total     footer
	err       error
}

// Create makes the file path, which must not exist and is best a temporary name in
// the directory of the final one. The header is copied; it may have up to
// HeaderBytesMax bytes. After an error there may be a file, which nothing reads.
func Create(fs fsys.FS, path string, id ID, header []byte) (*Writer, error) {
	if len(header) > HeaderBytesMax {
		return nil, fmt.Errorf("snapshot: create %s: the header has %d bytes, more than %d", path, len(header), HeaderBytesMax)
	}
	f, err := fs.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("snapshot: create: %w", err)
	}
	w := &Writer{
		fs: fs, file: f, path: path, seed: seedOf(id),
		buffer: make([]byte, 0, chunkBytes), seen: map[uint32]struct{}{},
	}
	h := head{id: id, length: uint32(len(header)), hash: xxh3.HashSeed(header, w.seed)}
	h.put(w.scratch[:headBytes])
	w.write(w.scratch[:headBytes])
	w.write(header)
	return w, nil
}

// Block adds data with entries entries of a table of a partition; form says how they
// lie in it. Blocks of a partition come without those of another between them. Data may
// have up to DataBytesMax bytes, is not kept, and has at least a byte for each entry. What
// is longer than BlockBytesMax has at most BlockBytesMax/2 entries.
func (w *Writer) Block(partition uint32, table uint16, form uint8, entries uint32, data []byte) error {
	if err := w.begin(partition); err != nil {
		return err
	}
	pieces := max(1, (len(data)+BlockBytesMax-1)/BlockBytesMax)
	if len(data) > DataBytesMax || int64(entries) > int64(len(data)/pieces) {
		return w.fail(fmt.Errorf("a block of %d bytes and %d entries", len(data), entries))
	}
	for ; pieces > 1; pieces-- {
		n := len(data) / pieces
		w.piece(block{table: table, form: form, more: true}, data[:n])
		data = data[n:]
	}
	w.piece(block{table: table, form: form, entries: entries}, data)
	return w.err
}

// piece adds a block of the open partition to the file.
func (w *Writer) piece(k block, data []byte) {
	p := &w.directory[len(w.directory)-1]
	k.partition, k.length = p.Partition, uint32(len(data))
	k.offset, k.hash = w.offset, xxh3.HashSeed(data, w.seed)
	k.put(w.scratch[:blockBytes], w.seed)
	w.write(w.scratch[:blockBytes])
	w.write(data)
	p.Blocks++
	p.Entries += uint64(k.entries)
	w.total.data += uint64(len(data))
}

// begin makes partition the open one, if none is open.
func (w *Writer) begin(partition uint32) error {
	if w.err != nil {
		return w.err
	}
	if w.open {
		if last := w.directory[len(w.directory)-1].Partition; last != partition {
			return w.fail(fmt.Errorf("partition %d begins before partition %d has ended", partition, last))
		}
		return nil
	}
	if _, ok := w.seen[partition]; ok {
		return w.fail(fmt.Errorf("partition %d appears twice", partition))
	}
	if len(w.directory) == PartitionsMax {
		return w.fail(fmt.Errorf("more than %d partitions", PartitionsMax))
	}
	w.open = true
	w.seen[partition] = struct{}{}
	w.directory = append(w.directory, Partition{Partition: partition, Offset: w.offset})
	return nil
}

// EndPartition ends a partition, with blocks or without any: its image holds the
// events up to sequence, and epoch is that of its ownership.
func (w *Writer) EndPartition(partition uint32, sequence, epoch uint64) error {
	if err := w.begin(partition); err != nil {
		return err
	}
	p := &w.directory[len(w.directory)-1]
	p.Sequence, p.Epoch = sequence, epoch
	p.Bytes = w.offset - p.Offset
	w.total.blocks += uint64(p.Blocks)
	w.total.entries += p.Entries
	w.open = false
	return nil
}

// Finish writes directory and footer, syncs the file and closes it. When it returns
// nil the contents of the file are durable; its name is after [Publish].
func (w *Writer) Finish() (Summary, error) {
	if w.err == nil && w.open {
		last := w.directory[len(w.directory)-1].Partition
		w.fail(fmt.Errorf("partition %d has not ended", last))
	}
	w.writeDirectory()
	w.flush()
	if w.err != nil {
		return Summary{}, w.err
	}
	var err error
	if !mutant.SnapshotNotSynced {
		err = w.file.Sync()
	}
	if err != nil {
		return Summary{}, w.fail(err)
	}
	f := w.file
	w.file = nil
	if err := f.Close(); err != nil {
		return Summary{}, w.fail(err)
	}
	w.fail(errFinished)
	return summaryOf(&w.total, w.offset), nil
}

// writeDirectory writes the directory and the footer.
func (w *Writer) writeDirectory() {
	if w.err != nil {
		return
	}
	w.total.directory = w.offset
	w.total.partitions = uint32(len(w.directory))
	items := make([]byte, 0, len(w.directory)*itemBytes)
	for i := range w.directory {
		items = appendItem(items, &w.directory[i])
	}
	w.total.hash = xxh3.HashSeed(items, w.seed)
	w.write(items)
	w.total.put(w.scratch[:footBytes], w.seed)
	w.write(w.scratch[:footBytes])
}

// Abort closes and removes a file that is not finished. After Finish returned nil
// it does nothing, so that it can be deferred.
func (w *Writer) Abort() error {
	if w.file == nil && errors.Is(w.err, errFinished) {
		return nil
	}
	var err error
	if w.file != nil {
		err = w.file.Close()
		w.file = nil
	}
	if err = errors.Join(err, w.fs.Remove(w.path)); err != nil {
		return fmt.Errorf("snapshot: abort %s: %w", w.path, err)
	}
	w.err = fmt.Errorf("snapshot: write %s: %w", w.path, errFinished)
	return nil
}

// write adds b to what Finish will have written.
func (w *Writer) write(b []byte) {
	w.offset += uint64(len(b))
	for len(b) > 0 && w.err == nil {
		if len(w.buffer) == 0 && len(b) >= cap(w.buffer) {
			w.writeFile(b)
			return
		}
		n := min(len(b), cap(w.buffer)-len(w.buffer))
		w.buffer = append(w.buffer, b[:n]...)
		b = b[n:]
		if len(w.buffer) == cap(w.buffer) {
			w.flush()
		}
	}
}

// flush gives the buffer to the file.
func (w *Writer) flush() {
	if w.err == nil && len(w.buffer) > 0 {
		w.writeFile(w.buffer)
		w.buffer = w.buffer[:0]
	}
}

// syncBytes is how much is written between two syncs. A single sync of hundreds of
// megabytes keeps every other sync on the disk waiting for as long as it takes, and a
// log that grows in the meantime too (BenchmarkRound: p99.9 beside a round).
const syncBytes = 8 << 20

// writeFile gives b to the file. Now and then it is synced, and the page cache forgets
// it: the pages serve for what comes next.
func (w *Writer) writeFile(b []byte) {
	if _, err := w.file.Write(b); err != nil {
		w.fail(err)
		return
	}
	if w.unsynced += len(b); w.unsynced < syncBytes {
		return
	}
	w.unsynced = 0
	if err := errors.Join(w.file.Sync(), w.file.Evict()); err != nil {
		w.fail(err)
	}
}

// fail makes err, with the path, the error of this and every later call.
func (w *Writer) fail(err error) error {
	if w.err == nil {
		w.err = fmt.Errorf("snapshot: write %s: %w", w.path, err)
	}
	return w.err
}

// summaryOf tells what a file of so many bytes with this footer holds.
func summaryOf(f *footer, fileBytes uint64) Summary {
	return Summary{
		Partitions: int(f.partitions), Blocks: f.blocks, Entries: f.entries,
		DataBytes: f.data, FileBytes: fileBytes,
	}
}

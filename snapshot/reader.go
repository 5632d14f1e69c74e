package snapshot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/fsys"
)

// A Reader reads one whole file. It is safe for concurrent use, so that partitions
// can be loaded in parallel; Close must come last.
type Reader struct {
	file   fsys.File
	path   string
	seed   uint64
	size   uint64
	header []byte
	foot   footer

	partitions []Partition
	index      map[uint32]int // partition -> its place in partitions

	mu      sync.Mutex
	windows [][]byte // not in use by a Load; mu guards it
}

// Open opens the file path, which must be whole and be id. Head, header, directory
// and footer have been verified then; blocks are when they are loaded. The error is
// a [*CorruptError] or a [*ForeignError], or matches [ErrFormat] or os.ErrNotExist.
func Open(fs fsys.FS, path string, id ID) (*Reader, error) {
	f, err := fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("snapshot: open: %w", err)
	}
	r := &Reader{file: f, path: path, seed: seedOf(id)}
	if err := r.open(id); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// open reads everything but the blocks.
func (r *Reader) open(id ID) error {
	size, err := r.file.Size()
	if err != nil {
		return fmt.Errorf("snapshot: %s: %w", r.path, err)
	}
	if size < headBytes+footBytes {
		return r.corrupt(0, fmt.Errorf("%d bytes are less than a head and a footer", size))
	}
	r.size = uint64(size)
	h, err := r.readHead(id)
	if err != nil {
		return err
	}
	if err := r.readFooter(); err != nil {
		return err
	}
	if err := r.readHeader(h); err != nil {
		return err
	}
	return r.readDirectory(headBytes + uint64(h.length))
}

// readHead reads the head, and says what the file is if it is not id.
func (r *Reader) readHead(id ID) (*head, error) {
	var b [headBytes]byte
	if err := r.readAt(b[:], 0); err != nil {
		return nil, err
	}
	var h head
	err := h.parse(b[:])
	switch {
	case errors.Is(err, ErrFormat):
		return nil, fmt.Errorf("snapshot: %s: %w", r.path, err)
	case err != nil:
		return nil, r.corrupt(0, fmt.Errorf("head: %w", err))
	case h.id != id:
		return nil, &ForeignError{Path: r.path, Want: id, Have: h.id}
	}
	return &h, nil
}

// readFooter reads the end of the file.
func (r *Reader) readFooter() error {
	var b [footBytes]byte
	at := r.size - footBytes
	if err := r.readAt(b[:], at); err != nil {
		return err
	}
	if err := r.foot.parse(b[:], r.seed); err != nil {
		return r.corrupt(at, fmt.Errorf("footer: %w", err))
	}
	return nil
}

// readHeader reads the caller's header.
func (r *Reader) readHeader(h *head) error {
	if uint64(h.length) > r.size-headBytes-footBytes {
		return r.corrupt(0, fmt.Errorf("the header of %d bytes does not fit the file", h.length))
	}
	r.header = make([]byte, h.length)
	if err := r.readAt(r.header, headBytes); err != nil {
		return err
	}
	if xxh3.HashSeed(r.header, r.seed) != h.hash {
		return r.corrupt(headBytes, fmt.Errorf("header: %w", errHash))
	}
	return nil
}

// readDirectory reads the directory, whose partitions must fill the file from
// offset begin up to the directory itself.
func (r *Reader) readDirectory(begin uint64) error {
	at, count := r.foot.directory, uint64(r.foot.partitions)
	if count > PartitionsMax || at > r.size || r.size-at != count*itemBytes+footBytes {
		return r.corrupt(r.size-footBytes, errDirectory)
	}
	items := make([]byte, count*itemBytes)
	if err := r.readAt(items, at); err != nil {
		return err
	}
	if xxh3.HashSeed(items, r.seed) != r.foot.hash {
		return r.corrupt(at, fmt.Errorf("directory: %w", errHash))
	}
	r.partitions = make([]Partition, count)
	r.index = make(map[uint32]int, count)
	for i := range r.partitions {
		p := parseItem(items[i*itemBytes:])
		if err := r.checkItem(&p, begin); err != nil {
			return r.corrupt(at+uint64(i)*itemBytes, err)
		}
		r.partitions[i], r.index[p.Partition] = p, i
		begin += p.Bytes
	}
	return r.checkTotals(begin)
}

// checkItem checks that a partition appears once and lies where the one before ends.
func (r *Reader) checkItem(p *Partition, begin uint64) error {
	if _, ok := r.index[p.Partition]; ok {
		return fmt.Errorf("partition %d appears twice in the directory", p.Partition)
	}
	heads := uint64(p.Blocks) * blockBytes
	if p.Offset != begin || begin > r.foot.directory || p.Bytes > r.foot.directory-begin ||
		heads > p.Bytes || p.Entries > p.Bytes-heads {
		return fmt.Errorf("partition %d: %w", p.Partition, errDirectory)
	}
	return nil
}

// checkTotals compares the directory with the footer, and its end with the file.
func (r *Reader) checkTotals(end uint64) error {
	var blocks, entries, bytes uint64
	for i := range r.partitions {
		p := &r.partitions[i]
		blocks += uint64(p.Blocks)
		entries += p.Entries
		bytes += p.Bytes
	}
	f := &r.foot
	if end != f.directory || blocks != f.blocks || entries != f.entries || bytes-blocks*blockBytes != f.data {
		return r.corrupt(r.size-footBytes, errDirectory)
	}
	return nil
}

// Header is the header given to Create. It must not be changed.
func (r *Reader) Header() []byte { return r.header }

// Partitions lists the partitions in the order of the file. It must not be changed.
func (r *Reader) Partitions() []Partition { return r.partitions }

// Partition gives what the file says of one partition; ok is false if that is nothing.
func (r *Reader) Partition(partition uint32) (p Partition, ok bool) {
	i, ok := r.index[partition]
	if !ok {
		return Partition{}, false
	}
	return r.partitions[i], true
}

// Summary says what is in the file.
func (r *Reader) Summary() Summary { return summaryOf(&r.foot, r.size) }

// Load calls fn with every block of a partition, in the order in which they were
// written. Each is verified before fn sees it; the partition as a whole is when
// Load returns nil. Data is valid until fn returns. Load stops at the first error
// and returns that of fn as it is.
func (r *Reader) Load(partition uint32, fn func(table uint16, form uint8, entries uint32, data []byte) error) error {
	p, ok := r.Partition(partition)
	if !ok {
		return fmt.Errorf("snapshot: %s has no partition %d", r.path, partition)
	}
	s := scanner{r: r, at: p.Offset, limit: p.Offset + p.Bytes, window: r.takeWindow()}
	defer func() { r.giveWindow(s.window) }()
	return s.partition(&p, fn)
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// verify reads every block.
func (r *Reader) verify() error {
	s := scanner{r: r, at: headBytes + uint64(len(r.header)), limit: r.foot.directory}
	for i := range r.partitions {
		if err := s.partition(&r.partitions[i], nil); err != nil {
			return err
		}
	}
	return nil
}

// takeWindow gives a buffer that no other Load uses.
func (r *Reader) takeWindow() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := len(r.windows) - 1
	if last < 0 {
		return nil
	}
	w := r.windows[last]
	r.windows = r.windows[:last]
	return w
}

// giveWindow gives it back.
func (r *Reader) giveWindow(w []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.windows = append(r.windows, w)
}

// readAt fills b. Bytes that cannot be read are damage.
func (r *Reader) readAt(b []byte, at uint64) error {
	n, err := r.file.ReadAt(b, int64(at))
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return r.corrupt(at, err)
}

// corrupt says that the part of the file at offset at is wrong.
func (r *Reader) corrupt(at uint64, err error) error {
	return &CorruptError{Path: r.path, Offset: int64(at), Err: err}
}

package wal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/mutant"
)

// A Writer writes one generation, from its header frame on. Append, Room, End, Bytes and
// Segments belong to one goroutine, Sync to one goroutine that may be another; Durable
// and Err are safe for concurrent use. Close must not run beside any of them.
//
// The first error of a write, a sync or anything else that the log depends on sticks:
// every later call returns it, and the file system is left alone.
type Writer struct {
	dir     string
	options Options
	seed    uint64
	// generation does not change.
	generation uint64
	device     device
	tail       tail // belongs to the goroutine that appends
	files      files

	// appended counts frames: Append's store, behind the write and behind what it did
	// to files, publishes to Sync's load.
	appended atomic.Uint64
	// durable counts frames: Sync's store, behind all its syncs, publishes to the
	// loads of Append and Durable.
	durable atomic.Uint64
	// syncs counts syncs that had something to do: Sync's add publishes to Room's load,
	// which needs no more than the number.
	syncs atomic.Uint64
	// failure is the first error: fail's exchange publishes to err's load.
	failure atomic.Pointer[error]
	closed  bool
}

// A tail is the end of the log.
type tail struct {
	end      End
	entries  uint64 // in the generation
	segments uint64 // begun in the generation
	bytes    int64  // in the generation
	size     int64  // of the last segment
	reserved int64  // size up to which the last segment may grow without asking
	full     bool   // the last segment is, and there was no room to begin the next one
	ahead    ahead
}

// files are the descriptors that Sync works with.
type files struct {
	mu     sync.Mutex
	tail   openFile
	sealed []openFile // full ones, to be synced, cut and closed
	open   []openFile // memory of unsynced
	// begun counts segments, listed those whose entry in the directory is durable.
	begun, listed uint64
	parent        bool // the entry of the generation's directory is durable
}

// An openFile is a segment and our descriptor of it, opened before anything was
// written to it, so that it hears of every failed write-back.
type openFile struct {
	fsys.File
	path string
	size int64 // once it is sealed
}

// Create begins generation s.Generation of the log id in the new directory dir and
// writes its header frame. Nothing is durable before the first Sync. It keeps nothing
// of s. When it fails it may leave the directory behind, which is a void generation
// then; a lack of room matches [ErrNoSpace].
func Create(dir string, id ID, s Start, o Options) (*Writer, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	if err := o.FS.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("wal: begin generation %d: %w", s.Generation, err)
	}
	w := &Writer{dir: dir, options: o, seed: id.seed(s.Generation), generation: s.Generation}
	if err := w.start(id, &s); err != nil {
		return nil, errors.Join(fmt.Errorf("wal: begin generation %d: %w", s.Generation, err), w.abandon(err))
	}
	return w, nil
}

// abandon closes a Writer that could not begin.
func (w *Writer) abandon(err error) error {
	w.failure.CompareAndSwap(nil, &err)
	return w.Close()
}

func (w *Writer) start(id ID, s *Start) (err error) {
	if w.device, err = newDevice(w.options.Device, w.options.FS, w.dir, w.options.SegmentBytes); err != nil {
		return err
	}
	if err := w.beginSegment(); err != nil {
		return err
	}
	f := Frame{Bytes: make([]byte, frameRoom, frameRoom+startBytes+len(s.Payload)+trailerBytes)}
	f.Bytes = appendStart(f.Bytes, id, s)
	if err := w.reserve(entryBytes(f.Len())); err != nil {
		return err
	}
	w.tail.end = End{Generation: s.Generation, Chain: s.Previous.Chain}
	f.Time = s.Time
	return w.write(&f, header{time: s.Time, chain: s.Previous.Chain})
}

// Append writes the frame and returns its number. It does not wait for a Sync that is
// under way, but a frame that fills a segment while the one before is not durable yet
// syncs that itself. So whoever appends should see to a Sync when Segments has grown.
// It fills in the header in f and keeps nothing of it: f may be reset at once.
//
// [ErrTooLarge], [ErrFrame], [ErrClosed] and [ErrNoSpace] say that nothing was done; the
// last of them does not come behind a Room that returned nil. After any other error it is
// unknown whether a recovery will find the frame, and the Writer is of no more use.
func (w *Writer) Append(f *Frame) (number uint64, err error) {
	if err := w.usable(); err != nil {
		return 0, err
	}
	if len(f.Bytes) < frameRoom {
		return 0, ErrFrame
	}
	if n := f.Len(); n > w.options.FrameBytesMax {
		return 0, tooLarge(n, w.options.FrameBytesMax)
	}
	if err := w.requireSegment(); err != nil {
		return 0, err
	}
	h := header{
		number:  w.tail.end.Frame + 1,
		time:    f.Time,
		horizon: w.Durable(),
		chain:   w.tail.end.Chain,
		count:   f.Count,
	}
	if mutant.HorizonTooHigh {
		h.horizon++
	}
	if err := w.write(f, h); err != nil {
		return 0, w.fail("append frame", h.number, err)
	}
	return h.number, nil
}

// write gives a frame to the device and begins the next segment if this one is full.
// The frame is written whether there is room for that segment or not: without, the log
// ends with a full one, as it also does after a crash here.
func (w *Writer) write(f *Frame, h header) error {
	e, hash := f.finish(h, w.seed)
	n := int64(len(e.bytes))
	full := w.tail.size+n >= w.options.SegmentBytes
	if full {
		if err := w.list(); err != nil {
			return err
		}
	}
	if err := w.device.append(w.tail.entries+1, e); err != nil && !mutant.IgnoredWriteError {
		return err
	}
	w.tail.entries++
	w.tail.size += n
	w.tail.bytes += n
	w.tail.ahead.frame = n
	w.tail.end.Frame, w.tail.end.Chain = h.number, hash
	if full {
		if err := w.beginSegment(); !errors.Is(err, ErrNoSpace) && err != nil {
			return err
		}
	}
	w.appended.Store(w.tail.entries)
	return nil
}

// requireSegment begins the segment that there was no room for when the one before was
// full. Without room it changes nothing.
func (w *Writer) requireSegment() error {
	if !w.tail.full {
		return nil
	}
	err := w.beginSegment()
	if err == nil || errors.Is(err, ErrNoSpace) {
		return err
	}
	return w.fail("begin the segment of frame", w.tail.end.Frame+1, err)
}

// beginSegment turns to the next segment: it hands the full one to Sync, and opens
// our descriptor of the new one before anything is written to it.
func (w *Writer) beginSegment() error {
	number := w.tail.entries + 1
	err := w.device.begin(number, w.files.hasSealed())
	if w.tail.full = errors.Is(err, ErrNoSpace); err != nil {
		return err
	}
	path := segmentPath(w.dir, number)
	f, err := openEmpty(w.options.FS, path)
	if err != nil { // also want of room, as some disks say: the device writes there from here on
		return fmt.Errorf("open the segment of frame %d: %v", w.tail.end.Frame+1, err) // matches nothing
	}
	w.files.turn(openFile{File: f, path: path}, w.tail.size)
	w.tail.segments++
	w.tail.size, w.tail.reserved, w.tail.ahead.next = 0, 0, 0
	return nil
}

// turn makes f the tail. The tail so far is sealed at size.
func (fs *files) turn(f openFile, size int64) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.tail.File != nil {
		fs.tail.size = size
		fs.sealed = append(fs.sealed, fs.tail)
	}
	fs.tail = f
	fs.begun++
}

// Durable is the highest frame that is known to be durable; 0 also before the first
// Sync.
func (w *Writer) Durable() uint64 { return max(1, w.durable.Load()) - 1 }

// Generation is the number of the generation. It is safe for concurrent use.
func (w *Writer) Generation() uint64 { return w.generation }

// End is the last frame that was appended.
func (w *Writer) End() End { return w.tail.end }

// Segments is how many segments of this generation were begun.
func (w *Writer) Segments() uint64 { return w.tail.segments }

// Bytes is how much was written to the segments of this generation.
func (w *Writer) Bytes() int64 { return w.tail.bytes }

// Err is the error that made the Writer useless, or nil.
func (w *Writer) Err() error {
	if err := w.failure.Load(); err != nil && !mutant.ForgottenFailure {
		return *err
	}
	return nil
}

func (w *Writer) usable() error {
	if w.closed {
		return ErrClosed
	}
	return w.Err()
}

// fail makes err the error of every later call, unless there is one already, and
// returns that error. It does not match ErrNoSpace, which would say that the Writer
// can go on.
func (w *Writer) fail(what string, number uint64, err error) error {
	if errors.Is(err, ErrNoSpace) {
		err = errors.New(err.Error())
	}
	err = fmt.Errorf("wal: %s %d of %s: %w", what, number, w.dir, err)
	w.failure.CompareAndSwap(nil, &err)
	return w.Err()
}

// Close gives the descriptors back. It does not make anything durable: call Sync
// before. A healthy Writer cuts its last segment to its end; after an error nothing is
// done but closing, and the library device leaves one descriptor to the garbage
// collector, because the library syncs when it closes. A second Close does nothing.
func (w *Writer) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	healthy := w.Err() == nil
	var errs []error
	if w.device != nil {
		errs = append(errs, w.device.close(healthy))
	}
	w.files.tail.size = w.tail.size
	for _, f := range append(w.files.sealed, w.files.tail) {
		if f.File == nil {
			continue
		}
		if healthy {
			errs = append(errs, f.cut())
		}
		errs = append(errs, f.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("wal: close %s: %w", w.dir, err)
	}
	return nil
}

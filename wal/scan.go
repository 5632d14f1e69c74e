package wal

import (
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/mutant"
)

// ScanOptions say how a generation is judged.
type ScanOptions struct {
	// Seal is where the generation was sealed, nil if it was not. The log must reach
	// exactly that frame. What lies behind it was judged before: it is counted, not
	// read.
	Seal *End
	// FrameBytesMax bounds the body that memory is taken for; 0: FrameBytesLimit. A
	// larger frame is refused with an error that matches ErrTooLarge.
	FrameBytesMax int
}

// A FrameView is a frame that has passed every check.
type FrameView struct {
	Number  uint64
	Time    int64  // Unix nanoseconds
	Horizon uint64 // durable up to here when this frame was written; 0 says nothing
	Chain   uint64 // the hash of this frame, as in End
	Count   uint32
	Body    []byte // borrowed: valid until the callback returns
	Start   *Start // what the header frame says; nil in all others
}

// A ScanResult says what a generation holds.
type ScanResult struct {
	// Void says that there is no header frame, and so nothing at all: a crash came
	// before the generation was durable. Only the torn counts are set then.
	Void    bool
	Start   *Start
	End     End    // the last frame
	Horizon uint64 // the highest one in any frame
	Frames  uint64 // header frame included
	Events  uint64
	Bytes   int64 // of the frames, with their lengths

	TornBytes    int64  // dropped as a tear, up to the last byte that is not zero
	TornFrames   int    // headers that are whole among them
	TornPath     string // of the segment that the tear is in, if there is one
	TornOffset   int64  // where it begins there
	SurplusBytes int64  // behind the seal
}

// Scan reads generation of the log id in dir, checks every byte, and calls fn for
// each frame in order, the header frame first; fn may be nil. Frames are handed out
// before the end of the log has been judged: when Scan fails, the caller must discard
// what it made of them.
//
// It returns a *CorruptError for damage, an error matching [ErrFormat] for a log of
// another version, an error matching os.ErrNotExist if dir does not exist, and the
// error of fn as it is. It takes memory for one frame, and changes nothing on disk.
func Scan(fs fsys.FS, dir string, id ID, generation uint64, o ScanOptions, fn func(FrameView) error) (ScanResult, error) {
	if o.Seal != nil && o.Seal.Generation != generation {
		return ScanResult{}, fmt.Errorf("wal: scan of generation %d with the seal of generation %d", generation, o.Seal.Generation)
	}
	if o.FrameBytesMax <= 0 || o.FrameBytesMax > FrameBytesLimit {
		o.FrameBytesMax = FrameBytesLimit
	}
	segments, err := listSegments(fs, dir)
	if err != nil {
		return ScanResult{}, err
	}
	s := scanner{fs: fs, dir: dir, id: id, generation: generation, seed: id.seed(generation), options: o, fn: fn}
	if err := s.run(segments); err != nil {
		return ScanResult{}, err
	}
	return s.result, nil
}

type scanner struct {
	fs         fsys.FS
	dir        string
	id         ID
	generation uint64
	seed       uint64
	options    ScanOptions
	fn         func(FrameView) error

	window window
	next   uint64 // number of the next frame
	done   bool   // the seal was reached
	result ScanResult
}

func (s *scanner) run(segments []segment) error {
	s.result.End.Generation = s.generation
	for i, segment := range segments {
		off, err := s.segment(segment)
		if bad, ok := err.(badFrame); ok {
			if err = s.judge(segments[i:], off, bad.err); err == nil {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	if s.options.Seal != nil && !s.done && !mutant.SealNotChecked {
		err := &CorruptError{
			Path: s.dir, Sequence: s.next,
			Err: fmt.Errorf("the log ends here, but it was sealed at frame %d", s.options.Seal.Frame),
		}
		if len(segments) > 0 {
			err.Path, err.Offset = s.window.path, s.window.size
		}
		return err
	}
	if s.next == 0 {
		s.result = ScanResult{
			Void: true, TornBytes: s.result.TornBytes, TornFrames: s.result.TornFrames,
			TornPath: s.result.TornPath, TornOffset: s.result.TornOffset,
		}
	}
	return nil
}

// segment reads the frames of a segment, and returns where it stopped. A badFrame may turn
// out to be a tear.
func (s *scanner) segment(segment segment) (off int64, err error) {
	if !s.done && segment.number != s.next+1 {
		return 0, badFrame{fmt.Errorf("it begins with frame %d, but frame %d comes next: a segment is missing, or short", segment.number-1, s.next)}
	}
	err = s.within(segment, func() error {
		for off < s.window.size && !s.done {
			n, err := s.frame(off)
			if err != nil {
				return err
			}
			off += n
			s.result.Bytes += n
		}
		s.result.SurplusBytes += s.window.size - off
		return nil
	})
	return off, err
}

// within calls fn while the window is that of a segment.
func (s *scanner) within(segment segment, fn func() error) error {
	if err := s.window.open(s.fs, segment.path); err != nil {
		return fmt.Errorf("wal: open a segment: %w", err)
	}
	err := fn()
	if closeErr := s.window.file.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("wal: close a segment: %w", closeErr)
	}
	return err
}

// A badFrame is an error that may turn out to be a tear.
type badFrame struct{ err error }

func (e badFrame) Error() string { return e.err.Error() }

// frame reads the entry at off, hands its frame out, and returns its length.
func (s *scanner) frame(off int64) (int64, error) {
	prefix, length, err := s.prefix(off)
	if mutant.EmptyEntryAccepted && err == error(badFrame{errPrefix}) {
		s.next++
		return 1, nil
	}
	if err != nil {
		return 0, err
	}
	h, headerHash, err := s.header(off+int64(prefix), length)
	if err != nil {
		return 0, err
	}
	b, err := s.window.at(off+int64(prefix), length)
	if err != nil {
		return 0, err
	}
	body := b[headerBytes : length-trailerBytes]
	hash := frameHash(body, headerHash)
	if hash != readTrailer(b) && !mutant.ChecksumNotChecked {
		return 0, badFrame{errFrameHash}
	}
	if err := s.accept(h, hash, body, off); err != nil {
		return 0, err
	}
	return int64(prefix + length), nil
}

// accept checks how a whole frame fits in, takes it over and hands it out.
func (s *scanner) accept(h header, hash uint64, body []byte, off int64) error {
	view := FrameView{Number: h.number, Time: h.time, Horizon: h.horizon, Chain: hash, Count: h.count, Body: body}
	if s.next == 0 {
		start, err := readStart(body, s.id, s.generation, &h)
		if err != nil {
			return s.corrupt(off, err)
		}
		s.result.Start, view.Start, view.Body = start, start, start.Payload
	} else if h.chain != s.result.End.Chain && !mutant.ChainNotChecked {
		return badFrame{errChain}
	}
	if seal := s.options.Seal; seal != nil && seal.Frame == h.number {
		if seal.Chain != hash {
			return s.corrupt(off, errors.New("the generation was sealed at another frame of this number"))
		}
		s.done = true
	}
	s.next++
	s.result.Frames++
	s.result.Events += uint64(h.count)
	s.result.Horizon = max(s.result.Horizon, h.horizon)
	s.result.End.Frame, s.result.End.Chain = h.number, hash
	if s.fn == nil {
		return nil
	}
	return s.fn(view)
}

func (s *scanner) corrupt(off int64, err error) error {
	return &CorruptError{Path: s.window.path, Offset: off, Sequence: s.next, Err: err}
}

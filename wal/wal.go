package wal

import (
	"fmt"
	"math"

	"github.com/keyfold/keyfold/internal/fsys"
)

// An ID says whose log it is. With the number of the generation it seeds every hash,
// so that no frame of one log passes for one of another.
type ID struct {
	Store         [16]byte
	Layout, Shard uint32
}

// An End names the last frame of a generation. The zero End is that of no generation.
type End struct {
	Generation uint64
	Frame      uint64 // its number
	Chain      uint64 // its frame hash, which stands for all frames up to it
}

// A Start is what the header frame of a generation says.
type Start struct {
	Generation uint64 // 1 or more, and never used before
	Previous   End    // seals the generation before
	Time       int64  // Unix nanoseconds
	Payload    []byte // opaque; at most PayloadBytesMax
}

// Options say how a log is written. The zero Options are useful.
type Options struct {
	FS     fsys.FS    // nil: that of the operating system
	Device DeviceKind // what writes the segments
	// SegmentBytes is the size at which a segment is full; 0: 4 MiB. A segment may be
	// larger by one frame.
	SegmentBytes int64
	// FrameBytesMax bounds the body of a frame; 0: 16 MiB, at most FrameBytesLimit.
	FrameBytesMax int
}

const (
	segmentBytesDefault  = 4 << 20
	segmentBytesMax      = 1 << 30
	frameBytesMaxDefault = 16 << 20
)

// withDefaults checks the options and returns them with every field set.
func (o Options) withDefaults() (Options, error) {
	if o.FS == nil {
		o.FS = fsys.OS()
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = segmentBytesDefault
	}
	if o.FrameBytesMax == 0 {
		o.FrameBytesMax = frameBytesMaxDefault
	}
	if o.SegmentBytes < 1 || o.SegmentBytes > segmentBytesMax {
		return o, fmt.Errorf("wal: SegmentBytes is %d, must be 1 to %d", o.SegmentBytes, segmentBytesMax)
	}
	if o.FrameBytesMax < 1 || o.FrameBytesMax > FrameBytesLimit {
		return o, fmt.Errorf("wal: FrameBytesMax is %d, must be 1 to %d", o.FrameBytesMax, FrameBytesLimit)
	}
	return o, nil
}

// check says what is wrong with s.
func (s *Start) check() error {
	if s.Generation == 0 || s.Generation == math.MaxUint64 {
		return fmt.Errorf("wal: generation %d: the number must be 1 to 2^64-2", s.Generation)
	}
	if s.Previous.Generation >= s.Generation {
		return fmt.Errorf("wal: generation %d cannot seal generation %d", s.Generation, s.Previous.Generation)
	}
	if len(s.Payload) > PayloadBytesMax {
		return fmt.Errorf("wal: payload of the header frame: %w", tooLarge(len(s.Payload), PayloadBytesMax))
	}
	return nil
}

package wal

import (
	"encoding/binary"
	"errors"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/mutant"
)

// Format is the version of the log's format that this package writes and reads.
const Format = 1

// The frame, in the order of the table in the package comment.
const (
	magic = 0x6c77464b // "KFwl"

	offMagic    = 0
	offFormat   = 4
	offReserved = 6
	offNumber   = 8
	offTime     = 16
	offHorizon  = 24
	offChain    = 32
	offCount    = 40
	offLength   = 44
	offHash     = 48
	headerBytes = 56

	trailerBytes  = 8
	frameBytesMin = headerBytes + trailerBytes
)

// The body of the header frame.
const (
	offStore         = 0
	offLayout        = 16
	offShard         = 20
	offGeneration    = 24
	offPrevious      = 32
	offPreviousFrame = 40
	offPreviousChain = 48
	offPayloadLength = 56
	offStartReserved = 60
	startBytes       = 64
)

// Limits of the format.
const (
	// FrameBytesLimit bounds [Options].FrameBytesMax, the body of one frame.
	FrameBytesLimit = 256 << 20
	// PayloadBytesMax bounds Start.Payload.
	PayloadBytesMax = 16 << 20

	prefixBytesMax = 5 // uvarint of a frame of FrameBytesLimit
	seedOfSeeds    = 0x6b6579666f6c6431
)

// Why a frame is bad. errReserved is never a tear: its header hash is right.
var (
	errMagic      = errors.New("no frame begins here")
	errHeaderHash = errors.New("the header does not match its hash")
	errReserved   = errors.New("reserved bytes of the header are not zero")
	errFrameHash  = errors.New("the body does not match its hash")
	errPrefix     = errors.New("the length in front of the frame is not that of the frame")
	errShort      = errors.New("the file ends within the frame")
	errNumber     = errors.New("another frame lies in its place")
	errChain      = errors.New("it does not follow the frame before it")
	errStart      = errors.New("the header frame does not say what it should")
)

// seed is the seed of all header hashes of a generation.
func (id ID) seed(generation uint64) uint64 {
	var b [offPrevious]byte
	id.put(b[:], generation)
	return xxh3.HashSeed(b[:], seedOfSeeds)
}

func (id ID) put(b []byte, generation uint64) {
	copy(b[offStore:], id.Store[:])
	binary.LittleEndian.PutUint32(b[offLayout:], id.Layout)
	binary.LittleEndian.PutUint32(b[offShard:], id.Shard)
	binary.LittleEndian.PutUint64(b[offGeneration:], generation)
}

// identity reads what ID.put wrote.
func identity(b []byte) (id ID, generation uint64) {
	copy(id.Store[:], b[offStore:])
	id.Layout = binary.LittleEndian.Uint32(b[offLayout:])
	id.Shard = binary.LittleEndian.Uint32(b[offShard:])
	return id, binary.LittleEndian.Uint64(b[offGeneration:])
}

// header is a frame header without what is the same in all of them.
type header struct {
	number  uint64
	time    int64
	horizon uint64
	chain   uint64
	count   uint32
	length  uint32
}

// put writes the header to the first headerBytes of b and returns its hash.
func (h *header) put(b []byte, seed uint64) uint64 {
	b = b[:headerBytes]
	binary.LittleEndian.PutUint32(b[offMagic:], magic)
	binary.LittleEndian.PutUint16(b[offFormat:], Format)
	binary.LittleEndian.PutUint16(b[offReserved:], 0)
	binary.LittleEndian.PutUint64(b[offNumber:], h.number)
	binary.LittleEndian.PutUint64(b[offTime:], uint64(h.time))
	binary.LittleEndian.PutUint64(b[offHorizon:], h.horizon)
	binary.LittleEndian.PutUint64(b[offChain:], h.chain)
	binary.LittleEndian.PutUint32(b[offCount:], h.count)
	binary.LittleEndian.PutUint32(b[offLength:], h.length)
	hash := xxh3.HashSeed(b[:offHash], seed)
	binary.LittleEndian.PutUint64(b[offHash:], hash)
	return hash
}

// readHeader reads and checks the header in the first headerBytes of b. When the
// error is errReserved or matches ErrFormat the hash was right all the same.
func readHeader(b []byte, seed uint64) (h header, hash uint64, err error) {
	b = b[:headerBytes]
	if binary.LittleEndian.Uint32(b[offMagic:]) != magic {
		return h, 0, errMagic
	}
	hash = binary.LittleEndian.Uint64(b[offHash:])
	if xxh3.HashSeed(b[:offHash], seed) != hash && !mutant.HeaderNotChecked {
		return h, 0, errHeaderHash
	}
	if f := binary.LittleEndian.Uint16(b[offFormat:]); f != Format {
		return h, 0, formatError(f)
	}
	if binary.LittleEndian.Uint16(b[offReserved:]) != 0 {
		return h, 0, errReserved
	}
	h.number = binary.LittleEndian.Uint64(b[offNumber:])
	h.time = int64(binary.LittleEndian.Uint64(b[offTime:]))
	h.horizon = binary.LittleEndian.Uint64(b[offHorizon:])
	h.chain = binary.LittleEndian.Uint64(b[offChain:])
	h.count = binary.LittleEndian.Uint32(b[offCount:])
	h.length = binary.LittleEndian.Uint32(b[offLength:])
	return h, hash, nil
}

// appendStart appends the body of the header frame to b.
func appendStart(b []byte, id ID, s *Start) []byte {
	var fixed [startBytes]byte
	id.put(fixed[:], s.Generation)
	binary.LittleEndian.PutUint64(fixed[offPrevious:], s.Previous.Generation)
	binary.LittleEndian.PutUint64(fixed[offPreviousFrame:], s.Previous.Frame)
	binary.LittleEndian.PutUint64(fixed[offPreviousChain:], s.Previous.Chain)
	binary.LittleEndian.PutUint32(fixed[offPayloadLength:], uint32(len(s.Payload)))
	return append(append(b, fixed[:]...), s.Payload...)
}

// readStart reads the body of the header frame of a generation. The payload is a
// copy.
func readStart(b []byte, id ID, generation uint64, h *header) (*Start, error) {
	if len(b) < startBytes {
		return nil, errStart
	}
	gotID, gotGeneration := identity(b)
	s := &Start{
		Generation: gotGeneration,
		Previous: End{
			Generation: binary.LittleEndian.Uint64(b[offPrevious:]),
			Frame:      binary.LittleEndian.Uint64(b[offPreviousFrame:]),
			Chain:      binary.LittleEndian.Uint64(b[offPreviousChain:]),
		},
		Time: h.time,
	}
	length := binary.LittleEndian.Uint32(b[offPayloadLength:])
	reserved := binary.LittleEndian.Uint32(b[offStartReserved:])
	if gotID != id || gotGeneration != generation || s.Previous.Chain != h.chain ||
		h.count != 0 || reserved != 0 || uint64(length) != uint64(len(b)-startBytes) {
		return nil, errStart
	}
	s.Payload = append([]byte(nil), b[startBytes:]...)
	return s, nil
}

// frameHash is the hash that ends a frame, and that the next one is chained to.
func frameHash(body []byte, headerHash uint64) uint64 {
	return xxh3.HashSeed(body, headerHash)
}

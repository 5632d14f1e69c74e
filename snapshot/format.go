package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"
)

// Version is the format that Create writes, and the newest that Open reads.
const Version = 1

// Limits of a file. What exceeds them is refused by Create and Open alike.
const (
	HeaderBytesMax = 1 << 20 // the caller's header
	BlockBytesMax  = 4 << 20 // data of one block in the file
	DataBytesMax   = 1 << 30 // data that is given to Block at once
	PartitionsMax  = 1 << 20 // in one file
)

const (
	headMagic    = "kfsnap\r\n"
	headVersion  = 8
	headReserved = 10
	headLength   = 12
	headID       = 16
	headBodyHash = 48
	headHash     = 56
	headBytes    = 64
)

const (
	blockMagic     = "kfbk"
	blockCodec     = 4
	blockForm      = 5
	blockTable     = 6
	blockPartition = 8
	blockEntries   = 12
	blockLength    = 16
	blockMore      = 20
	blockOffset    = 24
	blockDataHash  = 32
	blockHash      = 40
	blockBytes     = 48
)

const (
	itemBlocks   = 4
	itemSequence = 8
	itemEpoch    = 16
	itemOffset   = 24
	itemLength   = 32
	itemEntries  = 40
	itemBytes    = 48
)

const (
	footMagic         = "kfsnend\n"
	footDirectory     = 8
	footPartitions    = 16
	footReserved      = 20
	footBlocks        = 24
	footEntries       = 32
	footData          = 40
	footDirectoryHash = 48
	footHash          = 56
	footBytes         = 64
)

var le = binary.LittleEndian

var (
	errMagic     = errors.New("it does not begin with its magic bytes")
	errHash      = errors.New("its hash is wrong")
	errReserved  = errors.New("a reserved byte is not 0")
	errCodec     = errors.New("its codec is not known")
	errNoFooter  = errors.New("there is no footer: the file was cut or never finished")
	errPieces    = errors.New("it does not go on with what the block before it has begun")
	errDirectory = errors.New("the directory does not fit the file")
)

// appendID appends the bytes of id as they are in the head.
func appendID(dst []byte, id ID) []byte {
	dst = append(dst, id.Store[:]...)
	dst = le.AppendUint32(dst, id.Layout)
	dst = le.AppendUint32(dst, id.Shard)
	return le.AppendUint64(dst, id.Number)
}

// seedOf gives the seed of every hash in a file.
func seedOf(id ID) uint64 { return xxh3.Hash(appendID(make([]byte, 0, 32), id)) }

// seal puts the hash of all of b but its last 8 bytes there.
func seal(b []byte, seed uint64) {
	at := len(b) - 8
	le.PutUint64(b[at:], xxh3.HashSeed(b[:at], seed))
}

// isSealed says whether seal would change nothing.
func isSealed(b []byte, seed uint64) bool {
	at := len(b) - 8
	return le.Uint64(b[at:]) == xxh3.HashSeed(b[:at], seed)
}

// head is the fixed part at the beginning of a file.
type head struct {
	id     ID
	length uint32
	hash   uint64 // of the header
}

func (h *head) put(b []byte) {
	clear(b)
	copy(b, headMagic)
	le.PutUint16(b[headVersion:], Version)
	le.PutUint32(b[headLength:], h.length)
	appendID(b[:headID], h.id)
	le.PutUint64(b[headBodyHash:], h.hash)
	seal(b, seedOf(h.id))
}

// parse reads a head of any store. The version is judged first: in a newer format
// everything behind it may mean something else.
func (h *head) parse(b []byte) error {
	if string(b[:headVersion]) != headMagic {
		return errMagic
	}
	copy(h.id.Store[:], b[headID:])
	h.id.Layout = le.Uint32(b[headID+16:])
	h.id.Shard = le.Uint32(b[headID+20:])
	h.id.Number = le.Uint64(b[headID+24:])
	h.length = le.Uint32(b[headLength:])
	h.hash = le.Uint64(b[headBodyHash:])
	if !isSealed(b, seedOf(h.id)) {
		return errHash
	}
	switch v := le.Uint16(b[headVersion:]); {
	case v > Version:
		return fmt.Errorf("%w: version %d, and this program knows %d", ErrFormat, v, Version)
	case v == 0 || le.Uint16(b[headReserved:]) != 0:
		return errReserved
	case h.length > HeaderBytesMax:
		return fmt.Errorf("the header has %d bytes, more than %d", h.length, HeaderBytesMax)
	}
	return nil
}

// block is the head of a block.
type block struct {
	partition, entries, length uint32
	table                      uint16
	form                       uint8
	more                       bool // the data goes on in the next block
	offset, hash               uint64
}

func (k *block) put(b []byte, seed uint64) {
	clear(b)
	copy(b, blockMagic)
	b[blockForm] = k.form
	le.PutUint16(b[blockTable:], k.table)
	le.PutUint32(b[blockPartition:], k.partition)
	le.PutUint32(b[blockEntries:], k.entries)
	le.PutUint32(b[blockLength:], k.length)
	if k.more {
		b[blockMore] = 1
	}
	le.PutUint64(b[blockOffset:], k.offset)
	le.PutUint64(b[blockDataHash:], k.hash)
	seal(b, seed)
}

func (k *block) parse(b []byte, seed uint64) error {
	switch {
	case string(b[:blockCodec]) != blockMagic:
		return errMagic
	case !isSealed(b, seed):
		return errHash
	case b[blockCodec] != 0:
		return errCodec
	case le.Uint32(b[blockMore:]) > 1:
		return errReserved
	}
	k.table, k.form, k.more = le.Uint16(b[blockTable:]), b[blockForm], b[blockMore] == 1
	k.partition = le.Uint32(b[blockPartition:])
	k.entries = le.Uint32(b[blockEntries:])
	k.length = le.Uint32(b[blockLength:])
	k.offset = le.Uint64(b[blockOffset:])
	k.hash = le.Uint64(b[blockDataHash:])
	return nil
}

// appendItem appends the directory's item for p.
func appendItem(dst []byte, p *Partition) []byte {
	dst = le.AppendUint32(dst, p.Partition)
	dst = le.AppendUint32(dst, p.Blocks)
	dst = le.AppendUint64(dst, p.Sequence)
	dst = le.AppendUint64(dst, p.Epoch)
	dst = le.AppendUint64(dst, p.Offset)
	dst = le.AppendUint64(dst, p.Bytes)
	return le.AppendUint64(dst, p.Entries)
}

// parseItem reads what appendItem appends.
func parseItem(b []byte) Partition {
	return Partition{
		Partition: le.Uint32(b),
		Blocks:    le.Uint32(b[itemBlocks:]),
		Sequence:  le.Uint64(b[itemSequence:]),
		Epoch:     le.Uint64(b[itemEpoch:]),
		Offset:    le.Uint64(b[itemOffset:]),
		Bytes:     le.Uint64(b[itemLength:]),
		Entries:   le.Uint64(b[itemEntries:]),
	}
}

// footer is the end of a file.
type footer struct {
	directory             uint64
	partitions            uint32
	blocks, entries, data uint64
	hash                  uint64 // of the directory
}

func (f *footer) put(b []byte, seed uint64) {
	clear(b)
	copy(b, footMagic)
	le.PutUint64(b[footDirectory:], f.directory)
	le.PutUint32(b[footPartitions:], f.partitions)
	le.PutUint64(b[footBlocks:], f.blocks)
	le.PutUint64(b[footEntries:], f.entries)
	le.PutUint64(b[footData:], f.data)
	le.PutUint64(b[footDirectoryHash:], f.hash)
	seal(b, seed)
}

func (f *footer) parse(b []byte, seed uint64) error {
	switch {
	case string(b[:footDirectory]) != footMagic:
		return errNoFooter
	case !isSealed(b, seed):
		return errHash
	case le.Uint32(b[footReserved:]) != 0:
		return errReserved
	}
	f.directory = le.Uint64(b[footDirectory:])
	f.partitions = le.Uint32(b[footPartitions:])
	f.blocks = le.Uint64(b[footBlocks:])
	f.entries = le.Uint64(b[footEntries:])
	f.data = le.Uint64(b[footData:])
	f.hash = le.Uint64(b[footDirectoryHash:])
	return nil
}

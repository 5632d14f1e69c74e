package shard

import (
	"encoding/binary"
)

// An Ack says how far an event must have come before its caller is told.
type Ack uint8

// The levels, weakest first.
const (
	Applied Ack = iota // in memory
	Written            // given to the operating system
	Durable            // synced
)

// A Kind says what an operation does.
type Kind uint8

// The kinds of operation.
const (
	KindEvent Kind = iota
	KindRead
)

// Sizes of a block, in bytes. The layout is in the package comment.
const (
	BlockHeaderBytes = 16
	opHeaderBytes    = 16
	// EventBytesMax and KeyBytesMax are what the fields of an operation can say.
	EventBytesMax = 1<<24 - 1
	KeyBytesMax   = 1<<16 - 1
)

// OpBytes is the room that an operation takes in a block.
func OpBytes(key, event int) int { return opHeaderBytes + (key+event+7)&^7 }

// BeginOp appends the header of an operation, to be filled by EndOp. The key and the
// event are then appended behind it.
func BeginOp(dst []byte) []byte { return append(dst, make([]byte, opHeaderBytes)...) }

// OpKey is where the key of an operation lies that was begun at offset at of block.
func OpKey(block []byte, at int) []byte { return block[at+opHeaderBytes:] }

// EndOp fills the header of the operation that was begun at offset at, and pads the
// block to whole words.
func EndOp(block []byte, at int, hash uint64, table uint16, kind Kind, keyBytes int) []byte {
	event := len(block) - at - opHeaderBytes - keyBytes
	word := uint64(table) | uint64(keyBytes)<<16 | uint64(event)<<32 | uint64(kind)<<56
	binary.LittleEndian.PutUint64(block[at:], hash)
	binary.LittleEndian.PutUint64(block[at+8:], word)
	for len(block)&7 != 0 {
		block = append(block, 0)
	}
	return block
}

// PutBlockHeader fills the first BlockHeaderBytes of a block.
func PutBlockHeader(dst []byte, to Address, count int, ack Ack) {
	binary.LittleEndian.PutUint32(dst[0:], to.slot)
	binary.LittleEndian.PutUint32(dst[4:], to.use)
	binary.LittleEndian.PutUint32(dst[8:], uint32(count))
	binary.LittleEndian.PutUint32(dst[12:], uint32(ack))
}

// A cursor walks through the operations of one block.
type cursor struct {
	rest  []byte
	to    Address
	ack   Ack
	count int // operations in the block
	next  int // of them already taken
}

// newCursor reads the header of block.
func newCursor(block []byte) cursor {
	return cursor{
		rest: block[BlockHeaderBytes:],
		to: Address{
			slot: binary.LittleEndian.Uint32(block[0:]),
			use:  binary.LittleEndian.Uint32(block[4:]),
		},
		count: int(binary.LittleEndian.Uint32(block[8:])),
		ack:   Ack(block[12]),
	}
}

// more says whether operations are left.
func (c *cursor) more() bool { return c.next < c.count }

// take reads the next operation. Its record is borrowed from the block.
func (c *cursor) take(op *operation) (hash uint64, table uint16) {
	word := binary.LittleEndian.Uint64(c.rest[8:])
	keyBytes, eventBytes := int(word>>16&0xffff), int(word>>32&0xffffff)
	end := opHeaderBytes + keyBytes + eventBytes
	hash = binary.LittleEndian.Uint64(c.rest)
	op.record = c.rest[opHeaderBytes-recordHeaderBytes : end : end]
	op.keyEnd = int32(recordHeaderBytes + keyBytes)
	op.kind = Kind(word >> 56)
	op.index = int32(c.next)
	c.rest = c.rest[(end+7)&^7:]
	c.next++
	op.last = c.next == c.count
	return hash, uint16(word)
}

// EachOp walks through the operations of a block and hands out each with its hash.
// The slices are borrowed.
func EachOp(block []byte, yield func(hash uint64, op []byte)) {
	for rest := block[BlockHeaderBytes:]; len(rest) > 0; {
		word := binary.LittleEndian.Uint64(rest[8:])
		n := OpBytes(int(word>>16&0xffff), int(word>>32&0xffffff))
		yield(binary.LittleEndian.Uint64(rest), rest[:n])
		rest = rest[n:]
	}
}

// OpParts are the key and the event of an operation. The slices are borrowed.
func OpParts(op []byte) (key, event []byte) {
	word := binary.LittleEndian.Uint64(op[8:])
	keyEnd := opHeaderBytes + int(word>>16&0xffff)
	return op[opHeaderBytes:keyEnd], op[keyEnd : keyEnd+int(word>>32&0xffffff)]
}

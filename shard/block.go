package shard

import (
	"encoding/binary"
	"slices"
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
	// KindSkipped is what the program makes of an event that was done before: it is
	// told like one that was done now, and not logged again.
	KindSkipped
	KindFiring // made by the shard itself
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

// AppendOp appends an operation of kind with its key, and returns the room for its
// event of eventBytes, to be filled. The key may lie where it will be.
func AppendOp(block []byte, hash uint64, table uint16, kind Kind, key []byte, eventBytes int) (longer, event []byte) {
	at, n := len(block), OpBytes(len(key), eventBytes)
	block = slices.Grow(block, n)[:at+n]
	op := block[at:]
	binary.LittleEndian.PutUint64(op, hash)
	binary.LittleEndian.PutUint64(op[8:], opWord(table, kind, len(key), eventBytes))
	copy(op[opHeaderBytes:], key)
	event = op[opHeaderBytes+len(key):]
	clear(event[eventBytes:])
	return block, event[:eventBytes]
}

// An OpForm is the form of events of one table whose keys and payloads have fixed sizes.
type OpForm struct {
	word               uint64
	key, event, length int
}

// NewOpForm returns the form of events of a table.
func NewOpForm(table uint16, key, event int) OpForm {
	return OpForm{word: opWord(table, KindEvent, key, event), key: key, event: event, length: OpBytes(key, event)}
}

// Bytes is the room that an operation of this form takes in a block.
func (f *OpForm) Bytes() int { return f.length }

// Put fills op, which has Bytes bytes, with an operation.
func (f *OpForm) Put(op []byte, hash uint64, key, event []byte) {
	op = op[:f.length]
	binary.LittleEndian.PutUint64(op[len(op)-8:], 0) // the end may be padding
	binary.LittleEndian.PutUint64(op, hash)
	binary.LittleEndian.PutUint64(op[8:], f.word)
	copy(op[opHeaderBytes:], key[:f.key])
	copy(op[opHeaderBytes+f.key:], event[:f.event])
}

// BeginOp appends an operation whose event is of a size that is not known yet. The
// event is then appended behind it, and EndOp called. The key may lie where it will be.
func BeginOp(block []byte, hash uint64, table uint16, kind Kind, key []byte) []byte {
	block = binary.LittleEndian.AppendUint64(block, hash)
	block = binary.LittleEndian.AppendUint64(block, opWord(table, kind, len(key), 0))
	return append(block, key...)
}

// EndOp completes the operation that was begun at offset at, and pads the block to
// whole words. It returns the size of the event.
func EndOp(block []byte, at int) (longer []byte, eventBytes int) {
	word := binary.LittleEndian.Uint64(block[at+8:])
	eventBytes = len(block) - at - opHeaderBytes - int(word>>16&0xffff)
	binary.LittleEndian.PutUint64(block[at+8:], word|uint64(eventBytes)<<32)
	var padding [7]byte
	return append(block, padding[:-len(block)&7]...), eventBytes
}

// opWord is the second word of an operation.
func opWord(table uint16, kind Kind, keyBytes, eventBytes int) uint64 {
	return uint64(table) | uint64(keyBytes)<<16 | uint64(eventBytes)<<32 | uint64(kind)<<56
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
	rows  *Rows // instead of a block; nil: it is one
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

// read reads the operation at the start of rest, whose record it borrows, and returns
// how many bytes it takes there.
func (op *Operation) read(rest []byte) int {
	word := binary.LittleEndian.Uint64(rest[8:])
	keyEnd := opHeaderBytes + int(word>>16&0xffff)
	end := keyEnd + int(word>>32&0xffffff)
	op.Hash = binary.LittleEndian.Uint64(rest)
	op.Record = rest[opHeaderBytes-recordHeaderBytes : end : end]
	op.keyEnd = int32(keyEnd - (opHeaderBytes - recordHeaderBytes))
	op.Table, op.Stamp, op.Kind = uint16(word)&tableMask, Stamp(word>>stampShift)&stampMask, Kind(word>>56)
	return (end + 7) &^ 7
}

// appendOp appends the operation as a block holds it.
func appendOp(block []byte, op *Operation) []byte {
	block = binary.LittleEndian.AppendUint64(block, op.Hash)
	block = append(block, op.Record...)
	var padding [7]byte
	return append(block, padding[:-len(op.Record)&7]...)
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

// FirstOps is the beginning of a block that holds at least one operation: a block of the
// first ones, as many as make it at least so large, with how many they are.
func FirstOps(block []byte, bytes int) (first []byte, count int) {
	end := BlockHeaderBytes
	for end < bytes && end < len(block) {
		word := binary.LittleEndian.Uint64(block[end+8:])
		end += OpBytes(int(word>>16&0xffff), int(word>>32&0xffffff))
		count++
	}
	return block[:end], count
}

// OpParts are the key and the event of an operation, without its stamp. The slices are
// borrowed.
func OpParts(op []byte) (key, event []byte) {
	word := binary.LittleEndian.Uint64(op[8:])
	keyEnd := opHeaderBytes + int(word>>16&0xffff)
	stamp := Stamp(word>>stampShift) & stampMask
	return op[opHeaderBytes:keyEnd], op[keyEnd+stamp.bytes() : keyEnd+int(word>>32&0xffffff)]
}

package engine

import (
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A binding is a table while it belongs to an open engine.
type binding[K comparable, S, E, R any] struct {
	table  *Table[K, S, E, R]
	engine *Engine
	id     uint16
	key    codec[K]
	state  codec[S]
	event  codec[E]

	calls   shard.FreeList // of *call[K, S, E, R]
	lookups shard.FreeList // of *lookup[K, S]
}

// An attachment is a binding of whatever types.
type attachment interface {
	shard.Table
	ready()
}

// ready opens the table to calls.
func (b *binding[K, S, E, R]) ready() { b.table.open.Store(b) }

// Bind makes the part of the table that one shard uses.
func (b *binding[K, S, E, R]) Bind() shard.Program {
	p := &program[K, S, E, R]{binding: b}
	p.context.keys = &b.key
	return p
}

// cellBytes is the size of what the slab holds for a key.
func (b *binding[K, S, E, R]) cellBytes() int {
	if b.state.pointerFree {
		var s S
		return int(unsafe.Sizeof(s))
	}
	return int(unsafe.Sizeof(cell(0)))
}

// appendOp appends an operation to a block. It runs the user's codecs, so it must be
// over before room in an inbox is claimed.
func appendOp[K comparable, S, E, R any](b *binding[K, S, E, R], block []byte, kind shard.Kind, k *K, e *E) ([]byte, uint64, error) {
	at := len(block)
	block, err := b.key.appendValue(shard.BeginOp(block), k)
	if err != nil {
		return block[:at], 0, encodeError(b.table.spec.Name, "key", err)
	}
	keyBytes := len(shard.OpKey(block, at))
	hash := b.engine.routing.Hash(shard.OpKey(block, at), b.engine.routing.Seed)
	if kind == shard.KindEvent {
		if block, err = b.event.appendValue(block, e); err != nil {
			return block[:at], 0, encodeError(b.table.spec.Name, "event", err)
		}
	}
	eventBytes := len(shard.OpKey(block, at)) - keyBytes
	if keyBytes > b.engine.options.KeyBytesMax || eventBytes > b.engine.options.EventBytesMax {
		return block[:at], 0, b.engine.tooLarge(keyBytes, eventBytes)
	}
	return shard.EndOp(block, at, hash, b.id, kind, keyBytes), hash, nil
}

package engine

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A binding is a table while it belongs to an open engine. It does not name the types of the
// table: keys and events are given to it by pointers to values of these.
type binding struct {
	table            *declaration
	engine           *Engine
	id               uint16
	entry            tableEntry   // of the manifest
	lifted           atomic.Int64 // states; the loads of workers add up for Open
	key              codec
	state            codec
	event            codec
	keyMax, eventMax int // bytes, as encoded
	once             Once
	result           codec        // if ids are remembered
	form             shard.OpForm // of an event, if dense
	dense            bool         // key and event are encoded as they lie in memory
	times            timeForm     // what is kept of time beside a state
	bare             bool         // of what stamps say nothing is kept

	calls   shard.FreeList // of *call[K, E, R]
	lookups shard.FreeList // of *lookup[K, S]
}

// An attachment is a binding, or what stands for that of a dropped table.
type attachment interface {
	shard.TimedTable
	stops() bool
	ready()
	show(key []byte, whole bool) string
	liftedStates() int
}

// ready opens the table to calls.
func (b *binding) ready() { b.table.open.Store(b) }

// Schema is the number of the schema that the table is written under.
func (b *binding) Schema() uint32 { return b.entry.number() }

// liftedStates is how many states were lifted from older schemas.
func (b *binding) liftedStates() int { return int(b.lifted.Load()) }

// Bind makes the part of the table that one shard uses.
func (b *binding) Bind() shard.Program { return b.table.program(b) }

// Timed says whether the table has timers or deadlines.
func (b *binding) Timed() bool { return b.times.timed() }

// stops says whether the table's clock stops while the store is down.
func (b *binding) stops() bool { return b.times.timed() && b.times.stops }

// cellBytes is the size of what the slab holds for a key.
func (b *binding) cellBytes() int {
	if b.times.timed() {
		return b.times.cellBytes()
	}
	return b.stateBytes()
}

// stateBytes is the size of what the slab holds of a state.
func (b *binding) stateBytes() int {
	if b.state.pointerFree {
		return int(b.state.typ.Size())
	}
	return int(unsafe.Sizeof(cell(0)))
}

// appendOp appends an operation to a block. It runs the user's codecs, so it must be
// over before room in an inbox is claimed.
func (b *binding) appendOp(block []byte, kind shard.Kind, k, e unsafe.Pointer) ([]byte, uint64, error) {
	at := len(block)
	longer, key, hash, err := b.encodeKey(append(block, make([]byte, shard.OpBytes(0, 0))...), k)
	block = longer[:at]
	if err != nil {
		return block, 0, err
	}
	if kind == shard.KindRead {
		block, _ = shard.AppendOp(block, hash, b.id, kind, key, 0)
		return block, hash, nil
	}
	block, err = b.appendEvent(block, hash, key, e)
	return block, hash, err
}

// encodeKey returns the encoding of k with its hash, which alone says where an
// operation goes. The encoding is either k itself or appended to dst. What it returns
// as longer has at least the length of dst, also with an error.
func (b *binding) encodeKey(dst []byte, k unsafe.Pointer) (longer, key []byte, hash uint64, err error) {
	if b.key.dense > 0 {
		key = b.denseKey(k)
	} else {
		at := len(dst)
		if dst, err = b.key.append(dst, k); err != nil {
			return dst, nil, 0, encodeError(b.table.name, "key", err)
		}
		key = dst[at:]
	}
	if len(key) > b.keyMax {
		return dst, nil, 0, fmt.Errorf("%w: a key of %d bytes, at most %d; see Options.KeyBytesMax", ErrTooLarge, len(key), b.keyMax)
	}
	return dst, key, b.engine.routing.Hash(key, b.engine.routing.Seed), nil
}

// denseKey is the encoding of a key that is encoded as it lies in memory, borrowed.
func (b *binding) denseKey(k unsafe.Pointer) []byte {
	return unsafe.Slice((*byte)(k), b.key.dense)
}

// denseEvent is the encoding of an event that is encoded as it lies in memory, borrowed.
func (b *binding) denseEvent(e unsafe.Pointer) []byte {
	return unsafe.Slice((*byte)(e), b.event.dense)
}

// put adds an event to a buffer. After an error the buffer is as it was.
func (b *binding) put(to *buffer, hash uint64, key []byte, e unsafe.Pointer) (err error) {
	if b.dense {
		to.room(b.form.Bytes())
		at := len(to.block)
		to.block = to.block[:at+b.form.Bytes()]
		b.form.Put(to.block[at:], hash, key, b.denseEvent(e))
		to.count++
		return nil
	}
	to.begin()
	if to.block, err = b.appendEvent(to.block, hash, key, e); err == nil {
		to.count++
	}
	return err
}

// tooLarge is the error of an event of n bytes.
func (b *binding) tooLarge(n int) error {
	return fmt.Errorf("%w: an event of %d bytes, at most %d; see Options.EventBytesMax", ErrTooLarge, n, b.eventMax)
}

// appendEvent appends an event to a block. After an error the block is as it was.
func (b *binding) appendEvent(block []byte, hash uint64, key []byte, e unsafe.Pointer) ([]byte, error) {
	if n := b.event.dense; n > 0 && n <= b.eventMax {
		block, event := shard.AppendOp(block, hash, b.id, shard.KindEvent, key, n)
		copy(event, b.denseEvent(e))
		return block, nil
	}
	at := len(block)
	longer, err := b.event.append(shard.BeginOp(block, hash, b.id, shard.KindEvent, key), e)
	if err != nil {
		return block, encodeError(b.table.name, "event", err)
	}
	longer, n := shard.EndOp(longer, at)
	if n > b.eventMax {
		return longer[:at], b.tooLarge(n)
	}
	return longer, nil
}

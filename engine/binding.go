package engine

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A binding is a table while it belongs to an open engine.
type binding[K comparable, S, E, R any] struct {
	table            *Table[K, S, E, R]
	engine           *Engine
	id               uint16
	entry            tableEntry   // of the manifest
	lifted           atomic.Int64 // states; the loads of workers add up for Open
	key              codec[K]
	state            codec[S]
	event            codec[E]
	keyMax, eventMax int // bytes, as encoded
	once             Once
	result           codec[R]     // if ids are remembered
	form             shard.OpForm // of an event, if dense
	dense            bool         // key and event are encoded as they lie in memory
	times            timeForm     // what is kept of time beside a state
	bare             bool         // of what stamps say nothing is kept

	calls   shard.FreeList // of *call[K, S, E, R]
	lookups shard.FreeList // of *lookup[K, S]
}

// An attachment is a binding of whatever types.
type attachment interface {
	shard.TimedTable
	stops() bool
	ready()
	show(key []byte, whole bool) string
	liftedStates() int
}

// ready opens the table to calls.
func (b *binding[K, S, E, R]) ready() { b.table.open.Store(b) }

// Schema is the number of the schema that the table is written under.
func (b *binding[K, S, E, R]) Schema() uint32 { return b.entry.number() }

// liftedStates is how many states were lifted from older schemas.
func (b *binding[K, S, E, R]) liftedStates() int { return int(b.lifted.Load()) }

// Bind makes the part of the table that one shard uses.
func (b *binding[K, S, E, R]) Bind() shard.Program {
	p := &program[K, S, E, R]{binding: b, events: &b.event}
	p.plain = !b.times.timed() && b.state.pointerFree && b.event.dense > 0 && b.table.spec.Check == nil
	p.context.keys, p.context.timers = &b.key, b.table.spec.OnTimer != nil
	return p
}

// Timed says whether the table has timers or deadlines.
func (b *binding[K, S, E, R]) Timed() bool { return b.times.timed() }

// stops says whether the table's clock stops while the store is down.
func (b *binding[K, S, E, R]) stops() bool { return b.times.timed() && b.times.stops }

// cellBytes is the size of what the slab holds for a key.
func (b *binding[K, S, E, R]) cellBytes() int {
	if b.times.timed() {
		return b.times.cellBytes()
	}
	return b.stateBytes()
}

// stateBytes is the size of what the slab holds of a state.
func (b *binding[K, S, E, R]) stateBytes() int {
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
func (b *binding[K, S, E, R]) encodeKey(dst []byte, k *K) (longer, key []byte, hash uint64, err error) {
	if b.key.dense > 0 {
		key = b.denseKey(k)
	} else {
		at := len(dst)
		if dst, err = b.key.append(dst, k); err != nil {
			return dst, nil, 0, encodeError(b.table.spec.Name, "key", err)
		}
		key = dst[at:]
	}
	if len(key) > b.keyMax {
		return dst, nil, 0, fmt.Errorf("%w: a key of %d bytes, at most %d; see Options.KeyBytesMax", ErrTooLarge, len(key), b.keyMax)
	}
	return dst, key, b.engine.routing.Hash(key, b.engine.routing.Seed), nil
}

// denseKey is the encoding of a key that is encoded as it lies in memory, borrowed.
func (b *binding[K, S, E, R]) denseKey(k *K) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(k)), b.key.dense)
}

// denseEvent is the encoding of an event that is encoded as it lies in memory, borrowed.
func (b *binding[K, S, E, R]) denseEvent(e *E) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(e)), b.event.dense)
}

// put adds an event to a buffer. After an error the buffer is as it was.
func (b *binding[K, S, E, R]) put(to *buffer, hash uint64, key []byte, e *E) (err error) {
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
func (b *binding[K, S, E, R]) tooLarge(n int) error {
	return fmt.Errorf("%w: an event of %d bytes, at most %d; see Options.EventBytesMax", ErrTooLarge, n, b.eventMax)
}

// appendEvent appends an event to a block. After an error the block is as it was.
func (b *binding[K, S, E, R]) appendEvent(block []byte, hash uint64, key []byte, e *E) ([]byte, error) {
	if n := b.event.dense; n > 0 && n <= b.eventMax {
		block, event := shard.AppendOp(block, hash, b.id, shard.KindEvent, key, n)
		copy(event, unsafe.Slice((*byte)(unsafe.Pointer(e)), n))
		return block, nil
	}
	at := len(block)
	longer, err := b.event.append(shard.BeginOp(block, hash, b.id, shard.KindEvent, key), e)
	if err != nil {
		return block, encodeError(b.table.spec.Name, "event", err)
	}
	longer, n := shard.EndOp(longer, at)
	if n > b.eventMax {
		return longer[:at], b.tooLarge(n)
	}
	return longer, nil
}

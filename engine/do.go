package engine

import (
	"context"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A call is a Do under way. It is reused; between send and completion it belongs to
// the shard, but for key, event and block.
type call[K comparable, E, R any] struct {
	binding *binding
	slot    *shard.Slot
	key     K
	event   E
	id      EventID // zero: none
	block   []byte
	value   R
	refused error
}

// Refused takes the error of the event.
func (c *call[K, E, R]) Refused(_ int, _ uint16, _, _ []byte, err error) { c.refused = err }

// Released gives a call back whose caller did not wait for its end.
func (c *call[K, E, R]) Released() { c.release() }

func (c *call[K, E, R]) release() {
	var key K
	var event E
	var value R
	c.key, c.event, c.id, c.value, c.refused = key, event, EventID{}, value, nil
	if cap(c.block) > blockBytesKept {
		c.block = nil
	}
	c.binding.calls.Put(c.slot)
}

// blockBytesKept is how large a buffer an idle call keeps.
const blockBytesKept = 4 << 10

// Do sends an event for key k and returns what Apply answered, once the event has
// come as far as ack says: Durable if it is left out; of several acks the first counts.
// It keeps nothing of its arguments.
//
// While the inbox of the shard is full Do waits for room, at most until ctx ends:
// then the event was not done, and the error is that of ctx. Once the event is
// admitted it goes its way; if ctx ends then, the error matches ErrUnknownOutcome
// and that of ctx.
//
// Other errors: what Check returned, ErrClosed, ErrTooLarge, ErrReadOnly,
// ErrOverloaded, ErrPanicked, ErrInside, ErrNeverDurable, what a codec returned: the
// event was not done. A FailedError says itself. OutcomeOf tells them apart.
func (t *Table[K, S, E, R]) Do(ctx context.Context, k K, e E, ack ...Ack) (R, error) {
	return t.do(ctx, k, e, true, ackOf(ack), EventID{})
}

// TryDo is Do, but returns ErrOverloaded instead of waiting for room in the inbox.
func (t *Table[K, S, E, R]) TryDo(ctx context.Context, k K, e E, ack ...Ack) (R, error) {
	return t.do(ctx, k, e, false, ackOf(ack), EventID{})
}

func ackOf(ack []Ack) Ack {
	if len(ack) == 0 {
		return Durable
	}
	return ack[0]
}

func (t *Table[K, S, E, R]) do(ctx context.Context, k K, e E, wait bool, ack Ack, id EventID) (value R, err error) {
	b, err := t.bound()
	if err != nil {
		return value, err
	}
	if err := b.engine.admit(ctx, ack); err != nil {
		return value, err
	}
	c, err := callOf[K, E, R](b)
	if err != nil {
		return value, err
	}
	c.key, c.event, c.id = k, e, id
	if err := c.send(ctx, wait, ack); err != nil {
		c.release()
		return value, err
	}
	err, completed := c.slot.Wait(ctx, b.engine.patience(ack))
	if !completed {
		return value, unknown(ctx.Err())
	}
	if err == nil {
		err = c.refused
	}
	value = c.value
	c.release()
	return value, err
}

// callOf returns a call that is not in use.
func callOf[K comparable, E, R any](b *binding) (*call[K, E, R], error) {
	slot, err := b.engine.slot(&b.calls, func(s *shard.Slot) shard.Sink {
		return &call[K, E, R]{binding: b, slot: s}
	})
	if err != nil {
		return nil, err
	}
	return slot.Sink.(*call[K, E, R]), nil
}

// send encodes the call and sends it as a block of one operation.
func (c *call[K, E, R]) send(ctx context.Context, wait bool, ack Ack) (err error) {
	var hash uint64
	block := append(c.block[:0], make([]byte, shard.BlockHeaderBytes)...)
	if c.id == (EventID{}) {
		c.block, hash, err = c.binding.appendOp(block, shard.KindEvent, unsafe.Pointer(&c.key), unsafe.Pointer(&c.event))
	} else {
		c.block, hash, err = c.binding.appendOnce(block, &c.id, unsafe.Pointer(&c.key), unsafe.Pointer(&c.event))
	}
	if err != nil {
		return err
	}
	shard.PutBlockHeader(c.block, c.slot.Arm(), 1, ack.level())
	if err = c.binding.engine.send(ctx, hash, c.block, wait); err != nil {
		c.slot.Disarm()
	}
	return err
}

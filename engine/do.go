package engine

import (
	"context"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A call is a Do under way. It is reused; between send and completion it belongs to
// the shard, but for key and event.
type call[K comparable, E, R any] struct {
	sending sending
	key     K
	event   E
	value   R
}

// Refused takes the error of the event.
func (c *call[K, E, R]) Refused(_ int, _ uint16, _, _ []byte, err error) { c.sending.refused = err }

// Released gives a call back whose caller did not wait for its end.
func (c *call[K, E, R]) Released() { c.release() }

func (c *call[K, E, R]) release() {
	var key K
	var event E
	var value R
	c.key, c.event, c.value = key, event, value
	c.sending.release()
}

// A sending is what a call and a lookup are without their types: one operation that its
// caller waits for.
type sending struct {
	binding *binding
	free    *shard.FreeList
	slot    *shard.Slot
	id      EventID // zero: none
	block   []byte
	refused error
}

// release puts the slot back, with all that its sink is.
func (s *sending) release() {
	s.id, s.refused = EventID{}, nil
	if cap(s.block) > blockBytesKept {
		s.block = nil
	}
	s.free.Put(s.slot)
}

// send encodes the operation and sends it as a block of its own.
func (s *sending) send(ctx context.Context, kind shard.Kind, k, e unsafe.Pointer, wait bool, ack Ack) (err error) {
	var hash uint64
	block := append(s.block[:0], make([]byte, shard.BlockHeaderBytes)...)
	if s.id == (EventID{}) {
		s.block, hash, err = s.binding.appendOp(block, kind, k, e)
	} else {
		s.block, hash, err = s.binding.appendOnce(block, &s.id, k, e)
	}
	if err != nil {
		return err
	}
	shard.PutBlockHeader(s.block, s.slot.Arm(), 1, ack.level())
	if err = s.binding.engine.send(ctx, hash, s.block, wait); err != nil {
		s.slot.Disarm()
	}
	return err
}

// wait waits for the end of the operation, and returns its error. If ctx ends before, the
// operation stays with the shard.
func (s *sending) wait(ctx context.Context, ack Ack) (err error, completed bool) {
	err, completed = s.slot.Wait(ctx, s.binding.engine.patience(ack))
	if completed && err == nil {
		err = s.refused
	}
	return err, completed
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
	b, err := t.declaration.admitted(ctx, ack)
	if err != nil {
		return value, err
	}
	c, err := callOf[K, E, R](b)
	if err != nil {
		return value, err
	}
	c.key, c.event, c.sending.id = k, e, id
	if err := c.sending.send(ctx, shard.KindEvent, unsafe.Pointer(&c.key), unsafe.Pointer(&c.event), wait, ack); err != nil {
		c.release()
		return value, err
	}
	err, completed := c.sending.wait(ctx, ack)
	if !completed {
		return value, unknown(ctx.Err())
	}
	value = c.value
	c.release()
	return value, err
}

// admitted returns the open binding, if a call may be made at all.
func (d *declaration) admitted(ctx context.Context, ack Ack) (*binding, error) {
	b, err := d.bound()
	if err == nil {
		err = b.engine.admit(ctx, ack)
	}
	return b, err
}

// callOf returns a call that is not in use.
func callOf[K comparable, E, R any](b *binding) (*call[K, E, R], error) {
	slot, err := b.engine.slot(&b.calls, func(s *shard.Slot) shard.Sink {
		return &call[K, E, R]{sending: sending{binding: b, free: &b.calls, slot: s}}
	})
	if err != nil {
		return nil, err
	}
	return slot.Sink.(*call[K, E, R]), nil
}

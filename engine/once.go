package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/recent"
	"github.com/keyfold/keyfold/shard"
)

// Once says which ids of events a table remembers, so that an event that is sent again
// under its id is done once. The zero value remembers none, and DoOnce is refused.
//
// Ids are remembered in the order in which their events were accepted, beside the keys, in
// the partition of the key. They are in the log with the event, and in snapshots. An id
// takes 28 bytes and the encoded answer, rounded up to 4, and 11 to 22 bytes of index; all
// of that one and a half times at most, while the memory of it grows. Nothing is taken by
// partitions that have none.
type Once struct {
	// IDs is how many ids a partition remembers at most: the oldest is forgotten for a new
	// one. 0 means 65536 if For is set; at most 4194304.
	IDs int
	// For is how long an id is remembered, by the time that is logged with its event, if it
	// is not forgotten for newer ones before. 0 means for as long as there is room. With
	// For alone a busy table may remember 65536 ids in each of 4096 partitions, which is
	// some 12 GB: say how many IDs it needs.
	For time.Duration
}

const (
	idsDefault = 1 << 16
	idsMax     = 1 << 22
	// answerBytesMax is the size of the largest answer that is remembered.
	answerBytesMax = 64 << 10
	// expiriesMax is how many ids that are too old are forgotten when one is remembered.
	expiriesMax = 4
)

// on says whether ids are remembered at all.
func (o Once) on() bool { return o != Once{} }

// complete fills in what was left out, or says what cannot be.
func (o Once) complete() (Once, error) {
	if o.IDs < 0 || o.IDs > idsMax || o.For < 0 {
		return o, fmt.Errorf("Once must have 0 to %d IDs and a For that is not negative, not %d and %v", idsMax, o.IDs, o.For)
	}
	if o.on() {
		setDefault(&o.IDs, idsDefault)
	}
	return o, nil
}

var (
	// ErrOnceOff is matched when a table is given an event with an id and remembers none:
	// its Spec.Once is zero. Nothing was done.
	ErrOnceOff = errors.New("keyfold: the table remembers no ids; set Spec.Once")

	// ErrNoID is returned when the id of an event is zero. Nothing was done.
	ErrNoID = errors.New("keyfold: the id of an event must not be zero")

	// ErrAnswerLost is matched when an event with this id was done before, and what Apply
	// answered then cannot be given again: it was larger than 64 KiB when it was encoded,
	// its codec failed, or its type has changed since. Its outcome is Done.
	ErrAnswerLost = errors.New("keyfold: the event was done before, and its answer was not kept")
)

// An EventID names an event of a key: the same id with another key is another event. It
// is chosen by whoever sends the event for the first time, and must not be zero.
type EventID [16]byte

// NewEventID returns a random id. Keep it until the event is settled: another one is
// another event.
func NewEventID() (id EventID) {
	_, _ = rand.Read(id[:]) // it never fails: the program crashes rather
	return id
}

// EventIDOf returns the id that stands for a text, such as the idempotency key of a
// request: the beginning of its SHA-256.
func EventIDOf(text string) EventID {
	hash := sha256.Sum256([]byte(text))
	return EventID(hash[:16])
}

// DoOnce is Do for an event that may be sent again: it is done once for its id, as long
// as the table remembers that (see [Once]). A call with an id that was done returns what
// Apply answered then, as soon as that event has come as far as ack says, does nothing,
// and is not logged. Check is not asked again. What Check refuses is not remembered.
//
// So whoever got an error that matches ErrUnknownOutcome calls DoOnce with the same id and
// key again, until there is an answer: nil, an error of Check, ErrPanicked or
// ErrAnswerLost settle it. Other errors say that this call has done nothing; whether an
// earlier one has is still open. A retry that finds the event done is answered on a full
// disk, too.
//
// Errors beside those of Do: ErrOnceOff, ErrNoID, ErrAnswerLost.
func (t *Table[K, S, E, R]) DoOnce(ctx context.Context, id EventID, k K, e E, ack ...Ack) (R, error) {
	if id == (EventID{}) {
		var none R
		return none, ErrNoID
	}
	return t.do(ctx, k, e, true, ackOf(ack), id)
}

// PutOnce adds an event to the batch that is done once for its id, as by DoOnce.
func (t *Table[K, S, E, R]) PutOnce(b *Batch, id EventID, k K, e E, out *Result[R]) {
	t.Put(b, k, e, out)
	p := b.items[len(b.items)-1].(*put[K, E, R])
	p.id, p.once = id, true
}

// appendOnce appends an event with an id to a block.
func (b *binding) appendOnce(block []byte, id *EventID, k, e unsafe.Pointer) ([]byte, uint64, error) {
	switch {
	case !b.once.on():
		return block, 0, fmt.Errorf("%w: table %q", ErrOnceOff, b.table.name)
	case *id == EventID{}:
		return block, 0, ErrNoID
	}
	at := len(block)
	longer, key, hash, err := b.encodeKey(append(block, make([]byte, shard.OpBytes(0, 0))...), k)
	block = longer[:at]
	if err != nil {
		return block, 0, err
	}
	block, err = b.appendStamped(block, hash, key, shard.StampID, (*[shard.StampBytes]byte)(id), e)
	return block, hash, err
}

// appendStamped appends an event with a stamp to a block. After an error the block is as
// it was.
func (b *binding) appendStamped(block []byte, hash uint64, key []byte, stamp shard.Stamp, front *[shard.StampBytes]byte, e unsafe.Pointer) ([]byte, error) {
	at := len(block)
	longer := append(shard.BeginOp(block, hash, stamp.On(b.id), shard.KindEvent, key), front[:]...)
	if b.event.dense > 0 {
		longer = append(longer, b.denseEvent(e)...)
	} else {
		var err error
		if longer, err = b.event.append(longer, e); err != nil {
			return block, encodeError(b.table.name, "event", err)
		}
	}
	longer, n := shard.EndOp(longer, at)
	if n -= shard.StampBytes; n > b.eventMax {
		return longer[:at], b.tooLarge(n)
	}
	return longer, nil
}

// fingerprint is what is remembered of the id of an event: the id and the key, hashed
// under the seed of the store.
func (p *program) fingerprint(op *shard.Operation) recent.ID {
	h := xxh3.Hash128Seed(op.KeyAndStamp(), p.binding.engine.routing.Seed)
	return recent.ID{h.Lo, h.Hi}
}

// recall returns what was answered to the event when it was done before the time now.
func (st *store) recall(op *shard.Operation, now int64) (recent.Answer, bool) {
	if st.extras == nil || !st.program.binding.once.on() {
		return recent.Answer{}, false
	}
	a, ok := st.extras.ids.Find(st.program.fingerprint(op))
	if limit := st.program.binding.once.For; ok && limit > 0 && now-a.Time > int64(limit) {
		return recent.Answer{}, false
	}
	return a, ok
}

// again gives the first answer to whoever has sent an event again.
func (st *store) again(op *shard.Operation, a recent.Answer) {
	op.Kind = shard.KindSkipped
	if op.Sink == nil {
		return
	}
	op.Err = ErrAnswerLost // also if the codec does not return: the event was done
	if !a.Lost && st.program.functions.repeat(op, a.Bytes) {
		op.Err = nil
	}
}

// keepAnswer encodes what Apply has answered, to be remembered.
func (p *program) keepAnswer(result unsafe.Pointer) {
	p.answered = recent.Answer{Time: p.occasion.now, Lost: true}
	if !p.binding.once.on() {
		return
	}
	encoded, err := p.binding.result.append(p.encoded[:0], result)
	if p.encoded = encoded; err == nil && len(encoded) <= answerBytesMax {
		p.answered.Bytes, p.answered.Lost = encoded, false
	}
}

// remember keeps the id of an event that was done, with its answer. What it forgets for
// it depends on nothing but the log.
func (st *store) remember(op *shard.Operation) {
	once := &st.program.binding.once
	if !once.on() {
		return
	}
	ids := &st.extra().ids
	if once.For > 0 {
		for range expiriesMax {
			if oldest, ok := ids.Oldest(); !ok || st.program.occasion.now-oldest <= int64(once.For) {
				break
			}
			ids.DropOldest()
		}
	}
	for ids.Len() >= once.IDs {
		ids.DropOldest()
	}
	ids.Add(st.program.fingerprint(op), st.program.answered)
}

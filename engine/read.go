package engine

import (
	"context"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// A ReadOption changes what a read may show.
type ReadOption uint8

// OnlyDurable makes a read wait until everything it shows is durable, so that no
// crash can take it back.
const OnlyDurable ReadOption = 1

// A lookup is a Get or View under way. It is reused.
type lookup[K comparable, S any] struct {
	sending sending
	key     K
	finding finding[S]
}

// Refused takes the error of the read.
func (r *lookup[K, S]) Refused(_ int, _ uint16, _, _ []byte, err error) { r.sending.refused = err }

// Released gives a lookup back whose caller did not wait for its end.
func (r *lookup[K, S]) Released() { r.release() }

func (r *lookup[K, S]) release() {
	var key K
	r.key, r.finding = key, finding[S]{}
	r.sending.release()
}

// A finding is what a read has seen of a key.
type finding[S any] struct {
	found bool
	state S
	view  func(*S) // nil: a copy is wanted
}

// take runs on the shard: it copies the state, or shows it to the view. state is nil
// for a key that has none.
func (r *finding[S]) take(codec *codec, clone func(*S) S, state *S) (err error) {
	r.found = state != nil
	switch {
	case !r.found:
	case r.view != nil:
		r.view(state)
	default:
		r.state, err = copyState(codec, clone, state)
	}
	return err
}

// copyState makes a copy that shares no memory with the state.
func copyState[S any](codec *codec, clone func(*S) S, state *S) (S, error) {
	switch {
	case codec.pointerFree:
		return *state, nil
	case clone != nil:
		return clone(state), nil
	}
	return recode(codec, state)
}

// recode copies a state by encoding and decoding it. It stands apart because what it
// decodes into is allocated, which those who copy without it must not pay for.
func recode[S any](codec *codec, state *S) (copied S, err error) {
	encoded, err := codec.append(nil, unsafe.Pointer(state))
	if err == nil {
		err = codec.decode(encoded, unsafe.Pointer(&copied))
	}
	return copied, err
}

// Get returns a copy of the state of key k, and whether it has one. It shows
// applied state, which a crash may still take back by one group commit, unless
// OnlyDurable is given. It waits behind what was sent to the shard before. Errors:
// those of ctx, ErrClosed, ErrTooLarge, ErrShardFailed, ErrInside, ErrOverloaded, and with
// OnlyDurable ErrNeverDurable in an engine that never syncs, and ErrReadOnly while the
// partition comes to a shard that has no room for it.
func (t *Table[K, S, E, R]) Get(ctx context.Context, k K, options ...ReadOption) (state S, ok bool, err error) {
	r, err := t.read(ctx, k, nil, options)
	if err != nil {
		return state, false, err
	}
	state, ok = r.finding.state, r.finding.found
	r.release()
	return state, ok, nil
}

// View calls f with the state of key k where it lies, without a copy, and returns
// whether the key has one; if it has none, f is not called. f runs on the shard
// goroutine: it must be short, must not change or keep the state, and must not call
// the engine. If ctx ends before View returns, f may still be called later. Errors:
// those of Get, and ErrPanicked.
func (t *Table[K, S, E, R]) View(ctx context.Context, k K, f func(s *S), options ...ReadOption) (ok bool, err error) {
	r, err := t.read(ctx, k, f, options)
	if err != nil {
		return false, err
	}
	ok = r.finding.found
	r.release()
	return ok, nil
}

// read returns a lookup that has come to a good end, to be released.
func (t *Table[K, S, E, R]) read(ctx context.Context, k K, view func(*S), options []ReadOption) (*lookup[K, S], error) {
	ack := readAck(options)
	b, err := t.declaration.admitted(ctx, ack)
	if err != nil {
		return nil, err
	}
	r, err := lookupOf[K, S](b)
	if err != nil {
		return nil, err
	}
	r.key, r.finding.view = k, view
	if err = r.sending.send(ctx, shard.KindRead, unsafe.Pointer(&r.key), nil, true, ack); err == nil {
		completed := false
		if err, completed = r.sending.wait(ctx, ack); !completed {
			return nil, ctx.Err()
		}
	}
	if err != nil {
		r.release()
		return nil, err
	}
	return r, nil
}

func readAck(options []ReadOption) Ack {
	for _, o := range options {
		if o == OnlyDurable {
			return Durable
		}
	}
	return Applied
}

// lookupOf returns a lookup that is not in use.
func lookupOf[K comparable, S any](b *binding) (*lookup[K, S], error) {
	slot, err := b.engine.slot(&b.lookups, func(s *shard.Slot) shard.Sink {
		return &lookup[K, S]{sending: sending{binding: b, free: &b.lookups, slot: s}}
	})
	if err != nil {
		return nil, err
	}
	return slot.Sink.(*lookup[K, S]), nil
}

package engine

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// fired waits until no shard has anything left to fire that is due.
func (e *Engine) fired(ctx context.Context) error {
	shards := e.shards()
	return eachShard(len(shards), func(i int) error { return shards[i].Fired(ctx) })
}

// beginTime takes over the time of a run.
func (p *program) beginTime(r *shard.Run) {
	p.occasion.now, p.occasion.clock = r.Now, r.Now
	if p.binding.times.timed() {
		p.run = r
		if p.binding.times.stops {
			p.occasion.clock -= r.Paused
		}
	}
}

// time keeps the times of a key behind an event.
func (st *store) time(op *shard.Operation, at unsafe.Pointer, found bool) {
	t, c := st.times, st.program.occasion
	if t.form.touched > 0 {
		*word(at, t.form.touched) = c.clock
	}
	if t.form.made > 0 && *word(at, t.form.made) == 0 {
		*word(at, t.form.made) = c.clock
	}
	if c.request.asked != askedNothing {
		st.setTimer(at)
	}
	st.sort(op, at, found)
}

// setTimer sets the timer of a key as a function has asked.
func (st *store) setTimer(at unsafe.Pointer) {
	r := &st.program.occasion.request
	if st.times.form.timer == 0 {
		return
	}
	switch r.asked {
	case askedTimer:
		*word(at, st.times.form.timer) = r.timer
	case askedNoTimer:
		*word(at, st.times.form.timer) = 0
	}
}

// sort puts the key of an operation where it belongs in the queue.
func (st *store) sort(op *shard.Operation, at unsafe.Pointer, found bool) {
	t := st.times
	due, _ := t.form.due(at)
	if place := *t.form.place(at); place > 0 {
		t.sooner(place, due)
	} else if due != shard.Never {
		slot := uint32(t.slab.Len() - 1)
		if found {
			slot, _ = t.slab.Slot(op.Hash, op.Key())
		}
		t.put(dueKey{due: due, slot: slot, hash: uint32(op.Hash)})
	}
	st.program.run.Sooner(op.Part, st.Due())
}

// fire carries out a firing. What it says is due is over before the function is called.
func (st *store) fire(op *shard.Operation) error {
	what, lapsed, err := shard.FiringOf(op)
	if err != nil {
		return err
	}
	at, found := st.find(op)
	if !found {
		return fmt.Errorf("%w: table %q does not have its key", shard.ErrFiring, st.program.binding.table.name)
	}
	st.program.occasion.begin(op)
	st.program.occasion.renew()
	if what == shard.FiringTimer {
		return st.fireTimer(op, at, lapsed)
	}
	return st.expire(op, at, lapsed)
}

// fireTimer carries out a timer.
func (st *store) fireTimer(op *shard.Operation, at unsafe.Pointer, lapsed bool) error {
	p := st.program
	if table := p.binding.table; !table.timed {
		return fmt.Errorf("%w: table %q has no OnTimer; the program that wrote the log had one, and has to close the store", shard.ErrFiring, table.name)
	}
	if !lapsed {
		if err := p.functions.react(shard.FiringTimer, st.at(at)); err != nil {
			return err
		}
	}
	if st.times != nil {
		*word(at, st.times.form.timer) = 0
	}
	if p.occasion.deleted {
		p.moved = true
		st.remove(op.Hash, op.Key(), at)
		return nil
	}
	if st.times == nil {
		return nil
	}
	st.setTimer(at)
	st.sort(op, at, true)
	return nil
}

// expire carries out the end of a key.
func (st *store) expire(op *shard.Operation, at unsafe.Pointer, lapsed bool) error {
	p := st.program
	if !lapsed {
		if err := p.functions.react(shard.FiringExpiry, st.at(at)); err != nil {
			return err
		}
	}
	if !p.occasion.request.kept {
		p.moved = true
		st.remove(op.Hash, op.Key(), at)
		return nil
	}
	if st.times == nil {
		return nil
	}
	for _, since := range []uintptr{st.times.form.touched, st.times.form.made} {
		if since > 0 {
			*word(at, since) = p.occasion.clock
		}
	}
	st.setTimer(at)
	st.sort(op, at, true)
	return nil
}

// paused is how far the table's clock is behind.
func (b *binding) paused() int64 {
	if b.times.stops {
		return b.engine.clock.Paused
	}
	return 0
}

// Due is when the first of the keys is due, or earlier.
func (st *store) Due() int64 {
	if st.times == nil {
		return shard.Never
	}
	due := st.times.first()
	if due >= timeMax {
		return due
	}
	return due + st.program.binding.paused()
}

// Next looks at the key that is due first.
func (st *store) Next() (f shard.Firing, ok bool) {
	slot, what, ok := st.times.next()
	if !ok {
		return f, false
	}
	key, _ := st.slab.At(slot)
	return shard.Firing{Key: key, What: what}, true
}

// Begin begins the times of keys that have none, because a program whose table had none has
// made them: when the store is opened with the table's first TTL, and in every replay of
// that again.
func (st *store) Begin(c shard.Clock) (begun bool) {
	if st.times == nil || !st.times.unset {
		return false
	}
	if st.times.form.stops {
		c.Opened -= c.Paused
	}
	st.times.beginAll(c.Opened)
	return true
}

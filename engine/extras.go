package engine

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/recent"
	"github.com/keyfold/keyfold/shard"
)

// extras are what a store keeps beside keys and states. In an image they are blocks of
// forms of their own. Integers are little-endian.
//
//	size  field    of a block of ids, form 2
//	   8  answers  xxh3 of the name of the codec of the answers
//	   …  ids      as package recent has them, the oldest first
//
//	size  field     of a block of origins, form 3: of each, in the order of their numbers
//	   8  origin    its number
//	   8  sequence  of its last event that was done
//	   8  at        sequence of that event in the partition
type extras struct {
	ids     recent.Set
	origins []origin // in the order of their numbers
}

// The forms of a block of extras.
const (
	formIDs     = shard.FormExtras
	formOrigins = shard.FormExtras + 1
)

// idsHeaderBytes is what stands in front of the ids of a block.
const idsHeaderBytes = 8

// extra returns the extras, which are made when they are needed first.
func (st *store) extra() *extras {
	if st.extras == nil {
		st.extras = &extras{}
	}
	return st.extras
}

func (x *extras) bytes() int {
	if x == nil {
		return 0
	}
	return x.ids.Bytes() + cap(x.origins)*originBytes
}

// skips says that an event that bears a stamp was done before, and answers it.
func (st *store) skips(op *shard.Operation, now int64) bool {
	switch op.Stamp {
	case shard.StampID:
		if a, known := st.recall(op, now); known {
			st.again(op, a)
			return true
		}
	case shard.StampOrigin:
		if st.extras.passed(originOf(op)) {
			op.Kind = shard.KindSkipped
			return true
		}
		if r, ok := op.Sink.(*refusals); ok && r.stopped.Load() {
			op.Err = ErrStopped
			return true
		}
	}
	return false
}

// Known says whether an event that bears a stamp was done before, by the time now. There
// need be no room in the log for it.
func (p *program) Known(op *shard.Operation, now int64) bool {
	st := op.Store.(*store)
	switch op.Stamp {
	case shard.StampID:
		_, known := st.recall(op, now)
		return known
	case shard.StampOrigin:
		return st.extras.passed(originOf(op))
	}
	return false
}

// mark keeps what the stamp of an event that was done says.
func (st *store) mark(op *shard.Operation) {
	switch {
	case st.program.binding.bare:
	case op.Stamp == shard.StampID:
		st.remember(op)
	case op.Stamp == shard.StampOrigin:
		id, sequence := originOf(op)
		st.extra().advance(origin{id: id, sequence: sequence, at: op.Part.Sequence + 1})
	}
}

// A frozenExtras is a copy of extras.
type frozenExtras struct {
	ids   []byte
	count int
	codec uint64 // of the answers
	block []byte

	origins []origin
}

// freeze copies the extras of a store.
func (f *frozenExtras) freeze(x *extras, codec string) {
	f.ids, f.count, f.origins = f.ids[:0], 0, f.origins[:0]
	if x == nil {
		return
	}
	f.origins = append(f.origins, x.origins...)
	f.ids, f.count, f.codec = append(f.ids, x.ids.Raw()...), x.ids.Len(), xxh3.HashString(codec)
}

// blocks hands out the extras in blocks of about limit bytes.
func (f *frozenExtras) blocks(limit int, yield func(form uint8, entries uint32, data []byte) error) error {
	rest := f.ids
	for len(rest) > 0 {
		f.block = binary.LittleEndian.AppendUint64(f.block[:0], f.codec)
		entries := uint32(0)
		for len(rest) > 0 && (entries == 0 || len(f.block) < limit) {
			n := recent.FirstBytes(rest)
			f.block = append(f.block, rest[:n]...)
			rest = rest[n:]
			entries++
		}
		if err := yield(formIDs, entries, f.block); err != nil {
			return err
		}
	}
	if len(f.origins) == 0 {
		return nil
	}
	f.block = f.block[:0]
	for _, o := range f.origins {
		for _, v := range []uint64{o.id, o.sequence, o.at} {
			f.block = binary.LittleEndian.AppendUint64(f.block, v)
		}
	}
	return yield(formOrigins, uint32(len(f.origins)), f.block)
}

// loadOrigins adds a block of origins.
func (st *store) loadOrigins(entries uint32, data []byte) error {
	if int(entries) > 2*namesMax || len(data) != int(entries)*originBytes {
		return fmt.Errorf("%w: %d origins in %d bytes", errEntry, entries, len(data))
	}
	x := st.extra()
	for ; len(data) > 0; data = data[originBytes:] {
		o := origin{binary.LittleEndian.Uint64(data), binary.LittleEndian.Uint64(data[8:]), binary.LittleEndian.Uint64(data[16:])}
		if n := len(x.origins); n > 0 && x.origins[n-1].id >= o.id {
			return fmt.Errorf("%w: origins are not in their order", errEntry)
		}
		x.origins = append(x.origins, o)
	}
	return nil
}

// loadIDs adds a block of ids. A table that remembers none any more lets go of them.
// Answers of another type are lost.
func (st *store) loadIDs(entries uint32, data []byte) error {
	b := st.program.binding
	if len(data) < idsHeaderBytes {
		return fmt.Errorf("%w: a block of ids has %d bytes", errEntry, len(data))
	}
	if !b.once.on() {
		return nil
	}
	ids := &st.extra().ids
	from := ids.Len()
	if err := ids.Load(int(entries), data[idsHeaderBytes:]); err != nil {
		return fmt.Errorf("%w: %w", errEntry, err)
	}
	if binary.LittleEndian.Uint64(data) != xxh3.HashString(b.result.name) {
		ids.LoseAnswers(from)
	}
	for ids.Len() > b.once.IDs {
		ids.DropOldest()
	}
	return nil
}

package engine

import (
	"bytes"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/shard"
)

// A ReplayDifference is a key whose state is not the same in two folds that must agree.
type ReplayDifference struct {
	Table     string // its name
	Key       string // as text
	Partition int    // of the key
	// Sequence is that of the event in its partition after which the states differed, or
	// the last one that the snapshot holds.
	Sequence uint64
	// Snapshot says that the fold of the log was compared with a snapshot; else the same
	// events were folded twice.
	Snapshot      bool
	First, Second string // the states: folded and in the snapshot, or of the two folds
}

// Error says where the folds differ, and how.
func (d *ReplayDifference) Error() string {
	if d.Snapshot {
		return fmt.Sprintf("keyfold: table %q, key %s: folding the log up to event %d of partition %d makes %s, and the snapshot of then holds %s",
			d.Table, d.Key, d.Sequence, d.Partition, d.First, d.Second)
	}
	return fmt.Sprintf("keyfold: table %q, key %s: event %d of partition %d made %s, and folded again %s",
		d.Table, d.Key, d.Sequence, d.Partition, d.First, d.Second)
}

// A twinTable folds everything twice and compares each time.
type twinTable struct{ attachment }

// Bind makes two programs for one shard.
func (t twinTable) Bind() shard.Program {
	return &twinProgram{t.attachment.Bind(), t.attachment.Bind()}
}

// Timed says that nothing fires by itself: a replay carries out what the log says.
func (t twinTable) Timed() bool { return false }

type twinProgram struct{ a, b shard.Program }

func (p *twinProgram) NewStore() shard.Store { return &twinStore{p.a.NewStore(), p.b.NewStore()} }

func (p *twinProgram) Touch([]shard.Operation)        {}
func (p *twinProgram) TouchEntries([]shard.Operation) {}

// Undo is never asked for: nothing of a twin goes on behind a panic.
func (p *twinProgram) Undo() {}

func (p *twinProgram) Under(schema uint32) (unplayable, err error) {
	if unplayable, err = p.a.Under(schema); err == nil {
		_, err = p.b.Under(schema)
	}
	return unplayable, err
}

// Apply folds each operation into both stores, and refuses it if they differ then.
func (p *twinProgram) Apply(r *shard.Run, to int) {
	for r.Next < to {
		i := r.Next
		op := &r.Ops[i]
		twin := op.Store.(*twinStore)
		sequence := op.Part.Sequence
		applyOne(p.a, twin.a, r, i)
		if op.Err == nil {
			op.Part.Sequence = sequence
			applyOne(p.b, twin.b, r, i)
		}
		op.Store = twin
		if op.Err == nil {
			op.Err = twin.compare(op)
		}
		r.Next = i + 1
	}
}

// applyOne folds operation i of a run into a store.
func applyOne(p shard.Program, store shard.Store, r *shard.Run, i int) {
	op := r.Ops[i : i+1]
	op[0].Store, r.Next = store, i
	p.Touch(op)
	p.TouchEntries(op)
	p.Apply(r, i+1)
}

type twinStore struct{ a, b shard.Store }

// compare compares the states of the key of an operation.
func (t *twinStore) compare(op *shard.Operation) error {
	a, ok := t.a.(comparer)
	if !ok {
		return nil // dropped
	}
	if d := a.difference(t.b, op.Hash, op.Key()); d != nil {
		d.Partition, d.Sequence = int(op.Part.ID), op.Part.Sequence
		return d
	}
	return nil
}

// Freeze is never called: nothing is written.
func (t *twinStore) Freeze(into shard.Image) shard.Image { return t.a.Freeze(into) }
func (t *twinStore) Empty() bool                         { return t.a.Empty() }
func (t *twinStore) Len() int                            { return t.a.Len() }
func (t *twinStore) Bytes() int                          { return t.a.Bytes() + t.b.Bytes() }

func (t *twinStore) Load(form uint8, entries uint32, data []byte) error {
	if err := t.a.Load(form, entries, data); err != nil {
		return err
	}
	return t.b.Load(form, entries, data)
}

func (t *twinStore) Rebind(to shard.Program) {
	p := to.(*twinProgram)
	t.a.Rebind(p.a)
	t.b.Rebind(p.b)
}

// Drop gives back the memory of both.
func (t *twinStore) Drop() {
	for _, s := range []shard.Store{t.a, t.b} {
		if d, ok := s.(shard.Dropper); ok {
			d.Drop()
		}
	}
}

// A comparer is a store that can be compared with another one of its table.
type comparer interface {
	difference(other shard.Store, hash uint64, key []byte) *ReplayDifference
	eachKey(yield func(hash uint64, key []byte) bool)
	digest() (uint64, error)
}

// difference says how the state of a key differs in another store of the table; nil if
// it does not.
func (st *store[K, S, E, R]) difference(other shard.Store, hash uint64, key []byte) *ReplayDifference {
	b := st.program.binding
	mine, theirs := st.stateOf(hash, key), other.(*store[K, S, E, R]).stateOf(hash, key)
	if b.sameState(mine, theirs) {
		return nil
	}
	return &ReplayDifference{
		Table: b.table.spec.Name, Key: b.show(key, true), First: showState(mine), Second: showState(theirs),
	}
}

// stateOf is the state of a key, or nil.
func (st *store[K, S, E, R]) stateOf(hash uint64, key []byte) *S {
	if p, ok := st.slab.Find(hash, key); ok {
		return st.at(p)
	}
	return nil
}

// sameState says whether two states are the same to a snapshot: they have the same
// encoding. A codec of the user's may write the same state in two ways, so values count
// where encodings differ.
func (b *binding[K, S, E, R]) sameState(x, y *S) bool {
	if x == nil || y == nil {
		return x == y
	}
	one, err := b.state.append(nil, x)
	two, other := b.state.append(nil, y)
	if err != nil || other != nil {
		return false
	}
	return bytes.Equal(one, two) || b.table.spec.StateCodec != nil && reflect.DeepEqual(x, y)
}

// shownBytesMax bounds the text of a state.
const shownBytesMax = 300

func showState[S any](s *S) string {
	if s == nil {
		return "nothing"
	}
	text := fmt.Sprintf("%+v", *s)
	if len(text) > shownBytesMax {
		text = text[:shownBytesMax] + "..."
	}
	return text
}

// eachKey calls yield for every key, with its hash, until it returns false.
func (st *store[K, S, E, R]) eachKey(yield func(hash uint64, key []byte) bool) {
	routing := &st.program.binding.engine.routing
	st.slab.All(func(key []byte, _ unsafe.Pointer) bool { return yield(routing.Hash(key, routing.Seed), key) })
}

// digest is a sum over the keys and their states, in whatever order. Two programs that
// encode states in the same way can be compared by it.
func (st *store[K, S, E, R]) digest() (sum uint64, err error) {
	var entry []byte
	st.slab.All(func(key []byte, p unsafe.Pointer) bool {
		if entry, err = appendEntry(entry[:0], key, &st.program.binding.state, st.at(p)); err != nil {
			return false
		}
		sum += xxh3.Hash(entry)
		return true
	})
	return sum, err
}

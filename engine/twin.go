package engine

import (
	"bytes"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/recent"
	"github.com/keyfold/keyfold/shard"
)

// A ReplayDifference is a key that is not the same in two folds that must agree, or what a
// partition has of events that were done before.
type ReplayDifference struct {
	Table     string // its name
	Key       string // as text; empty if What is of the partition
	Partition int    // of the key
	// Sequence is that of the event in its partition after which the states differed, or
	// the last one that the snapshot holds.
	Sequence uint64
	// Snapshot says that the fold of the log was compared with a snapshot; else the same
	// events were folded twice.
	Snapshot bool
	// What differs: the state, the times of the key, or of the partition what it remembers
	// for the ids of events, or the sequences of its producers and sources.
	What          ReplayWhat
	First, Second string // folded and in the snapshot, or of the two folds
}

// A ReplayWhat says what of two folds is not the same.
type ReplayWhat string

// What can differ.
const (
	ReplayState   ReplayWhat = "state"
	ReplayTimes   ReplayWhat = "times"
	ReplayIDs     ReplayWhat = "ids"
	ReplayOrigins ReplayWhat = "origins"
)

// Error says where the folds differ, and how.
func (d *ReplayDifference) Error() string {
	of := fmt.Sprintf("keyfold: table %q, key %s", d.Table, d.Key)
	switch d.What {
	case ReplayTimes:
		of += ", its times"
	case ReplayIDs, ReplayOrigins:
		of = fmt.Sprintf("keyfold: table %q, the %s that it remembers", d.Table, d.What)
	}
	if d.Snapshot {
		return fmt.Sprintf("%s: folding the log up to event %d of partition %d makes %s, and the snapshot of then holds %s",
			of, d.Sequence, d.Partition, d.First, d.Second)
	}
	return fmt.Sprintf("%s: event %d of partition %d made %s, and folded again %s", of, d.Sequence, d.Partition, d.First, d.Second)
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

// compare compares what the key of an operation has, and what is remembered of it.
func (t *twinStore) compare(op *shard.Operation) error {
	a, ok := t.a.(comparer)
	if !ok {
		return nil // dropped
	}
	d := a.difference(t.b, op.Hash, op.Key())
	if d == nil && op.Stamp == shard.StampID {
		d = a.differentAnswer(t.b)
	}
	if d != nil {
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
	differentAnswer(other shard.Store) *ReplayDifference
	differentIDs(other shard.Store) *ReplayDifference
	differentOrigins(other shard.Store) *ReplayDifference
	eachKey(yield func(hash uint64, key []byte) bool)
	digest() (uint64, error)
}

// difference says how the state or the times of a key differ in another store of the table;
// nil if they do not.
func (st *store) difference(other shard.Store, hash uint64, key []byte) *ReplayDifference {
	b, their := st.program.binding, other.(*store)
	mine, at := st.stateOf(hash, key)
	theirs, atTheirs := their.stateOf(hash, key)
	d := &ReplayDifference{Table: b.table.name, What: ReplayState}
	switch {
	case !b.sameState(mine, theirs):
		d.First, d.Second = b.showState(mine), b.showState(theirs)
	case mine != nil && st.times != nil && !st.times.form.same(at, atTheirs):
		d.What = ReplayTimes
		d.First, d.Second = st.times.form.show(at), st.times.form.show(atTheirs)
	default:
		return nil
	}
	d.Key = b.show(key, true)
	return d
}

// stateOf is the state of a key with its cell, or nil.
func (st *store) stateOf(hash uint64, key []byte) (state, cell unsafe.Pointer) {
	if p, ok := st.slab.Find(hash, key); ok {
		return st.at(p), p
	}
	return nil, nil
}

// same says whether the times of two cells are the same. One that has not begun is that of
// a table that had no TTL then.
func (f *timeForm) same(a, b unsafe.Pointer) bool {
	for column, at := range f.each {
		if at == 0 {
			continue
		}
		x, y := *word(a, at), *word(b, at)
		if x != y && (column == columnTimer || x != 0 && y != 0) {
			return false
		}
	}
	return true
}

// show is the times of a cell as text.
func (f *timeForm) show(cell unsafe.Pointer) string {
	var parts []string
	for column, at := range f.each {
		if at == 0 {
			continue
		}
		name := map[uint8]string{columnTimer: "timer", columnTouched: "last event", columnMade: "made"}[column]
		text := "none"
		if t := *word(cell, at); t != 0 {
			text = time.Unix(0, t).UTC().Format(time.RFC3339Nano)
		}
		parts = append(parts, name+" "+text)
	}
	return strings.Join(parts, ", ")
}

// differentAnswer compares what is remembered with the id of the event that both stores have
// just done.
func (st *store) differentAnswer(other shard.Store) *ReplayDifference {
	x, y := &st.program.answered, &other.(*store).program.answered
	if x.Lost == y.Lost && bytes.Equal(x.Bytes, y.Bytes) {
		return nil
	}
	return &ReplayDifference{
		Table: st.program.binding.table.name, What: ReplayIDs,
		First: fmt.Sprintf("the answer %x", x.Bytes), Second: fmt.Sprintf("the answer %x", y.Bytes),
	}
}

// differentIDs compares the latest ids that two stores remember, as many as both have: how
// many that are may have been said otherwise at every open. Answers that one has lost are
// not compared.
func (st *store) differentIDs(other shard.Store) *ReplayDifference {
	mine, theirs := st.remembered(), other.(*store).remembered()
	n := min(mine.Len(), theirs.Len())
	next, stop := iter.Pull2(skip(theirs, theirs.Len()-n))
	defer stop()
	for id, a := range skip(mine, mine.Len()-n) {
		idTheirs, b, _ := next()
		if id == idTheirs && a.Time == b.Time && (a.Lost || b.Lost || bytes.Equal(a.Bytes, b.Bytes)) {
			continue
		}
		return &ReplayDifference{
			Table: st.program.binding.table.name, What: ReplayIDs, First: showAnswer(id, a), Second: showAnswer(idTheirs, b),
		}
	}
	return nil
}

// remembered are the ids of the store.
func (st *store) remembered() *recent.Set {
	if st.extras == nil {
		return &recent.Set{}
	}
	return &st.extras.ids
}

// skip gives the entries behind the first n.
func skip(s *recent.Set, n int) iter.Seq2[recent.ID, recent.Answer] {
	return func(yield func(recent.ID, recent.Answer) bool) {
		for id, a := range s.All {
			if n--; n < 0 && !yield(id, a) {
				return
			}
		}
	}
}

func showAnswer(id recent.ID, a recent.Answer) string {
	return fmt.Sprintf("%016x%016x at %s with the answer %x", id[0], id[1], time.Unix(0, a.Time).UTC().Format(time.RFC3339Nano), a.Bytes)
}

// differentOrigins compares how far the producers and sources have come.
func (st *store) differentOrigins(other shard.Store) *ReplayDifference {
	var mine, theirs []origin
	if st.extras != nil {
		mine = st.extras.origins
	}
	if x := other.(*store).extras; x != nil {
		theirs = x.origins
	}
	if slices.Equal(mine, theirs) {
		return nil
	}
	return &ReplayDifference{
		Table: st.program.binding.table.name, What: ReplayOrigins, First: fmt.Sprintf("%+v", mine), Second: fmt.Sprintf("%+v", theirs),
	}
}

// sameState says whether two states are the same to a snapshot: they have the same
// encoding. A codec of the user's may write the same state in two ways, so values count
// where encodings differ.
func (b *binding) sameState(x, y unsafe.Pointer) bool {
	if x == nil || y == nil {
		return x == y
	}
	one, err := b.state.append(nil, x)
	two, other := b.state.append(nil, y)
	if err != nil || other != nil {
		return false
	}
	return bytes.Equal(one, two) || b.table.state.user != nil && reflect.DeepEqual(b.state.at(x).Interface(), b.state.at(y).Interface())
}

// shownBytesMax bounds the text of a state.
const shownBytesMax = 300

func (b *binding) showState(s unsafe.Pointer) string {
	if s == nil {
		return "nothing"
	}
	text := fmt.Sprintf("%+v", b.state.at(s))
	if len(text) > shownBytesMax {
		text = text[:shownBytesMax] + "..."
	}
	return text
}

// eachKey calls yield for every key, with its hash, until it returns false.
func (st *store) eachKey(yield func(hash uint64, key []byte) bool) {
	routing := &st.program.binding.engine.routing
	st.slab.All(func(key []byte, _ unsafe.Pointer) bool { return yield(routing.Hash(key, routing.Seed), key) })
}

// digest is a sum over the keys and their states, in whatever order. Two programs that
// encode states in the same way can be compared by it.
func (st *store) digest() (sum uint64, err error) {
	img, entry := st.program.image(nil), []byte(nil)
	st.slab.All(func(key []byte, p unsafe.Pointer) bool {
		if entry, err = img.appendEntry(entry[:0], key, st.at(p)); err != nil {
			return false
		}
		sum += xxh3.Hash(entry)
		return true
	})
	return sum, err
}

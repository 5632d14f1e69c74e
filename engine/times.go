package engine

import (
	"bytes"
	"math"
	"unsafe"

	"github.com/keyfold/keyfold/internal/slab"
	"github.com/keyfold/keyfold/shard"
)

// A timeForm says what the entries of a table keep of time, in the slab behind the state:
//
//	size  field    meaning
//	   4  place    in the queue, from 1 on; 0: in none
//	   4           zero
//	   8  timer    when the timer is due; 0: there is none; if the table has timers
//	   8  touched  when the last event came; if the table has an idle time
//	   8  made     when the key was made; if the table has an age
//
// Times are those of the table's clock: nanoseconds of Unix time, without the time that
// the store was down if the table does not count it. A zero time has not begun.
type timeForm struct {
	at                   uintptr // of the place, in a cell of the slab
	timer, touched, made uintptr // of the times; 0: there is none
	words                int     // of the times
	idle, age            int64
	stops                bool // the clock, while the store is down
}

// newTimeForm is the form of a table with states that take so many bytes in a cell.
func newTimeForm(stateBytes int, ttl TTL, timers bool) timeForm {
	f := timeForm{
		at:   uintptr(stateBytes+7) &^ 7,
		idle: int64(ttl.Idle), age: int64(ttl.Age), stops: ttl.Downtime == DowntimeStops,
	}
	for _, part := range []struct {
		kept bool
		at   *uintptr
	}{{timers, &f.timer}, {f.idle > 0, &f.touched}, {f.age > 0, &f.made}} {
		if part.kept {
			f.words++
			*part.at = f.at + 8*uintptr(f.words)
		}
	}
	return f
}

// timed says that the table has timers or deadlines.
func (f *timeForm) timed() bool { return f.words > 0 }

// cellBytes is the size of a cell.
func (f *timeForm) cellBytes() int { return int(f.at) + 8*(1+f.words) }

// word is one of the times of a cell.
func word(cell unsafe.Pointer, at uintptr) *int64 { return (*int64)(unsafe.Add(cell, at)) }

// place is where the key of a cell is in the queue.
func (f *timeForm) place(cell unsafe.Pointer) *uint32 { return (*uint32)(unsafe.Add(cell, f.at)) }

// due is when what is due first of a key is.
func (f *timeForm) due(cell unsafe.Pointer) (due int64, what shard.FiringKind) {
	due, what = shard.Never, shard.FiringExpiry
	if f.touched > 0 {
		if t := *word(cell, f.touched); t != 0 {
			due = t + f.idle
		}
	}
	if f.made > 0 {
		if t := *word(cell, f.made); t != 0 {
			due = min(due, t+f.age)
		}
	}
	if f.timer > 0 {
		if t := *word(cell, f.timer); t != 0 && t <= due {
			return t, shard.FiringTimer
		}
	}
	return due, what
}

// A dueKey is a key in the queue, by its slot in the slab.
//
// Invariant: nothing of the key is due before due.
type dueKey struct {
	due  int64
	slot uint32
	hash uint32 // the low half of the key's: keys that are due at once are fired in its order
}

// times are what a store keeps of its keys to know which is due. The queue is a heap with
// four children to a node. An event that puts off what is due of its key leaves the queue
// as it is: the key is looked at again when it would have been due.
type times struct {
	form  *timeForm
	slab  *slab.Table
	queue []dueKey
	unset bool // there may be keys whose times have not begun
}

const queueChildren = 4

// timeMax is the latest time that anything can be due.
const timeMax = math.MaxInt64 - 1

// less says whether the key at i in the queue goes before that at j.
func (t *times) less(i, j int) bool {
	a, b := &t.queue[i], &t.queue[j]
	switch {
	case a.due != b.due:
		return a.due < b.due
	case a.hash != b.hash:
		return a.hash < b.hash
	}
	key, _ := t.slab.At(a.slot)
	other, _ := t.slab.At(b.slot)
	return bytes.Compare(key, other) < 0
}

// note writes down where the key at i is.
func (t *times) note(i int) { *t.form.place(t.slab.StateAt(t.queue[i].slot)) = uint32(i + 1) }

func (t *times) swap(i, j int) {
	t.queue[i], t.queue[j] = t.queue[j], t.queue[i]
	t.note(i)
	t.note(j)
}

func (t *times) up(i int) int {
	for i > 0 && t.less(i, (i-1)/queueChildren) {
		t.swap(i, (i-1)/queueChildren)
		i = (i - 1) / queueChildren
	}
	return i
}

func (t *times) down(i int) {
	for {
		first := i
		for child := queueChildren*i + 1; child <= queueChildren*(i+1) && child < len(t.queue); child++ {
			if t.less(child, first) {
				first = child
			}
		}
		if first == i {
			return
		}
		t.swap(i, first)
		i = first
	}
}

// put puts a key into the queue. It grows by a quarter, so that little of it is empty.
func (t *times) put(k dueKey) {
	if n := len(t.queue); n == cap(t.queue) {
		longer := make([]dueKey, n, n+n/4+queueChildren)
		copy(longer, t.queue)
		t.queue = longer
	}
	t.queue = append(t.queue, k)
	t.note(len(t.queue) - 1)
	t.up(len(t.queue) - 1)
}

// take takes the key at i out of the queue. Much that is empty then is given back.
func (t *times) take(i int) {
	*t.form.place(t.slab.StateAt(t.queue[i].slot)) = 0
	last := len(t.queue) - 1
	if i < last {
		t.queue[i] = t.queue[last]
		t.note(i)
	}
	t.queue = t.queue[:last]
	if i < last {
		t.down(t.up(i))
	}
	if 2*last+4*queueChildren < cap(t.queue) {
		t.queue = append(make([]dueKey, 0, last+last/4+queueChildren), t.queue...)
	}
}

// begin begins the times of a key that has none.
func (t *times) begin(cell unsafe.Pointer, now int64) {
	for _, at := range []uintptr{t.form.touched, t.form.made} {
		if at > 0 && *word(cell, at) == 0 {
			*word(cell, at) = now
		}
	}
}

// beginAll begins the times of all keys that have none.
func (t *times) beginAll(now int64) {
	t.unset = false
	for slot := range uint32(t.slab.Len()) {
		t.begin(t.slab.StateAt(slot), now)
		t.sort(slot)
	}
}

// sort puts the key in a slot into the queue, if something of it is ever due, unless it is
// there and is said to be due before.
func (t *times) sort(slot uint32) {
	cell := t.slab.StateAt(slot)
	due, _ := t.form.due(cell)
	if place := *t.form.place(cell); place > 0 {
		t.sooner(place, due)
	} else if due != shard.Never {
		t.put(dueKey{due: due, slot: slot, hash: t.slab.HashAt(slot)})
	}
}

// sooner moves a key in the queue to the front if it is due before it says.
func (t *times) sooner(place uint32, due int64) {
	if k := &t.queue[place-1]; due < k.due {
		k.due = due
		t.up(int(place) - 1)
	}
}

// first is when the first key is due, by the table's clock, or earlier.
func (t *times) first() int64 {
	if len(t.queue) == 0 {
		return shard.Never
	}
	return t.queue[0].due
}

// next looks at the first key of the queue. If it is not due as it says, it is put off.
func (t *times) next() (slot uint32, what shard.FiringKind, ok bool) {
	first := &t.queue[0]
	due, what := t.form.due(t.slab.StateAt(first.slot))
	switch {
	case due == shard.Never:
		t.take(0)
	case due > first.due:
		first.due = due
		t.down(0)
	default:
		return first.slot, what, true
	}
	return 0, 0, false
}

// forget takes a key that is about to be removed out of the queue.
func (t *times) forget(cell unsafe.Pointer) {
	if place := *t.form.place(cell); place > 0 {
		t.take(int(place) - 1)
	}
}

// moved takes note that a key was removed, and that its slot may be another's now.
func (t *times) moved(slot uint32) {
	if int(slot) == t.slab.Len() {
		return
	}
	if place := *t.form.place(t.slab.StateAt(slot)); place > 0 {
		t.queue[place-1].slot = slot
	}
}

// bytes is the memory of the queue.
func (t *times) bytes() int {
	if t == nil {
		return 0
	}
	return int(unsafe.Sizeof(*t)) + cap(t.queue)*int(unsafe.Sizeof(dueKey{}))
}

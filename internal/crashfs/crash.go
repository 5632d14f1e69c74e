package crashfs

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// sectorBytes is the unit in which a disk writes, for [Reordered].
const sectorBytes = 512

// Survival says what becomes of bytes that were written and not synced.
type Survival uint8

// The models of a crash.
const (
	// Lost: the power is cut, and nothing survives that was not synced.
	Lost Survival = iota
	// Kept: only the process is killed. Everything is there, in the page cache: what
	// was not synced is still not durable and goes with the next cut of the power.
	Kept
	// Torn: of each file, a random number of the first changes survives, and of the
	// one behind them a random number of bytes.
	Torn
	// Zeroed: sizes survive, and every byte that was not synced is zero.
	Zeroed
	// Reordered: of each file, any sectors of what was not synced survive, in no
	// order, the others are as they were; the size may be the old or the new one.
	Reordered
)

var survivalNames = [...]string{"lost", "kept", "torn", "zeroed", "reordered"}

// String is the name in lower case.
func (s Survival) String() string {
	if int(s) < len(survivalNames) {
		return survivalNames[s]
	}
	return fmt.Sprintf("survival %d", uint8(s))
}

// Model is a kind of crash. The zero Model loses all that was not synced.
type Model struct {
	Data Survival
	// Entries: of the changes of directories that were not synced a random part
	// survives, each change by itself. Otherwise none does. Kept keeps all anyway.
	Entries bool
	// Seed chooses what survives. Equal seeds choose equally.
	Seed uint64
}

// String is the model as a test may print it.
func (m Model) String() string {
	entries := ""
	if m.Entries {
		entries = "+entries"
	}
	return fmt.Sprintf("%s%s/seed=%d", m.Data, entries, m.Seed)
}

// Models lists every model with that seed: each survival, with entries that
// survive and without.
func Models(seed uint64) []Model {
	var all []Model
	for _, s := range []Survival{Lost, Torn, Zeroed, Reordered} {
		all = append(all, Model{s, false, seed}, Model{s, true, seed})
	}
	return append(all, Model{Data: Kept, Seed: seed})
}

// Crash ends the file system and returns one that holds what model leaves of it,
// with the same capacity and no faults. From the first Crash on every call on the
// old one and on its files matches [ErrCrashed], except Crash itself: it gives one
// new disk after the other, which have nothing to do with each other.
func (f *FS) Crash(model Model) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
	return f.left(model)
}

// Left is what a crash would leave now. The file system goes on.
func (f *FS) Left(model Model) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.left(model)
}

func (f *FS) left(model Model) *FS {
	c := crash{model: model, random: rand.New(rand.NewPCG(model.Seed, 0)), done: map[*node]*node{}}
	survivor := newFS(c.node(f.root))
	survivor.capacity = f.capacity
	survivor.count(survivor.root, map[*node]bool{})
	return survivor
}

// crash copies a tree. A node that has two names is copied once.
type crash struct {
	model  Model
	random *rand.Rand
	done   map[*node]*node
}

func (c *crash) node(n *node) *node {
	if n == nil {
		return nil
	}
	if copied := c.done[n]; copied != nil {
		return copied
	}
	copied := &node{perm: n.perm}
	c.done[n] = copied
	switch {
	case n.file != nil:
		copied.file = c.file(n.file)
	case c.model.Data == Kept:
		copied.dir = c.keptDir(n.dir)
	default:
		copied.dir = c.cutDir(n.dir)
	}
	return copied
}

// keptDir keeps what is not durable as what it is.
func (c *crash) keptDir(d *directory) *directory {
	kept := &directory{now: c.entries(d.now), durable: c.entries(d.durable), first: d.first}
	for _, s := range d.steps {
		sets := slices.Clone(s.sets)
		for i := range sets {
			sets[i].node = c.node(sets[i].node)
		}
		kept.steps = append(kept.steps, step{sets})
	}
	return kept
}

func (c *crash) cutDir(d *directory) *directory {
	left := maps.Clone(d.durable)
	for _, s := range d.steps {
		if c.model.Entries && c.random.IntN(2) == 0 {
			s.apply(left)
		}
	}
	now := c.entries(left)
	return &directory{now: now, durable: maps.Clone(now)}
}

// entries goes by name, so that a seed always meets the files in the same order.
func (c *crash) entries(of map[string]*node) map[string]*node {
	copied := make(map[string]*node, len(of))
	for _, name := range slices.Sorted(maps.Keys(of)) {
		copied[name] = c.node(of[name])
	}
	return copied
}

func (c *crash) file(r *regular) *regular {
	if c.model.Data == Kept {
		return &regular{data: r.data.clone(), taken: r.taken}
	}
	left := c.survivors(&r.data)
	return &regular{data: data{content: left}, taken: left.size}
}

func (c *crash) survivors(d *data) content {
	left := d.clone()
	switch c.model.Data {
	case Torn:
		c.tear(&left)
	case Zeroed:
		for _, h := range left.changes {
			off, end := h.touched() // a truncation left only zeros
			left.zero(off, end-off)
		}
	case Reordered:
		left.revert(left.durable)
		c.reorder(&left.content, d)
	default:
		left.revert(left.durable)
	}
	return left.content
}

func (c *crash) tear(d *data) {
	kept := c.random.IntN(len(d.changes) + 1)
	if kept == len(d.changes) {
		return
	}
	torn := d.changes[kept]
	d.revert(d.durable + uint64(kept) + 1)
	torn.undoAfter(&d.content, c.random.Int64N(torn.length+1))
}

// reorder puts sectors of d into the durable content left.
func (c *crash) reorder(left *content, d *data) {
	newSize := c.random.IntN(2) == 0
	share := c.random.Float64()
	sector, survives := int64(-1), false
	for _, r := range touchedRanges(d.changes) {
		for off := r.off; off < r.end; {
			if s := off / sectorBytes; s != sector {
				sector, survives = s, c.random.Float64() < share
			}
			end := min(r.end, (sector+1)*sectorBytes)
			if survives {
				left.zero(off, end-off)
				left.writeAt(d.slice(off, end), off)
			}
			off = end
		}
	}
	if newSize {
		left.resize(d.size)
	}
}

type span struct{ off, end int64 }

// touchedRanges are the bytes that changes may have changed, in order and without
// overlap.
func touchedRanges(changes []change) []span {
	all := make([]span, len(changes))
	for i, h := range changes {
		all[i].off, all[i].end = h.touched()
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.off, b.off) })
	merged := all[:0]
	for _, s := range all {
		if n := len(merged); n > 0 && s.off <= merged[n-1].end {
			merged[n-1].end = max(merged[n-1].end, s.end)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// count finds out how many names each file has and what all of them take.
func (f *FS) count(n *node, seen map[*node]bool) {
	if n.file != nil {
		n.file.names++
		if !seen[n] {
			f.used += n.file.taken
		}
		seen[n] = true
		return
	}
	if seen[n] {
		return
	}
	seen[n] = true
	for _, name := range n.dir.names() {
		f.count(n.dir.now[name], seen)
	}
}

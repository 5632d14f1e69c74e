package crashfs

import "slices"

// change is one change of a file that is not durable: a write, or a truncation. It
// keeps what it destroyed, so that undoing the changes from the last to the first
// gives back the durable content; what an append adds costs nothing.
type change struct {
	truncate bool
	off      int64  // of a write; the new size of a truncation
	length   int64  // bytes written; 0 for a truncation
	before   int64  // size of the file before
	lost     []byte // what was at off, as far as the file went
}

// undo takes the change back, which must be the last one.
func (h change) undo(c *content) {
	c.resize(h.before)
	c.writeAt(h.lost, h.off)
}

// undoAfter takes back what the write did behind its first n bytes.
func (h change) undoAfter(c *content, n int64) {
	if n == 0 {
		h.undo(c)
		return
	}
	c.resize(max(h.before, h.off+n))
	if n < int64(len(h.lost)) {
		c.writeAt(h.lost[n:], h.off+n)
	}
}

// touched is the range whose bytes the change may have changed.
func (h change) touched() (off, end int64) {
	if h.truncate {
		return min(h.off, h.before), max(h.off, h.before)
	}
	return min(h.off, h.before), h.off + h.length
}

// data is the present content of a file and how to get back to the durable one.
type data struct {
	content
	changes []change
	// durable counts the changes that have become durable: changes[0] has this
	// number. The numbers stay when a sync drops changes from the front.
	durable uint64
	// open is the number from which an append may be merged into the one before:
	// a sync under way covers what is below it, and that must stay apart.
	open uint64
}

// next is the number that the next change will have.
func (d *data) next() uint64 { return d.durable + uint64(len(d.changes)) }

func (d *data) write(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	h := change{off: off, length: int64(len(p)), before: d.size}
	h.lost = d.slice(off, off+h.length)
	if !d.merge(h) {
		d.changes = append(d.changes, h)
	}
	d.writeAt(p, off)
}

// merge makes one change out of two appends, for which a cut at any byte is the
// same as it would be with both.
func (d *data) merge(h change) bool {
	if len(d.changes) == 0 || d.next() == d.open || h.off != h.before {
		return false
	}
	last := &d.changes[len(d.changes)-1]
	if last.truncate || last.off != last.before || last.off+last.length != h.off {
		return false
	}
	last.length += h.length
	return true
}

func (d *data) truncate(size int64) {
	if size == d.size {
		return
	}
	d.changes = append(d.changes, change{
		truncate: true, off: size, before: d.size, lost: d.slice(size, d.size),
	})
	d.resize(size)
}

// beginSync gives the number of the first change that the sync does not cover.
func (d *data) beginSync() uint64 {
	d.open = d.next()
	return d.open
}

// endSync makes all changes below mark durable.
func (d *data) endSync(mark uint64) {
	if mark <= d.durable {
		return // a later sync, or a drop, was first
	}
	n := min(int(mark-d.durable), len(d.changes))
	d.durable += uint64(n)
	if n == len(d.changes) {
		d.changes = nil
		return
	}
	d.changes = slices.Delete(d.changes, 0, n)
}

// revert takes back all changes from number on.
func (d *data) revert(number uint64) {
	keep := int(number - d.durable)
	for i := len(d.changes) - 1; i >= keep; i-- {
		d.changes[i].undo(&d.content)
	}
	d.changes = d.changes[:keep]
}

// drop takes back everything that is not durable. The numbers go on, so that a
// sync that began before covers nothing of what comes after.
func (d *data) drop() {
	n := d.next()
	d.revert(d.durable)
	d.durable, d.open = n, n
}

func (d *data) clone() data {
	return data{content: d.content.clone(), changes: slices.Clone(d.changes), durable: d.durable, open: d.open}
}

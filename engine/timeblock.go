package engine

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unsafe"
)

// A block of formTimes holds the times of keys that are in the blocks of entries or
// records before it, in their order. Integers are little-endian.
//
//	offset  size  field    meaning
//	     0     8  paused   how long the store was down, in all, as far as tables count that
//	     8     4  first    number of its first key in the order of the table's blocks, from 0 on
//	    12     1  columns  1 timer, 2 touched, 4 made; 0x80: the table's clock has stopped
//	                       while the store was down
//	    13     3           zero
//	    16     …  rows     the times of a key, 8 bytes each, in that order
const timeBlockHeaderBytes = 16

// The columns of a block of times.
const (
	columnTimer   = 1
	columnTouched = 2
	columnMade    = 4
	clockStops    = 0x80
)

// columns are those of the form.
func (f *timeForm) columns() (columns uint8) {
	for column, at := range f.each {
		if at > 0 {
			columns |= column
		}
	}
	if f.stops {
		columns |= clockStops
	}
	return columns
}

// each gives the columns and where the form has them.
func (f *timeForm) each(yield func(column uint8, at uintptr) bool) {
	_ = yield(columnTimer, f.timer) && yield(columnTouched, f.touched) && yield(columnMade, f.made)
}

// tailBytes is the size of the times in a cell.
func (f *timeForm) tailBytes() int { return 8 * (1 + f.words) }

// appendRow appends the times of a cell.
func (f *timeForm) appendRow(dst []byte, cell unsafe.Pointer) []byte {
	for i := range f.words {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(*word(cell, f.at+8*uintptr(i+1))))
	}
	return dst
}

// withoutTimes appends records without the times at their ends.
func withoutTimes(dst, records []byte, stride int, f *timeForm) []byte {
	for ; len(records) > 0; records = records[stride:] {
		dst = append(dst, records[:stride-f.tailBytes()]...)
	}
	return dst
}

// timeBlocks encodes the times.
func (img *image) timeBlocks(limit int, yield func(form uint8, entries uint32, data []byte) error) error {
	row := 8 * img.times.words
	rows := max(1, limit/row)
	for first := 0; first < img.Len(); first += rows {
		n := min(rows, img.Len()-first)
		block := binary.LittleEndian.AppendUint64(img.block[:0], uint64(img.clock.Paused))
		block = binary.LittleEndian.AppendUint32(block, uint32(first))
		block = binary.LittleEndian.AppendUint32(block, uint32(img.times.columns()))
		if img.state.pointerFree {
			for slot := range n {
				block = img.times.appendRow(block, img.slab.StateAt(uint32(first+slot)))
			}
		} else {
			block = append(block, img.rows[first*row:(first+n)*row]...)
		}
		img.block = block
		if err := yield(formTimes, uint32(n), block); err != nil {
			return err
		}
	}
	return nil
}

// A timeBlock is a block of times that was taken apart.
type timeBlock struct {
	paused  int64
	first   uint32
	columns uint8
	words   int    // of a row
	data    []byte // rows
}

// takeTimes takes a block apart that holds rows of a store with so many keys.
func takeTimes(rows uint32, block []byte, keys int) (of timeBlock, err error) {
	if len(block) < timeBlockHeaderBytes {
		return of, errEntry
	}
	of = timeBlock{
		paused: int64(binary.LittleEndian.Uint64(block)), first: binary.LittleEndian.Uint32(block[8:]), columns: block[12],
		data: block[timeBlockHeaderBytes:],
	}
	of.words = bits.OnesCount8(of.columns & (columnTimer | columnTouched | columnMade))
	wrong := of.columns&^(columnTimer|columnTouched|columnMade|clockStops) != 0 || block[13]|block[14]|block[15] != 0
	if wrong || uint64(len(of.data)) != uint64(rows)*uint64(8*of.words) || uint64(of.first)+uint64(rows) > uint64(keys) {
		return of, fmt.Errorf("%w: times of %d keys from %d on, of %d, in %d bytes of columns %#x", errEntry, rows, of.first, keys, len(block), of.columns)
	}
	return of, nil
}

// row gives the times of a row by their columns, those that there are, on a clock that has
// not stopped.
func (of *timeBlock) row(n int) map[uint8]int64 {
	times, data := make(map[uint8]int64), of.data[8*of.words*n:]
	for _, column := range []uint8{columnTimer, columnTouched, columnMade} {
		if of.columns&column == 0 {
			continue
		}
		if v := int64(binary.LittleEndian.Uint64(data)); v != 0 {
			if times[column] = v; of.columns&clockStops != 0 {
				times[column] += of.paused
			}
		}
		data = data[8:]
	}
	return times
}

// loadTimes takes the times of a block over, as far as the table keeps them.
func (st *store) loadTimes(rows uint32, block []byte) error {
	of, err := takeTimes(rows, block, st.slab.Len())
	if err != nil || st.times == nil {
		return err
	}
	if of.first == 0 {
		st.times.unset = int(rows) < st.slab.Len()
	}
	data := of.data
	for slot := of.first; slot < of.first+rows; slot++ {
		data = st.times.loadRow(slot, of.columns, data, st.times.form.shift(of.columns, of.paused))
	}
	if of.first > 0 && int(of.first+rows) == st.slab.Len() {
		st.times.unset = st.times.anyUnbegun()
	}
	return nil
}

// shift is what must be added to times by a clock that may have stopped, to make them
// those of this table's clock.
func (f *timeForm) shift(columns uint8, paused int64) int64 {
	switch stopped := columns&clockStops != 0; {
	case stopped && !f.stops:
		return paused
	case !stopped && f.stops:
		return -paused
	}
	return 0
}

// loadRow takes the row of the key in a slot, and returns what is behind it.
func (t *times) loadRow(slot uint32, columns uint8, data []byte, shift int64) []byte {
	cell := t.slab.StateAt(slot)
	for column, at := range t.form.each {
		if columns&column == 0 {
			continue
		}
		if v := int64(binary.LittleEndian.Uint64(data)); v != 0 && at > 0 {
			*word(cell, at) = v + shift
		}
		data = data[8:]
	}
	t.unset = t.unset || t.unbegun(cell)
	t.sort(slot)
	return data
}

// anyUnbegun says that a time of some key has not begun.
func (t *times) anyUnbegun() bool {
	for slot := range uint32(t.slab.Len()) {
		if t.unbegun(t.slab.StateAt(slot)) {
			return true
		}
	}
	return false
}

// unbegun says that a time of the key has not begun.
func (t *times) unbegun(cell unsafe.Pointer) bool {
	f := t.form
	return f.touched > 0 && *word(cell, f.touched) == 0 || f.made > 0 && *word(cell, f.made) == 0
}

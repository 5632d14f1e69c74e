package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"unsafe"

	"github.com/keyfold/keyfold/internal/slab"
	"github.com/keyfold/keyfold/shard"
)

// An image is a frozen copy of a store. States without pointers are copied as they
// lie; those with pointers are encoded at once, because they may change.
//
// Its blocks, and thereby the snapshot, have one of two forms. States that are encoded
// as they lie in memory are in formRecords, with their keys as the slab has them, if all
// of these lie in their entries: writing and loading is then copying. All others are in
// formEntries, one after the other; extras are behind them, in forms of their own:
//
//	size    field
//	uvarint key bytes
//	n       key
//	uvarint state bytes
//	n       state, as its codec encodes it
type image struct {
	name   string // of the table
	key    *codec
	state  *codec
	times  *timeForm // of the cells; nil: nothing is kept of time
	clock  shard.Clock
	rows   []byte // the times, if the states hold pointers
	block  []byte // of times
	slab   slab.Image
	extras frozenExtras
	data   []byte // entries: all if the states hold pointers, else those of a block
	ends   []int  // of each entry in data, if that has all
	bytes  int
	err    error
}

// The forms of a block.
const (
	formEntries = 0
	formRecords = 1
	formTimes   = 4 // see timeForm
)

// image returns the image, or a new one. It may have been one of another table.
func (p *program) image(or shard.Image) *image {
	img, ok := or.(*image)
	if !ok {
		img = new(image)
	}
	img.name, img.key, img.state, img.times = p.binding.table.name, &p.binding.key, &p.binding.state, nil
	return img
}

// Reserve makes ready memory for an image.
func (p *program) Reserve(into shard.Image, bytes int) shard.Image {
	img := p.image(into)
	if img.state.pointerFree {
		img.slab.Reserve(bytes)
	}
	return img
}

// Freeze makes a copy of the store, in the memory of into if that is given.
func (st *store) Freeze(into shard.Image) shard.Image {
	img := st.program.image(into)
	img.err, img.rows = nil, img.rows[:0]
	if st.times != nil {
		img.times, img.clock = st.times.form, st.program.binding.engine.clock
	}
	img.extras.freeze(st.extras, st.program.binding.result.name)
	if img.state.pointerFree {
		st.slab.CopyTo(&img.slab)
		img.bytes = st.slab.Bytes() + len(img.extras.ids)
		return img
	}
	img.data, img.ends = img.data[:0], img.ends[:0]
	st.slab.All(func(key []byte, p unsafe.Pointer) bool {
		img.data, img.err = img.appendEntry(img.data, key, st.at(p))
		img.ends = append(img.ends, len(img.data))
		if img.times != nil {
			img.rows = img.times.appendRow(img.rows, p)
		}
		return img.err == nil
	})
	img.bytes = len(img.data) + len(img.extras.ids)
	return img
}

// appendEntry appends one entry. The error names the key: whoever is told of it can change
// or delete what cannot be kept.
func (img *image) appendEntry(dst, key []byte, s unsafe.Pointer) ([]byte, error) {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	// The length comes first, so the state is encoded behind room for the longest.
	at := len(dst)
	dst, err := img.state.append(append(dst, make([]byte, binary.MaxVarintLen32)...), s)
	encoded := max(0, len(dst)-at-binary.MaxVarintLen32)
	if err == nil && encoded > stateBytesMax {
		err = fmt.Errorf("%w: a state of %d bytes, at most %d can be kept", ErrTooLarge, encoded, stateBytesMax)
	}
	if err != nil {
		return dst[:at], fmt.Errorf("keyfold: table %q: the state of key %s cannot be encoded: %w", img.name, img.key.show(key), err)
	}
	head := binary.PutUvarint(dst[at:], uint64(encoded))
	n := copy(dst[at+head:], dst[at+binary.MaxVarintLen32:])
	return dst[:at+head+n], nil
}

// stateBytesMax is the size of the largest state in a snapshot. Nobody can know the size of
// a state with pointers without encoding it, so that an event that makes one larger is
// accepted, and the next snapshot fails. Therefore it is far beyond what is of use: each
// event copies the state.
const stateBytesMax = 512 << 20

// Len is the number of keys.
func (img *image) Len() int {
	if img.state.pointerFree {
		return img.slab.Len()
	}
	return len(img.ends)
}

// Bytes is about the encoded size.
func (img *image) Bytes() int { return img.bytes }

// Blocks encodes all entries, and then the extras, in blocks of at most about limit bytes.
func (img *image) Blocks(limit int, yield func(form uint8, entries uint32, data []byte) error) error {
	if img.err != nil {
		return img.err
	}
	err := img.entryBlocks(limit, yield)
	if err == nil && img.times != nil {
		err = img.timeBlocks(limit, yield)
	}
	if err == nil {
		err = img.extras.blocks(limit, yield)
	}
	return err
}

// entryBlocks encodes the keys and states.
func (img *image) entryBlocks(limit int, yield func(form uint8, entries uint32, data []byte) error) error {
	if !img.state.pointerFree {
		return img.cut(limit, yield)
	}
	if data, stride, ok := img.slab.Records(); ok && img.state.dense > 0 {
		if img.times != nil {
			img.data = withoutTimes(img.data[:0], data, stride, img.times)
			data, stride = img.data, stride-img.times.tailBytes()
		}
		return cutRecords(data, stride, limit, yield)
	}
	entries := uint32(0)
	img.data = img.data[:0]
	var err error
	img.slab.All(func(key []byte, p unsafe.Pointer) bool {
		if img.data, err = img.appendEntry(img.data, key, p); err != nil {
			return false
		}
		if entries++; len(img.data) >= limit {
			err = yield(formEntries, entries, img.data)
			img.data, entries = img.data[:0], 0
		}
		return err == nil
	})
	if err == nil && entries > 0 {
		err = yield(formEntries, entries, img.data)
	}
	return err
}

// cutRecords hands out records in blocks.
func cutRecords(data []byte, stride, limit int, yield func(form uint8, entries uint32, data []byte) error) error {
	for len(data) > 0 {
		n := min(max(1, limit/stride), len(data)/stride)
		if err := yield(formRecords, uint32(n), data[:n*stride]); err != nil {
			return err
		}
		data = data[n*stride:]
	}
	return nil
}

// cut hands out the encoded entries in blocks.
func (img *image) cut(limit int, yield func(form uint8, entries uint32, data []byte) error) error {
	start, entries := 0, uint32(0)
	for i, end := range img.ends {
		entries++
		if end-start < limit && i < len(img.ends)-1 {
			continue
		}
		if err := yield(formEntries, entries, img.data[start:end]); err != nil {
			return err
		}
		start, entries = end, 0
	}
	return nil
}

// errEntry says that a block whose hash is right does not hold entries.
var errEntry = errors.New("keyfold: a block of a snapshot does not hold entries")

// takeEntry reads the entry at the start of data and returns what is behind it.
func takeEntry(data []byte) (key, state, rest []byte, err error) {
	if key, rest, err = takeField(data); err == nil {
		state, rest, err = takeField(rest)
	}
	return key, state, rest, err
}

func takeField(data []byte) (field, rest []byte, err error) {
	if len(data) > 0 && data[0] < 0x80 && int(data[0]) < len(data) { // nearly always
		end := 1 + int(data[0])
		return data[1:end], data[end:], nil
	}
	n, head := binary.Uvarint(data)
	if head <= 0 || n > uint64(len(data)-head) {
		return nil, nil, errEntry
	}
	return data[head : head+int(n)], data[head+int(n):], nil
}

// Load adds the entries of a block to the store.
func (st *store) Load(form uint8, entries uint32, data []byte) error {
	switch {
	case st.program.lifting != nil && (form == formEntries || form == formRecords):
		return st.lift(form, entries, data)
	case form == formEntries:
		return st.loadEntries(entries, data)
	case form == formRecords && st.program.binding.state.pointerFree:
		return st.loadRecords(entries, data)
	case form == formTimes:
		return st.loadTimes(entries, data)
	case form == formIDs:
		return st.loadIDs(entries, data)
	case form == formOrigins:
		return st.loadOrigins(entries, data)
	}
	return fmt.Errorf("%w: its form is %d", errEntry, form)
}

// loadRecords adds records, one by one where they cannot be taken as they are.
func (st *store) loadRecords(entries uint32, data []byte) error {
	if entries == 0 {
		return nil
	}
	if st.times == nil {
		if taken, err := st.slab.AddRecords(int(entries), data); taken || err != nil {
			return err
		}
	}
	all, err := slab.EachRecord(int(entries), data, st.program.binding.stateBytes())
	if err != nil {
		return err
	}
	return st.loadEach(all)
}

// loadEach adds keys with their encoded states.
func (st *store) loadEach(all iter.Seq2[[]byte, []byte]) error {
	for key, state := range all {
		if err := st.loadEntry(key, state); err != nil {
			return err
		}
	}
	return nil
}

// loadEntries adds encoded entries.
func (st *store) loadEntries(entries uint32, data []byte) error {
	if err := st.reserve(entries, data); err != nil {
		return err
	}
	for range entries {
		key, encoded, rest, err := takeEntry(data)
		if err != nil {
			return err
		}
		if err := st.loadEntry(key, encoded); err != nil {
			return err
		}
		data = rest
	}
	if len(data) != 0 {
		return errEntry
	}
	return nil
}

// loadEntry adds a key with an encoded state.
func (st *store) loadEntry(key, encoded []byte) error {
	b := st.program.binding
	p, twice := st.slab.Add(b.engine.routing.Hash(key, b.engine.routing.Seed), key)
	if twice {
		return fmt.Errorf("%w: a key is there twice", errEntry)
	}
	if st.times != nil {
		st.times.unset = true
	}
	if err := st.loadState(p, encoded); err != nil {
		if st.program.lifting != nil {
			return fmt.Errorf("keyfold: table %q: the state of key %s: %w", b.table.name, b.show(key, true), err)
		}
		return fmt.Errorf("keyfold: table %q: state: %w", b.table.name, err)
	}
	return nil
}

// reserve makes room for as many entries like the first as data can hold, whatever
// their count is said to be.
func (st *store) reserve(entries uint32, data []byte) error {
	if entries == 0 {
		return nil
	}
	key, _, rest, err := takeEntry(data)
	if err != nil {
		return err
	}
	st.slab.Reserve(min(int(entries), len(data)/(len(data)-len(rest))), len(key))
	return nil
}

// loadState sets the state of a key that is new, at p in the slab, where it is to lie.
func (st *store) loadState(p unsafe.Pointer, encoded []byte) error {
	if lifting := st.program.lifting; lifting != nil {
		return lifting.read(encoded, st.place(p))
	}
	return st.program.binding.state.decodeValue(encoded, st.place(p))
}

// each decodes the entries of an image until yield returns false. Key and state are borrowed
// until it returns, what they refer to is not.
func (img *image) each(yield func(k, s unsafe.Pointer) bool) error {
	if img.err != nil {
		return img.err
	}
	k := img.key.new()
	if !img.state.pointerFree {
		return img.eachEncoded(k, img.state.new(), yield)
	}
	var err error
	img.slab.All(func(key []byte, p unsafe.Pointer) bool {
		if err = img.key.renew(key, k); err != nil {
			return false
		}
		return yield(k, p)
	})
	return err
}

func (img *image) eachEncoded(k, s unsafe.Pointer, yield func(k, s unsafe.Pointer) bool) error {
	for rest := img.data; len(rest) > 0; {
		key, encoded, behind, err := takeEntry(rest)
		if err != nil {
			return err
		}
		if err := errors.Join(img.key.renew(key, k), img.state.renew(encoded, s)); err != nil {
			return err
		}
		if !yield(k, s) {
			return nil
		}
		rest = behind
	}
	return nil
}

package shard

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/internal/fsys"
)

// Ids of the records of an adoption, which no table has. The layout is in the package
// comment.
const (
	beginTable  = 0xfffc
	partTable   = 0xfffd
	commitTable = 0xfffe
	// holdingBytes is the event of a begin and of a commit, partHeaderBytes the start of
	// that of a part.
	holdingBytes    = 20
	partHeaderBytes = 12
)

// A holding is what a shard has of a partition: its events up to sequence, under an
// epoch of ownership. Of two holdings of a partition the higher one counts.
type holding struct{ epoch, sequence uint64 }

func (h holding) less(than holding) bool {
	return h.epoch < than.epoch || h.epoch == than.epoch && h.sequence < than.sequence
}

// appendHolding appends the record that begins an adoption, or commits it.
func appendHolding(dst []byte, table uint16, id uint32, h holding) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(table)|holdingBytes<<32)
	dst = binary.LittleEndian.AppendUint32(dst, id)
	dst = binary.LittleEndian.AppendUint64(dst, h.epoch)
	return binary.LittleEndian.AppendUint64(dst, h.sequence)
}

// appendPart appends a part of the image of a partition. entries is those of the block
// that ends with it, or 0 if the block goes on in the next part.
func appendPart(dst []byte, id uint32, table uint16, form uint8, entries uint32, data []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, partTable|uint64(partHeaderBytes+len(data))<<32)
	dst = binary.LittleEndian.AppendUint32(dst, id)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(table)|uint32(form)<<16)
	dst = binary.LittleEndian.AppendUint32(dst, entries)
	return append(dst, data...)
}

// A Dropper is a store with memory that the garbage collector does not give back.
type Dropper interface {
	// Drop gives it back. The store is not used any more.
	Drop()
}

// drop gives back the memory of a partition that is not used any more.
func (p *Partition) drop() {
	for _, store := range p.Stores {
		if d, ok := store.(Dropper); ok {
			d.Drop()
		}
	}
}

// errAdoption says that the records of an adoption do not follow each other as they
// are written.
var errAdoption = errors.New("it is not an adoption")

// An adoption is one that recovery reads: until its commit the partition is not the
// shard's.
type adoption struct {
	part  *Partition // nil: the snapshot has it, or something later
	at    holding
	block assembly // of the image, as far as it was read
}

// adoptRecord takes a record of an adoption.
func (w *worker) adoptRecord(rec *record) error {
	r := fsys.FieldsOf(rec.event())
	id := r.U32()
	if r.Short() || int(id) >= len(w.reach) {
		return fmt.Errorf("%w: of partition %d", errAdoption, id)
	}
	if w.shard.theirs[id] != w {
		return nil
	}
	if rec.table == partTable {
		return w.loadPart(id, r.U32(), r.U32(), rec.event())
	}
	h := holding{epoch: r.U64(), sequence: r.U64()}
	if !r.Whole() {
		return errAdoption
	}
	if rec.table == beginTable {
		return w.beginAdoption(id, h)
	}
	return w.commitAdoption(id, h)
}

// beginAdoption begins one, or begins it again after one that was given up.
func (w *worker) beginAdoption(id uint32, h holding) error {
	if err := w.giveUpAdoption(id); err != nil {
		return err
	}
	a := &adoption{at: h}
	if w.reach[id].stamp.epoch < h.epoch && !w.shard.beyond(id, h) {
		a.part = newPartition(id, w.programs)
		a.part.Epoch, a.part.Sequence = h.epoch, h.sequence
	}
	w.reach[id].adopting = a
	return nil
}

// giveUpAdoption forgets one that has begun and was not committed.
func (w *worker) giveUpAdoption(id uint32) error {
	a := w.reach[id].adopting
	if a == nil || a.part == nil {
		return nil
	}
	w.reach[id].adopting = nil
	if err := w.replayQueued(); err != nil { // of its events, too
		return err
	}
	a.part.drop()
	return nil
}

func (w *worker) loadPart(id, kind, entries uint32, event []byte) error {
	a, table := w.reach[id].adopting, uint16(kind)
	if a == nil || len(event) < partHeaderBytes || int(table) >= len(w.programs) || kind>>24 != 0 {
		return fmt.Errorf("%w: a part of table %d of partition %d", errAdoption, table, id)
	}
	if a.part == nil {
		return nil
	}
	data, err := a.block.add(entries, event[partHeaderBytes:])
	if data == nil || err != nil {
		return err
	}
	return a.part.Stores[table].Load(uint8(kind>>16), entries, data)
}

// commitAdoption makes the partition the shard's.
func (w *worker) commitAdoption(id uint32, h holding) error {
	a := w.reach[id].adopting
	if a == nil || a.at != h {
		return fmt.Errorf("%w: partition %d is adopted at epoch %d, sequence %d", errAdoption, id, h.epoch, h.sequence)
	}
	w.reach[id].adopting = nil
	w.reach[id].log, w.reach[id].left = h, false
	if a.part == nil {
		return nil
	}
	if err := w.replayQueued(); err != nil { // events of what it replaces among them
		return err
	}
	if old := w.reach[id].part; old != nil {
		old.drop()
	}
	w.hold(a.part)
	return nil
}

package shard

import "encoding/binary"

// Rows are what a block is, for the events that a feed has for its own shard and that are
// of one form: hashes in one row, and in another one the records as the log holds them,
// without anything between them. So those that are accepted one behind another are logged
// by one copy. They belong to one goroutine at a time.
type Rows struct {
	to      Address
	ack     Ack
	form    OpForm
	hashes  []uint64
	records []byte
}

// NewRows returns rows for so many events of a form at most, of whom to is told.
func NewRows(form OpForm, most int, to Address, ack Ack) *Rows {
	return &Rows{
		to: to, ack: ack, form: form,
		hashes: make([]uint64, 0, most), records: make([]byte, 0, most*form.recordBytes()),
	}
}

// recordBytes is the size of the record of an event of this form.
func (f *OpForm) recordBytes() int { return recordHeaderBytes + f.key + f.event }

// InRows says that events of this form can be in rows: what is aligned in one record is so
// in all of them.
func (f *OpForm) InRows() bool { return f.recordBytes()%8 == 0 }

// Len is how many events there are.
func (r *Rows) Len() int { return len(r.hashes) }

// Clear takes all events out.
func (r *Rows) Clear() { r.hashes, r.records = r.hashes[:0], r.records[:0] }

// Add adds an event. There must be room for it.
func (r *Rows) Add(hash uint64, key, event []byte) {
	f := &r.form
	at := len(r.records)
	r.hashes = append(r.hashes, hash)
	r.records = r.records[:at+f.recordBytes()]
	record := r.records[at:]
	binary.LittleEndian.PutUint64(record, f.word)
	copy(record[recordHeaderBytes:], key[:f.key])
	copy(record[recordHeaderBytes+f.key:], event[:f.event])
}

// take fills operations with the events from a number on. They borrow their records, each
// of which can be lengthened by those behind it.
func (r *Rows) take(ops []Operation, from int) {
	n := r.form.recordBytes()
	records, table := r.records[from*n:], uint16(r.form.word)
	for i, hash := range r.hashes[from:][:len(ops)] {
		op := &ops[i]
		op.Hash, op.Record, op.keyEnd = hash, records[:n], int32(recordHeaderBytes+r.form.key)
		op.Table, op.Stamp, op.Kind = table, StampNone, KindEvent
		records = records[n:]
	}
}

package shard

import "unsafe"

// A Table is what a shard must know of a user's table.
type Table interface {
	// Bind makes the part of the table that one shard goroutine uses: scratch
	// memory that all its partitions share.
	Bind() Program
	// Schema is the number of the schema that the table writes under.
	Schema() uint32
}

// A Program is a table bound to one shard. It belongs to the shard goroutine. The
// operations that it is given are all in stores of its own.
type Program interface {
	// NewStore makes the empty state of one partition.
	NewStore() Store
	// Touch loads the index words of operations, TouchEntries then the entries that they
	// lead to, so that the cache misses of a whole run overlap. Neither changes anything.
	Touch(ops []Operation)
	TouchEntries(ops []Operation)
	// Apply carries out the operations of r from r.Next to to, in order, and counts
	// r.Next up behind each. One that is refused gets its Err, has changed nothing, and
	// is not to be logged; of an accepted event the partition counts the sequence. User
	// code runs here: a panic may pass through, and then Undo must be called before
	// anything else. r.Next is then the operation that did not end.
	Apply(r *Run, to int)
	// Undo puts back the state as it was before an operation that did not end.
	Undo()
	// Under makes the program ready to load states and to replay events that were
	// written under the schema of a number, until it is called again; at first that is
	// the present one. unplayable says why such events cannot be replayed. The error says
	// that there is no such schema.
	Under(schema uint32) (unplayable, err error)
}

// A Run is operations that are touched and applied together.
type Run struct {
	Now    int64 // the time that they are applied at, nanoseconds of Unix time, as logged
	Paused int64 // how long the store was down before, in all, as far as tables count that
	Replay bool  // the events were accepted before: Check is left out
	Next   int   // the operation to carry out, or being carried out
	Filled int   // operations in use
	Ops    [runOperations]Operation

	sooner  [runOperations]*Partition // in which something is due earlier than the alarm knows
	sooners int                       // of them
}

// An Operation is one event or read on its way to the state of its key. It is reused:
// keep nothing of it.
type Operation struct {
	Hash   uint64 // of the key; its high bits name the partition
	Record []byte // as the log holds it: header, key, event; borrowed
	Part   *Partition
	Store  Store // of its table in the partition
	Sink   Sink  // where the result goes; nil when nobody waits
	Err    error // why it was refused; nil in an operation that was not carried out yet

	Touched unsafe.Pointer // where the program left what TouchEntries has found

	Index  int32 // position in its block
	keyEnd int32 // in Record
	block  int16 // in blocks
	Table  uint16
	Stamp  Stamp
	Kind   Kind
	last   bool // of its block
}

// Key is the encoded key, borrowed.
func (op *Operation) Key() []byte { return op.Record[recordHeaderBytes:op.keyEnd] }

// Event is the encoded event without its stamp, borrowed.
func (op *Operation) Event() []byte {
	if op.Stamp == StampNone {
		return op.Record[op.keyEnd:]
	}
	return op.Record[int(op.keyEnd)+op.Stamp.bytes():]
}

// Stamped is the stamp of an operation that has one, borrowed.
func (op *Operation) Stamped() []byte { return op.Record[op.keyEnd:][:op.Stamp.bytes()] }

// KeyAndStamp is the key with the stamp behind it, borrowed.
func (op *Operation) KeyAndStamp() []byte {
	return op.Record[recordHeaderBytes : int(op.keyEnd)+op.Stamp.bytes()]
}

// touch loads what the operations of the run will need, step by step for all of them.
func (r *Run) touch(programs []Program) {
	ops := r.Ops[:r.Filled]
	for from := 0; from < len(ops); {
		to := r.sameTable(from, len(ops))
		programs[ops[from].Table].Touch(ops[from:to])
		from = to
	}
	for from := 0; from < len(ops); {
		to := r.sameTable(from, len(ops))
		programs[ops[from].Table].TouchEntries(ops[from:to])
		from = to
	}
}

// apply carries out the operations up to to.
func (r *Run) apply(programs []Program, to int) {
	for r.Next < to {
		programs[r.Ops[r.Next].Table].Apply(r, r.sameTable(r.Next, to))
	}
}

// sameTable returns where the operations from from on turn to another table, to at most.
func (r *Run) sameTable(from, to int) int {
	table := r.Ops[from].Table
	for from++; from < to && r.Ops[from].Table == table; from++ {
	}
	return from
}

// A Store is the state of one table in one partition. It belongs to the shard
// goroutine; before a shard runs, to whoever loads it.
type Store interface {
	// Freeze makes a copy that does not change any more.
	Freeze(into Image) Image
	// Load adds entries that Image.Blocks has written.
	Load(form uint8, entries uint32, data []byte) error
	// Rebind moves the store to another shard, whose program it uses from here on.
	Rebind(to Program)
	// Empty says whether there is nothing to show.
	Empty() bool
	// Len is the number of keys, Bytes the memory that they take, as figures show them.
	Len() int
	Bytes() int
}

// FormExtras is the first form of blocks that hold no keys, but what a store keeps beside
// them.
const FormExtras = 2

// A Reserver is a program that makes ready memory to freeze stores into.
type Reserver interface {
	// Reserve returns an image, into if that is given, to freeze a store of so many Bytes
	// into without waiting for memory. It may be called on any goroutine.
	Reserve(into Image, bytes int) Image
}

// A Rememberer is a program that knows events that were done before.
type Rememberer interface {
	// Known says whether an event that bears a stamp was done before, by the time now, so
	// that Apply will skip it.
	Known(op *Operation, now int64) bool
}

// An Image is a frozen copy of a store. It may be used by one goroutine at a time,
// and belongs to whoever was given it.
type Image interface {
	// Len is the number of keys.
	Len() int
	// Bytes is about the encoded size.
	Bytes() int
	// Blocks encodes all entries, in blocks of at most about limit bytes; form says
	// how. data is borrowed until yield returns.
	Blocks(limit int, yield func(form uint8, entries uint32, data []byte) error) error
}

// A Partition is a slice of the key space with its state in every table. It is as large as
// a cache line, because every event counts its sequence up.
type Partition struct {
	ID       uint32
	place    int32   // in the queue of the alarm, from 1 on; 0: in none
	Sequence uint64  // of the last event applied
	Epoch    uint64  // how often the partition has changed its shard, in this layout
	due      int64   // when something in it is due by the shard's alarm, or earlier
	watch    *watch  // of a move that has begun: remembers what is applied; else nil
	Stores   []Store // by table id
}

// newPartition makes an empty partition.
func newPartition(id uint32, programs []Program) *Partition {
	p := &Partition{ID: id, Stores: make([]Store, len(programs)), due: Never}
	for i, program := range programs {
		p.Stores[i] = program.NewStore()
	}
	return p
}

// empty says that no event was ever applied and the partition is where the manifest
// says, so that nothing need be kept.
func (p *Partition) empty() bool { return p.Sequence == 0 && p.Epoch == 0 }

func (p *Partition) holding() holding { return holding{epoch: p.Epoch, sequence: p.Sequence} }

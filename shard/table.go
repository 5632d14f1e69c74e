package shard

// A Table is what a shard must know of a user's table.
type Table interface {
	// Bind makes the part of the table that one shard goroutine uses: scratch
	// memory that all its partitions share.
	Bind() Program
}

// A Program is a table bound to one shard. It belongs to the shard goroutine.
type Program interface {
	// NewStore makes the empty state of one partition.
	NewStore() Store
	// Touch loads the index words of targets, TouchEntries then the entries that they
	// lead to, so that the cache misses of a whole run overlap. All targets are in
	// stores of this program. Neither changes anything.
	Touch(targets []Target)
	TouchEntries(targets []Target)
}

// A Target is where an operation goes: a key by its hash, in a store by its table and
// partition.
type Target struct {
	Hash  uint64
	Store Store
	Table uint16
}

// touchAll loads what the operations on targets will need, step by step for all of
// them.
func touchAll(programs []Program, targets []Target) {
	sameTable(targets, func(table uint16, same []Target) { programs[table].Touch(same) })
	sameTable(targets, func(table uint16, same []Target) { programs[table].TouchEntries(same) })
}

// sameTable splits targets where the table changes.
func sameTable(targets []Target, yield func(table uint16, same []Target)) {
	for len(targets) > 0 {
		n := 1
		for n < len(targets) && targets[n].Table == targets[0].Table {
			n++
		}
		yield(targets[0].Table, targets[:n])
		targets = targets[n:]
	}
}

// A Store is the state of one table in one partition. It belongs to the shard
// goroutine; before a shard runs, to whoever loads it.
type Store interface {
	// Apply runs the table's functions. An error refuses the event: nothing has
	// changed and nothing is to be logged. User code runs here: a panic may pass
	// through, and then Undo must be called before anything else.
	Apply(c *Call) error
	// Undo puts back the state as it was before an Apply that did not return.
	Undo()
	// Read hands the state of the key to the sink of c. User code may run here.
	Read(c *Call) error
	// Freeze makes a copy that does not change any more.
	Freeze(into Image) Image
	// Load adds entries that Image.Blocks has written.
	Load(form uint8, entries uint32, data []byte) error
	// Rebind moves the store to another shard, whose program it uses from here on.
	Rebind(to Program)
	// Len is the number of keys, Bytes the memory that they take.
	Len() int
	Bytes() int
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

// A Call is one operation on one key while it is carried out. It is reused: keep
// nothing of it.
type Call struct {
	Hash      uint64
	Key       []byte // borrowed
	Event     []byte // borrowed
	Now       int64  // nanoseconds of Unix time, as logged
	Sequence  uint64 // of this event in its partition, if it is accepted
	Partition uint32
	Op        int  // position in its block
	Replay    bool // the event was accepted before: Check is left out
	Sink      Sink // where the result goes; nil when nobody waits
}

// A Partition is a slice of the key space with its state in every table.
type Partition struct {
	ID       uint32
	Sequence uint64  // of the last event applied
	Epoch    uint64  // how often the partition has changed its shard, in this layout
	watch    *watch  // of a move that has begun: remembers what is applied; else nil
	Stores   []Store // by table id
}

// newPartition makes an empty partition.
func newPartition(id uint32, programs []Program) *Partition {
	p := &Partition{ID: id, Stores: make([]Store, len(programs))}
	for i, program := range programs {
		p.Stores[i] = program.NewStore()
	}
	return p
}

// empty says that no event was ever applied and the partition is where the manifest
// says, so that nothing need be kept.
func (p *Partition) empty() bool { return p.Sequence == 0 && p.Epoch == 0 }

func (p *Partition) holding() holding { return holding{epoch: p.Epoch, sequence: p.Sequence} }

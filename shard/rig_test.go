package shard

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/ring"
	"github.com/keyfold/keyfold/wal"
)

const rigDir = "store/shard-000"

// rigPartitions is how many partitions the shard of a rig has.
const rigPartitions = 4

// rigHash puts a key into the partition that its first byte names.
func rigHash(key []byte, seed uint64) uint64 {
	h := seed
	for _, b := range key {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return uint64(key[0]-'0')<<62 | h<<2>>2
}

// A rig is a shard on a disk that can crash, driven by hand: turn makes a turn, sync
// and write let a lane do its job. Nothing happens by itself.
type rig struct {
	testing.TB
	*Shard
	disk  *crashfs.FS
	time  int64
	state *State
	next  uint64 // id of the next event
	ops   []crashfs.Op
}

func rigConfig(r *rig) Config {
	return Config{
		ID: wal.ID{Store: [16]byte{7}, Layout: 1}, Dir: rigDir,
		Tables:  []Table{ledger{}},
		Routing: Routing{Seed: 11, Bits: 2, Hash: rigHash},
		Log: LogConfig{
			FS: r.disk, Device: wal.Direct, SegmentBytes: 4 << 10, FrameBytesMax: 512 << 10,
			SnapshotBytes: 1 << 40,
		},
		Inbox: 1 << 16, Wait: WaitConfig{CPU: -1}, Slots: &Slots{}, Workers: 2,
		Clock: func() int64 { return r.time },
	}
}

func allPartitions() []uint32 { return []uint32{0, 1, 2, 3} }

// newRig makes a shard in an empty directory.
func newRig(tb testing.TB, change ...func(*Config)) *rig {
	tb.Helper()
	r := &rig{TB: tb, disk: crashfs.New(), time: 1000}
	if err := r.create(change...); err != nil {
		tb.Fatal(err)
	}
	return r
}

func (r *rig) create(change ...func(*Config)) error {
	cfg := rigConfig(r)
	for _, f := range change {
		f(&cfg)
	}
	state, err := Create(cfg, allPartitions(), nil, Clock{Opened: r.time})
	if err != nil {
		return err
	}
	return r.assume(cfg, state)
}

func (r *rig) assume(cfg Config, state *State) (err error) {
	r.state = state
	r.Shard, err = New(cfg, state)
	return err
}

// onDisk is the rig's configuration on another disk.
func (r *rig) onDisk(disk *crashfs.FS) Config {
	cfg := r.cfg
	cfg.Log.FS, cfg.Slots = disk, &Slots{}
	return cfg
}

// reopen makes a shard of what is on disk.
func (r *rig) reopen(disk *crashfs.FS) (*rig, error) {
	next := &rig{TB: r.TB, disk: disk, time: r.time, next: r.next}
	cfg := r.onDisk(disk)
	cfg.Clock = func() int64 { return next.time }
	state, err := Recover(cfg, allPartitions(), nil)
	if err != nil {
		return nil, fmt.Errorf("recover: %w", err)
	}
	if _, err := Resolve([]*State{state}, rigPartitions); err != nil {
		return nil, err
	}
	if err := Resume(cfg, state); err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	return next, next.assume(cfg, state)
}

// crash ends the disk and makes a shard of what model leaves.
func (r *rig) crash(model crashfs.Model) *rig {
	r.Helper()
	next, err := r.reopen(r.disk.Crash(model))
	if err != nil {
		r.Fatalf("after %v: %v", model, err)
	}
	return next
}

// sync lets the sync lane do the job it was given, and write the snapshot lane. The
// shard sees it in its next turn.
func (r *rig) sync() bool  { return r.log.lane.step() }
func (r *rig) write() bool { return r.round.lane.step() }

// settle makes turns and lets both lanes work until nothing is left to do, as a
// shard does that has time to park.
func (r *rig) settle() {
	r.Helper()
	for range 10_000 {
		busy := r.turn()
		if r.life.finished {
			return
		}
		busy = r.sync() || busy
		busy = r.write() || busy
		if busy {
			continue
		}
		r.flush()
		if !r.startSync() {
			return
		}
	}
	r.Fatal("the shard does not settle")
}

// trace records the operations on the disk from now on.
func (r *rig) trace() {
	r.ops = nil
	r.disk.SetHook(func(op crashfs.Op) error {
		r.ops = append(r.ops, op)
		return nil
	})
}

// where is the position in the trace of the first operation of a kind whose name has
// the given part, from position on; -1 if there is none.
func (r *rig) where(from int, kind crashfs.Kind, part string) int {
	for i := max(from, 0); i < len(r.ops); i++ {
		if r.ops[i].Kind == kind && strings.Contains(filepath.ToSlash(r.ops[i].Name), part) {
			return i
		}
	}
	return -1
}

// An ev is an event, or a read if verb is 0, as a test writes it.
type ev struct {
	key  string // its first byte is the number of the partition
	verb byte
	id   uint64
	pad  int // more bytes in the event
}

// add is a plain event.
func add(key string) ev { return ev{key: key, verb: verbAdd} }

// adds is n plain events for a key.
func adds(key string, n int) []ev { return slices.Repeat([]ev{add(key)}, n) }

func (r *rig) block(to Address, ack Ack, evs []ev) []byte {
	b := make([]byte, BlockHeaderBytes)
	PutBlockHeader(b, to, len(evs), ack)
	for _, e := range evs {
		at := len(b)
		kind := KindRead
		if e.verb != 0 {
			kind = KindEvent
		}
		b = BeginOp(b, rigHash([]byte(e.key), r.cfg.Routing.Seed), 0, kind, []byte(e.key))
		if e.verb != 0 {
			if e.id == 0 {
				r.next++
				e.id = r.next
			}
			b = binary.LittleEndian.AppendUint64(append(b, e.verb), e.id)
			b = append(b, make([]byte, e.pad)...)
		}
		b, _ = EndOp(b, at)
	}
	return b
}

// A call is a caller that has sent a block and can be asked how it is doing.
type call struct {
	r       *rig
	slot    *Slot
	to      Address
	outcome ring.Outcome
	refused []error
	// refusedAt says where in the block those were.
	refusedAt []int
	read      []int
	released  int
}

func (c *call) Refused(at int, _ uint16, _, _ []byte, err error) {
	c.refused, c.refusedAt = append(c.refused, err), append(c.refusedAt, at)
}
func (c *call) Released() { c.released++ }

// done says whether the shard has completed the block.
func (c *call) done() bool { return c.slot.phase.Load() == slotDone }

// want fails the test unless the block is completed, or is not, as done says.
func (c *call) want(what string, done bool) {
	c.r.Helper()
	if c.done() != done {
		c.r.Fatalf("%s: acknowledged is %v, want %v", what, c.done(), done)
	}
}

// send puts a block into the inbox and returns its caller. No turn is made.
func (r *rig) send(ack Ack, evs ...ev) *call {
	r.Helper()
	c := &call{r: r, slot: r.cfg.Slots.New()}
	c.slot.Sink = c
	c.to = c.slot.Arm()
	c.outcome = r.post(r.block(c.to, ack, evs))
	return c
}

func (r *rig) post(b []byte) ring.Outcome {
	claim, outcome := r.inbox.Claim(0, len(b))
	if outcome != ring.Claimed {
		return outcome
	}
	copy(claim.Bytes, b)
	r.inbox.Publish(claim)
	r.Wake()
	return outcome
}

// accept sends events, lets the shard settle, and fails the test unless all is well.
func (r *rig) accept(evs ...ev) {
	r.Helper()
	c := r.send(Durable, evs...)
	r.settle()
	c.want("settled", true)
	if c.slot.err != nil || len(c.refused) > 0 {
		r.Fatal(c.slot.err, c.refused)
	}
}

// snapshot takes a snapshot and fails the test unless that works.
func (r *rig) snapshot() {
	r.Helper()
	err := fmt.Errorf("no answer")
	r.ask(func(e error) { err = e })
	r.settle()
	if err != nil {
		r.Fatal("snapshot: ", err)
	}
}

// contents is what the shard holds, by partition.
func contents(parts []*Partition) [rigPartitions][]entry {
	var all [rigPartitions][]entry
	for _, p := range parts {
		all[p.ID] = history(p)
	}
	return all
}

// same fails the test unless the shard holds what want says.
func (r *rig) same(what string, want [rigPartitions][]entry) {
	r.Helper()
	have := contents(r.owned)
	for id := range have {
		if !slices.Equal(have[id], want[id]) {
			r.Fatalf("%s: partition %d holds\n%v, want\n%v", what, id, have[id], want[id])
		}
	}
	r.checkSequences()
}

// checkSequences fails the test if an event is missing, or there twice.
func (r *rig) checkSequences() {
	r.Helper()
	for _, p := range r.owned {
		all := history(p)
		for i, e := range all {
			if e.sequence != uint64(i+1) {
				r.Fatalf("partition %d holds %v: event %d is missing or there twice", p.ID, all, i+1)
			}
		}
		if p.Sequence != uint64(len(all)) {
			r.Fatalf("partition %d is at event %d and holds %d", p.ID, p.Sequence, len(all))
		}
	}
}

// names lists what lies below a directory of the shard.
func (r *rig) names(dir string) []string {
	r.Helper()
	var names []string
	entries, err := r.disk.ReadDir(filepath.Join(rigDir, dir))
	if err != nil {
		r.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// rot changes one byte of a file, offset from its start or, if negative, its end.
func rot(tb testing.TB, disk fsys.FS, path string, offset int64) {
	tb.Helper()
	f, err := disk.OpenFile(path, 2, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		tb.Fatal(err)
	}
	if offset < 0 {
		offset += size
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, offset); err != nil {
		tb.Fatal(err)
	}
	b[0] ^= 0x40
	if _, err := f.WriteAt(b, offset); err != nil {
		tb.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		tb.Fatal(err)
	}
}

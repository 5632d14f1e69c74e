package shard

import (
	"errors"
	"fmt"
	"os"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/wal"
)

// A Change is an accepted event as its log has it. Its slices are borrowed until the
// next one is read.
type Change struct {
	Partition uint32
	Table     uint16 // its id
	Stamp     Stamp
	Schema    uint32 // number of the schema of the table that it was written under
	Sequence  uint64 // in the partition
	Time      int64  // that it was applied at, Unix nanoseconds
	Key       []byte
	Stamped   []byte // what the stamp says
	Event     []byte

	record []byte // all of it
	keyEnd int32  // in record
}

// Operation makes op the one that carries the change out again, in a store of its table.
func (c *Change) Operation(op *Operation, hash uint64, part *Partition, store Store) {
	*op = Operation{
		Hash: hash, Record: c.record, keyEnd: c.keyEnd, Part: part, Store: store, Table: c.Table, Stamp: c.Stamp, Kind: c.Stamp.kind(),
	}
}

// A TrailSource says where the log of one shard is.
type TrailSource struct {
	FS      fsys.FS
	ID      wal.ID
	Routing Routing
	// Dir is the directory of the shard; it is asked again when files are not there.
	Dir func() string
	// Live is the shard if it is running; nil: nobody writes to the log.
	Live *Shard
	// Mine says of which partitions changes are wanted; nil: of all.
	Mine func(partition uint32) bool
	// Since leaves out generations that ended before this time, Unix nanoseconds.
	Since int64
	// Images says who wants the images of partitions that were adopted; nil: nobody.
	Images *Images
}

// A trail reads the changes in the log of one shard, in its order, from the oldest
// generation that is there. It reads files only, of which it holds one open, and nothing
// waits for it: what is removed under it is gone.
type trail struct {
	source   TrailSource
	config   Config  // as far as reading needs it
	current  Current // as CURRENT was read last
	place    place
	body     stretch           // what is left of the last frame
	base     map[uint32]uint64 // what position must have before the generation is read
	starts   *starts           // to be checked behind the frames that are copied; nil: it is done
	eras     []era             // of the generation
	sequence []uint64          // by partition: of the last event that was read
	claims   map[uint32]*claim
	ready    *claim // one whose commit was read: its events come next
	blocked  bool   // when it was asked last
	lacks    lack   // by what
}

// A place is how far a trail has come.
type place struct {
	number uint64      // of the generation that is read, or was read last
	reader *wal.Reader // of it; nil: the next one is to be entered
	frame  uint64      // the last one that was read
	limit  uint64      // the last one there will be, if that is known
	closed bool        // it is
}

// A stretch is records that are handed out one after the other.
type stretch struct {
	rest []byte
	now  int64
}

// A lack is what position must have before a trail goes on.
type lack struct {
	partition uint32
	sequence  uint64
}

// A claim is a partition on its way into the log: what it holds of it counts when the
// commit is there. Without one the old owner's log goes on, perhaps with other events.
// What is remembered is bounded by what a move fetches before it gives up.
type claim struct {
	partition uint32
	begin     uint64   // the last event of the image
	sequence  uint64   // of the last event that was handed out, from begin on
	events    stretch  // with time marks
	logged    int64    // the time of the last one
	image     *Adopted // nil: it is not wanted
}

// A step is what an attempt to read a change has come to.
type step uint8

const (
	stepChange  step = iota
	stepEnd          // nothing more is durable
	stepBlocked      // the next change has others before it, which are in another log
)

func newTrail(source TrailSource, partitions int) *trail {
	t := &trail{source: source, sequence: make([]uint64, partitions), claims: make(map[uint32]*claim)}
	t.config = Config{ID: source.ID, Log: LogConfig{FS: source.FS}}
	return t
}

// next reads the next change that position does not have. A change whose predecessor is
// missing there blocks the trail.
func (t *trail) next(position []uint64, c *Change) (step, error) {
	for {
		switch {
		case t.ready != nil:
			if position[t.ready.partition] < t.ready.begin {
				t.lacks = lack{t.ready.partition, t.ready.begin}
				return stepBlocked, nil
			}
			if err := t.giveImage(t.ready, position); err != nil {
				return stepEnd, err
			}
			got, err := t.takeClaimed(position, c)
			if got != stepEnd || err != nil {
				return got, err
			}
			t.ready = nil
		case len(t.body.rest) > 0:
			got, err := t.takeLogged(position, c)
			if got != stepEnd || err != nil {
				return got, err
			}
		case !t.reached(position):
			return stepBlocked, nil
		default:
			if got, err := t.nextFrame(); got != stepChange || err != nil {
				return got, err
			}
		}
	}
}

// reached says that position has everything that came before the generation. Whatever it
// begins with is durable in this log or in others.
func (t *trail) reached(position []uint64) bool {
	for id, sequence := range t.base {
		if position[id] < sequence {
			t.lacks = lack{id, sequence}
			return false
		}
		delete(t.base, id)
	}
	return true
}

// takeClaimed takes the next event of the claim that was committed.
func (t *trail) takeClaimed(position []uint64, c *Change) (step, error) {
	a := t.ready
	var rec record
	for len(a.events.rest) > 0 {
		rest, err := takeRecord(a.events.rest, &rec)
		if err != nil {
			return stepEnd, err
		}
		if rec.table == timeMarkTable {
			a.events.now = rec.time()
			a.events.rest = rest
			continue
		}
		switch next := a.sequence + 1; {
		case next > position[a.partition]+1:
			t.lacks = lack{a.partition, next - 1}
			return stepBlocked, nil
		case next == position[a.partition]+1:
			t.fill(c, &rec, a.partition, next, a.events.now)
			a.sequence, a.events.rest = next, rest
			return stepChange, nil
		}
		a.sequence++
		a.events.rest = rest
	}
	return stepEnd, nil
}

// takeLogged takes the next record of the frame. It returns stepEnd when there is no
// change in what is left of it.
func (t *trail) takeLogged(position []uint64, c *Change) (step, error) {
	var rec record
	for len(t.body.rest) > 0 && t.ready == nil {
		rest, err := takeRecord(t.body.rest, &rec)
		if err != nil {
			return stepEnd, t.damaged(err)
		}
		switch rec.table {
		case timeMarkTable:
			t.body.now = rec.time()
		case clockTable:
		case beginTable, partTable, commitTable:
			err = t.adoptRecord(&rec, position)
		default:
			if got := t.takeEvent(&rec, position, c); got != stepEnd {
				if got == stepChange {
					t.body.rest = rest
				}
				return got, nil
			}
		}
		if err != nil {
			return stepEnd, t.damaged(err)
		}
		t.body.rest = rest
	}
	return stepEnd, nil
}

// takeEvent takes an event, which is handed out if it is the next one of its partition.
func (t *trail) takeEvent(rec *record, position []uint64, c *Change) step {
	routing := &t.source.Routing
	id := routing.Partition(routing.Hash(rec.key(), routing.Seed))
	if t.source.Mine != nil && !t.source.Mine(id) {
		return stepEnd
	}
	if a := t.claims[id]; a != nil {
		if t.body.now != a.logged || len(a.events.rest) == 0 {
			a.events.rest = appendTimeMark(a.events.rest, t.body.now)
			a.logged = t.body.now
		}
		a.events.rest = append(a.events.rest, rec.bytes...)
		return stepEnd
	}
	next := t.sequence[id] + 1
	switch have := position[id]; {
	case next > have+1:
		t.lacks = lack{id, next - 1}
		return stepBlocked
	case next <= have:
		t.sequence[id] = next
		return stepEnd
	}
	t.sequence[id] = next
	t.fill(c, rec, id, next, t.body.now)
	return stepChange
}

func (t *trail) fill(c *Change, rec *record, id uint32, sequence uint64, now int64) {
	event := rec.event()
	*c = Change{
		Partition: id, Table: rec.table, Stamp: rec.stamp, Sequence: sequence, Time: now,
		Key: rec.key(), Stamped: event[:rec.stamp.bytes()], Event: event[rec.stamp.bytes():],
		Schema: eraOf(t.eras, t.place.frame).of(rec.table), record: rec.bytes, keyEnd: rec.keyEnd,
	}
}

// adoptRecord takes a record of an adoption.
func (t *trail) adoptRecord(rec *record, position []uint64) error {
	r := fsys.FieldsOf(rec.event())
	id := r.U32()
	if r.Short() || int(id) >= len(t.sequence) {
		return fmt.Errorf("%w: of partition %d", errAdoption, id)
	}
	if t.source.Mine != nil && !t.source.Mine(id) {
		return nil
	}
	if rec.table == partTable {
		return t.keepPart(t.claims[id], rec)
	}
	h := holding{epoch: r.U64(), sequence: r.U64()}
	if rec.table == beginTable {
		t.claims[id] = &claim{partition: id, begin: h.sequence, sequence: h.sequence}
		t.keepImage(t.claims[id], position)
		return nil
	}
	a := t.claims[id]
	if a == nil {
		return fmt.Errorf("%w: partition %d is adopted at epoch %d, and its begin is not there", errAdoption, id, h.epoch)
	}
	delete(t.claims, id)
	t.sequence[id] = h.sequence
	t.ready = a
	return nil
}

// nextFrame reads the next frame that holds records, or the header of the next generation.
func (t *trail) nextFrame() (step, error) {
	for {
		got, err := t.readFrame()
		if err == nil {
			return got, nil
		}
		// What was removed, or is being removed, looks like damage. Then the next generation
		// that is there is the next to read, and its header tells whether something is missing.
		if again := t.reload(); again != nil {
			return stepEnd, errors.Join(err, again)
		}
		if t.named() != nil {
			return stepEnd, err
		}
		t.leave()
	}
}

func (t *trail) readFrame() (step, error) {
	for {
		if t.place.reader == nil {
			if ok, err := t.enter(); !ok || err != nil {
				return stepEnd, err
			}
		}
		limit, over, err := t.horizon()
		if err != nil {
			return stepEnd, err
		}
		f, ok, err := t.place.reader.Next(limit)
		switch {
		case err != nil:
			return stepEnd, err
		case ok && f.Number == 0:
			err = t.begin(f)
			return stepChange, err
		case ok:
			if err := t.join(f.Number - 1); err != nil {
				return stepEnd, err
			}
			t.place.frame = f.Number
			t.body = stretch{rest: f.Body, now: f.Time}
			if len(f.Body) > 0 {
				return stepChange, nil
			}
		case over:
			if err := t.join(t.place.frame); err != nil {
				return stepEnd, err
			}
			t.leave()
		default:
			return stepEnd, nil
		}
	}
}

// horizon is the last frame of the generation that may be read, and whether there will
// never be another one.
func (t *trail) horizon() (limit uint64, over bool, err error) {
	if t.place.closed {
		return t.place.limit, true, nil
	}
	if live := t.source.Live; live != nil {
		if at := live.readable(); at.generation == t.place.number {
			return at.frame, false, nil
		}
	}
	if g := t.named(); g != nil && g.Sealed {
		t.place.limit, t.place.closed = g.End.Frame, true
		return t.place.limit, true, nil
	}
	if t.source.Live == nil {
		return t.judge()
	}
	if err := t.reload(); err != nil {
		return 0, false, err
	}
	if g := t.named(); g != nil && g.Sealed {
		return t.horizon()
	}
	// It held no event when the next one began, and was left out.
	t.place.limit, t.place.closed = t.place.frame, true
	return t.place.limit, true, nil
}

// judge finds the end of a generation that nobody has sealed and nobody writes.
func (t *trail) judge() (limit uint64, over bool, err error) {
	result, err := wal.Scan(t.source.FS, t.config.generationDir(t.place.number), t.source.ID, t.place.number, wal.ScanOptions{}, nil)
	if err != nil {
		return 0, false, err
	}
	t.place.limit, t.place.closed = result.End.Frame, true
	return t.place.limit, true, nil
}

// enter opens the generation behind the last one that was read, if it is there.
func (t *trail) enter() (bool, error) {
	g := t.following()
	if g == nil {
		if t.source.Live == nil && len(t.current.Generations) > 0 {
			return false, nil
		}
		if err := t.reload(); err != nil {
			return false, err
		}
		if g = t.following(); g == nil {
			return false, nil
		}
	}
	if live := t.source.Live; live != nil && live.readable().generation < g.Number {
		return false, nil
	}
	t.place = place{number: g.Number, reader: wal.NewReader(t.source.FS, t.config.generationDir(g.Number), t.source.ID, g.Number)}
	return true, nil
}

// leave ends with a generation.
func (t *trail) leave() {
	_ = t.close()
	t.place.reader, t.starts, t.base = nil, nil, nil
	t.body = stretch{}
}

func (t *trail) close() error {
	if t.place.reader == nil {
		return nil
	}
	return t.place.reader.Close()
}

// reload reads CURRENT again. That it is gone means that all of the log was removed.
func (t *trail) reload() error {
	t.config.Dir = t.source.Dir()
	current, err := readCurrent(t.source.FS, t.config.Dir, t.source.ID)
	if errors.Is(err, os.ErrNotExist) {
		t.current = Current{}
		return nil
	}
	if err == nil {
		t.current = current
	}
	return err
}

// named is what CURRENT said of the generation that is read, or nil.
func (t *trail) named() *Generation {
	return t.find(func(g *Generation) bool { return g.Number == t.place.number })
}

// following is the oldest generation behind the one that was read.
func (t *trail) following() *Generation {
	return t.find(func(g *Generation) bool {
		old := g.Sealed && g.Ended != 0 && g.Ended < t.source.Since
		return g.Number > t.place.number && !old
	})
}

func (t *trail) find(is func(*Generation) bool) *Generation {
	for _, list := range [][]Generation{t.current.Kept, t.current.Generations} {
		for i := range list {
			if is(&list[i]) {
				return &list[i]
			}
		}
	}
	return nil
}

// begin takes what a generation begins with: the sequences of its partitions in front of
// its first frame.
func (t *trail) begin(f wal.FrameView) error {
	s, err := decodeStarts(f.Start.Payload)
	if err != nil {
		return err
	}
	t.base = make(map[uint32]uint64)
	for id, at := range s.held {
		if int(id) >= len(t.sequence) {
			return fmt.Errorf("%w: it begins with partition %d, which does not exist", errJoin, id)
		}
		if t.source.Mine == nil || t.source.Mine(id) {
			t.base[id] = at.sequence
		}
	}
	t.body, t.starts, t.eras = stretch{now: f.Time}, s, s.eras
	if s.copied > 0 {
		if err := t.discount(s.copied); err != nil {
			return err
		}
	} else {
		clear(t.claims) // an adoption ends in the generation that it began in, or in a copy of it
	}
	for id, sequence := range t.base {
		t.sequence[id] = sequence
		if sequence == 0 {
			delete(t.base, id)
		}
	}
	return nil
}

// discount takes the events of the frames that were copied off the sequences that the
// header gives, which are those behind them. CURRENT names no generation in which they are
// not durable.
func (t *trail) discount(copied uint64) error {
	d := discounting{trail: t, back: make(map[uint32]uint64), adopting: make(map[uint32]uint64), adopted: make(map[uint32]bool)}
	for id, a := range t.claims {
		d.adopting[id] = a.begin
	}
	ahead := wal.NewReader(t.source.FS, t.config.generationDir(t.place.number), t.source.ID, t.place.number)
	defer ahead.Close()
	for {
		f, ok, err := ahead.Next(copied)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if f.Number == 0 {
			continue
		}
		var rec record
		for rest := f.Body; len(rest) > 0; {
			if rest, err = takeRecord(rest, &rec); err != nil {
				return err
			}
			d.take(&rec)
		}
	}
	for id, n := range d.back {
		if _, held := t.base[id]; held && !d.adopted[id] {
			t.base[id] -= min(n, t.base[id])
		}
	}
	return nil
}

// A discounting counts the events of frames that were copied.
type discounting struct {
	trail    *trail
	back     map[uint32]uint64 // by partition: events of it
	adopting map[uint32]uint64 // the last event of an image
	adopted  map[uint32]bool   // in these frames: what was before the image is in another log
}

func (d *discounting) take(rec *record) {
	switch rec.table {
	case timeMarkTable, partTable, clockTable:
	case beginTable, commitTable:
		r := fsys.FieldsOf(rec.event())
		id, _, sequence := r.U32(), r.U64(), r.U64()
		if rec.table == beginTable {
			d.adopting[id] = sequence
			return
		}
		if _, held := d.trail.base[id]; held && !d.adopted[id] {
			d.trail.base[id] = d.adopting[id]
			d.adopted[id] = true
		}
		delete(d.adopting, id)
	default:
		routing := &d.trail.source.Routing
		id := routing.Partition(routing.Hash(rec.key(), routing.Seed))
		if _, claimed := d.adopting[id]; !claimed {
			d.back[id]++
		}
	}
}

// join checks that the generation joins what was read before, behind the frames that are
// copied.
func (t *trail) join(frame uint64) error {
	s := t.starts
	if s == nil || s.copied != frame {
		return nil
	}
	t.starts = nil
	for id, at := range s.held {
		if t.source.Mine != nil && !t.source.Mine(id) {
			continue
		}
		if have := t.sequence[id]; have != at.sequence {
			return fmt.Errorf("%w: it begins behind event %d of partition %d, but what was copied ends with %d", errJoin, at.sequence, id, have)
		}
	}
	return nil
}

// damaged says where a log is not what it should be.
func (t *trail) damaged(err error) error {
	return damaged(t.config.generationDir(t.place.number), err)
}

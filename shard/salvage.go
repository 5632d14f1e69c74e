package shard

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/snapshot"
	"github.com/keyfold/keyfold/wal"
)

// A Remnant is what a shard that may be damaged still has of a partition, without a hole:
// an image, and the events behind it.
type Remnant struct {
	Partition       uint32
	Epoch, Sequence uint64
	image           []remnantRecord // parts of an adoption
	imaged          holding         // of the image; nothing if the events begin with the first
	events          []remnantRecord
	frozen          bool // the log went on behind damage: what comes does not follow
}

func (r *Remnant) holding() holding { return holding{r.Epoch, r.Sequence} }

// A remnantRecord is a record of a log, with what says what it means.
type remnantRecord struct {
	order   int // in the log of the shard
	time    int64
	clock   Clock // of the log, at an event
	written schemas
	bytes   []byte
}

// A Wreck is what can be read of a shard that may be damaged. It is read more than once:
// from each snapshot on, because what is damaged behind one may be whole before another.
type Wreck struct {
	cfg     *Config
	current Current
	Notes   []string          // what was met, in words
	Known   map[uint32]uint64 // the highest sequence that anything says a partition had
	Time    int64             // the latest that was seen
	Paused  int64             // for how long the store was down, as the logs count it
}

// OpenWreck finds out what there is in the directory of a shard. Without a CURRENT file
// that can be read it goes by the names and headers of what is there.
func OpenWreck(cfg Config) *Wreck {
	w := &Wreck{cfg: &cfg, Known: make(map[uint32]uint64)}
	current, err := readCurrent(cfg.Log.FS, cfg.Dir, cfg.ID)
	if err == nil {
		w.current = current
		return w
	}
	w.note("%v; what is there is taken by its names and headers", err)
	w.current = Current{ID: cfg.ID, Generations: cfg.chained(), Snapshots: cfg.numbers("snapshot", ".snap")}
	return w
}

func (w *Wreck) note(format string, a ...any) {
	if text := fmt.Sprintf(format, a...); !slices.Contains(w.Notes, text) {
		w.Notes = append(w.Notes, text)
	}
}

// numbers are those of the entries of a directory, in order.
func (c *Config) numbers(dir, suffix string) (all []uint64) {
	entries, err := c.Log.FS.ReadDir(filepath.Join(c.Dir, dir))
	if err != nil {
		return nil
	}
	for _, entry := range entries {
		name := entry.Name()
		if n, err := strconv.ParseUint(name[:max(0, len(name)-len(suffix))], 10, 63); err == nil && name[len(name)-len(suffix):] == suffix {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

// chained are the generations that lead to the newest one that has a header, as the
// headers say.
func (c *Config) chained() (all []Generation) {
	next := wal.End{}
	for _, number := range slices.Backward(c.numbers("log", "")) {
		if next.Generation != 0 && number != next.Generation {
			continue
		}
		var start *wal.Start
		_, _ = wal.Scan(c.Log.FS, c.generationDir(number), c.ID, number, wal.ScanOptions{}, func(f wal.FrameView) error {
			start = f.Start
			return errHeaderSeen
		})
		if start == nil {
			continue
		}
		g := Generation{Number: number}
		if next.Generation == number {
			g.Sealed, g.End = true, next
		}
		all = append(all, g)
		if next = start.Previous; next.Generation == 0 {
			break
		}
	}
	slices.Reverse(all)
	return all
}

var errHeaderSeen = errors.New("the header was seen")

// Bases are the snapshots that a salvage can begin with; 0 is none, and the whole log.
func (w *Wreck) Bases() []uint64 {
	bases := slices.Clone(w.current.Snapshots)
	slices.Reverse(bases)
	return append(bases, 0)
}

// Read gives what is left of each partition if one begins with a base. keep says of which
// partitions the bytes are kept in memory; of the others only how far they go.
func (w *Wreck) Read(base uint64, owned []uint32, keep func(partition uint32) bool) map[uint32]*Remnant {
	r := &wreckReader{
		Wreck: w, base: base, keep: keep,
		parts: make(map[uint32]*Remnant), adoptions: make(map[uint32]*Remnant), log: make(map[uint32]holding),
	}
	for _, id := range owned {
		r.parts[id] = &Remnant{Partition: id}
	}
	if base != 0 && !r.load() {
		return nil
	}
	first := true
	for _, g := range w.current.Generations {
		if g.Number >= base {
			r.generation(g, first)
			first = false
		}
	}
	return r.parts
}

// A wreckReader reads a wreck once.
type wreckReader struct {
	*Wreck
	base      uint64
	keep      func(uint32) bool
	parts     map[uint32]*Remnant
	adoptions map[uint32]*Remnant
	log       map[uint32]holding // where the log is, whether or not there is a remnant
	stamped   map[uint32]bool    // in the snapshot
	eras      []era
	copied    uint64
	held      map[uint32]holding // of the newest generation, until it was compared
	order     int
	clock     Clock
}

// load takes the partitions of the base, each for itself. It says whether there are any.
func (r *wreckReader) load() bool {
	path := r.cfg.snapshotPath(r.base)
	file, err := snapshot.Open(r.cfg.Log.FS, path, r.cfg.snapshotID(r.base))
	if err != nil {
		r.note("snapshot %d is of no use: %v", r.base, err)
		return false
	}
	defer file.Close()
	written, err := schemasOf(file.Header())
	if err != nil {
		r.note("snapshot %d is of no use: %v", r.base, err)
		return false
	}
	r.stamped = make(map[uint32]bool)
	for _, image := range file.Partitions() {
		id := image.Partition
		r.stamped[id] = true
		r.know(id, image.Sequence)
		p := &Remnant{Partition: id, Epoch: image.Epoch, Sequence: image.Sequence}
		p.imaged = p.holding()
		err := file.Load(id, func(table uint16, form uint8, entries uint32, data []byte) error {
			if r.keep(id) {
				p.addBlock(id, table, form, entries, data, written)
			}
			return nil
		})
		if r.parts[id] = p; err != nil {
			r.note("%v", err)
			delete(r.parts, id)
		}
	}
	return true
}

// remnantPartBytes is how large the parts of a block are made.
const remnantPartBytes = 64 << 10

// addBlock adds a block as parts of an adoption.
func (p *Remnant) addBlock(id uint32, table uint16, form uint8, entries uint32, data []byte, written schemas) {
	for len(data) > remnantPartBytes {
		p.image = append(p.image, remnantRecord{written: written, bytes: appendPart(nil, id, table, form, 0, data[:remnantPartBytes])})
		data = data[remnantPartBytes:]
	}
	p.image = append(p.image, remnantRecord{written: written, bytes: appendPart(nil, id, table, form, entries, data)})
}

func (r *wreckReader) know(id uint32, sequence uint64) { r.Known[id] = max(r.Known[id], sequence) }

// broken says that the log goes on behind something that is missing: no remnant grows any
// more, but by being adopted anew.
func (r *wreckReader) broken() {
	for _, p := range r.parts {
		p.frozen = true
	}
	clear(r.adoptions)
}

func (r *wreckReader) generation(g Generation, first bool) {
	options := wal.ScanOptions{}
	if g.Sealed {
		options.Seal = &g.End
	}
	last := uint64(0)
	r.order = int(g.Number) << 32 // the same from whatever base it is read
	result, err := wal.Scan(r.cfg.Log.FS, r.cfg.generationDir(g.Number), r.cfg.ID, g.Number, options, func(f wal.FrameView) error {
		last = f.Number
		if f.Number == 0 {
			return r.begin(f.Start, first)
		}
		err := r.frame(f)
		r.compare(f.Number)
		return err
	})
	if err != nil || result.Void {
		if err == nil {
			err = errors.New("it has no header")
		}
		r.note("the log of generation %d is whole up to frame %d: %v", g.Number, last, err)
		r.broken()
	}
}

// begin takes the header of a generation.
func (r *wreckReader) begin(start *wal.Start, first bool) error {
	r.Time = max(r.Time, start.Time)
	s, err := decodeStarts(start.Payload)
	if err != nil {
		return err
	}
	r.eras, r.copied, r.held = s.eras, s.copied, s.held
	r.pause(Clock{Opened: start.Time, Paused: s.paused})
	for id, at := range s.held {
		r.know(id, at.sequence)
	}
	if !first {
		r.compare(0)
		return nil
	}
	r.held = nil
	for id, at := range s.held {
		r.log[id] = at
		p := r.parts[id]
		switch {
		case p == nil:
		case r.base != 0 && !r.stamped[id], p.holding().less(at): // it had left, or what is before is missing
			delete(r.parts, id)
		}
	}
	return nil
}

// compare takes over where the header of a generation says that the log is, behind the
// frames that were copied. What reaches so far goes on, also behind something that is
// missing.
func (r *wreckReader) compare(frame uint64) {
	if r.held == nil || r.copied != frame {
		return
	}
	maps.Copy(r.log, r.held)
	for id, p := range r.parts {
		p.frozen = p.holding().less(r.held[id])
	}
	r.held = nil
}

// pause takes over what the log says of the clock.
func (r *wreckReader) pause(c Clock) {
	r.clock = c
	r.Paused = max(r.Paused, c.Paused)
}

func (r *wreckReader) frame(f wal.FrameView) (err error) {
	now, written := f.Time, eraOf(r.eras, f.Number)
	r.Time = max(r.Time, now) // also of a frame without records: until then the store was up
	var rec record
	for rest := f.Body; len(rest) > 0; {
		if rest, err = takeRecord(rest, &rec); err != nil {
			return err
		}
		r.order++
		switch {
		case rec.table == timeMarkTable:
			now = rec.time()
		case rec.table == clockTable:
			c, _ := rec.clock()
			r.pause(c)
		case rec.table == beginTable, rec.table == partTable, rec.table == commitTable:
			err = r.adopt(&rec, written)
		case rec.table < controlTables:
			r.event(&rec, now, written)
		}
		if err != nil {
			return err
		}
		r.Time = max(r.Time, now)
	}
	return nil
}

// event adds an event to the remnant that it follows.
func (r *wreckReader) event(rec *record, now int64, written schemas) {
	routing := &r.cfg.Routing
	id := routing.Partition(routing.Hash(rec.key(), routing.Seed))
	p := r.adoptions[id]
	if p == nil {
		at := r.log[id]
		at.sequence++
		r.log[id] = at
		r.know(id, at.sequence)
		if p = r.parts[id]; p == nil || p.frozen || p.Epoch != at.epoch || p.Sequence+1 != at.sequence {
			return // it is in the image, or does not follow
		}
	}
	p.Sequence++
	if r.keep(id) {
		p.events = append(p.events, remnantRecord{order: r.order, time: now, clock: r.clock, written: written, bytes: slices.Clone(rec.bytes)})
	}
}

// adopt takes a record of an adoption.
func (r *wreckReader) adopt(rec *record, written schemas) error {
	f := fsys.FieldsOf(rec.event())
	id := f.U32()
	p := r.adoptions[id]
	if rec.table == partTable {
		if p != nil && r.keep(id) {
			p.image = append(p.image, remnantRecord{written: written, bytes: slices.Clone(rec.bytes)})
		}
		return nil
	}
	h := holding{epoch: f.U64(), sequence: f.U64()}
	if !f.Whole() {
		return errAdoption
	}
	if rec.table == beginTable {
		r.adoptions[id] = &Remnant{Partition: id, Epoch: h.epoch, Sequence: h.sequence, imaged: h}
		return nil
	}
	delete(r.adoptions, id)
	r.log[id] = h
	r.know(id, h.sequence)
	if p == nil || p.holding() != h {
		return nil // it began in what is missing
	}
	if have := r.parts[id]; have == nil || have.holding().less(h) {
		r.parts[id] = p
	}
	return nil
}

// Better says whether a has more of a partition than b.
func (a *Remnant) Better(b *Remnant) bool { return b == nil || b.holding().less(a.holding()) }

// CreateSalvaged makes the directory of a shard with remnants, which were read with their
// bytes. All is durable when it returns. The order of events is kept within partitions.
func CreateSalvaged(cfg Config, remnants []*Remnant, now, paused int64) error {
	for _, dir := range []string{"log", "snapshot"} {
		if err := fsys.MkdirAll(cfg.Log.FS, filepath.Join(cfg.Dir, dir), 0o700); err != nil {
			return fmt.Errorf("shard: %w", err)
		}
	}
	frames := framesOf(remnants, now, len(cfg.Tables))
	clock := salvagedClock{paused: pausedBefore(frames, paused)}
	starts := &starts{held: make(map[uint32]holding), gone: make(map[uint32]uint64), paused: clock.paused}
	for i, f := range frames {
		starts.eras = appendEra(starts.eras, uint64(i+1), f.written)
	}
	starts.eras = appendEra(starts.eras, eraOpen, cfg.schemas())
	w, err := cfg.createGeneration(1, wal.End{}, now, starts.encode())
	if err != nil {
		return err
	}
	for i, f := range frames {
		if i == len(frames)-1 {
			clock.end = &Clock{Opened: now, Paused: paused}
		}
		if err := f.write(w, &clock); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	if _, err := w.Sync(); err != nil {
		return errors.Join(err, w.Close())
	}
	end := w.End()
	if err := w.Close(); err != nil {
		return fmt.Errorf("shard: %w", err)
	}
	current := Current{ID: cfg.ID, Generations: []Generation{{Number: 1, Sealed: true, End: end}}}
	return current.write(cfg.Log.FS, cfg.Dir)
}

// A remnantFrame is one frame of a salvaged log.
type remnantFrame struct {
	written schemas
	records []remnantRecord
	bytes   int
}

// framesOf puts images first, as adoptions, and then the events in the order of the log
// that they come from.
func framesOf(remnants []*Remnant, now int64, tables int) (frames []*remnantFrame) {
	add := func(rec remnantRecord) {
		if rec.written == nil {
			rec.written = make(schemas, tables)
		}
		if n := len(frames); n == 0 || !slices.Equal(frames[n-1].written, rec.written) || frames[n-1].bytes > FrameTargetBytes {
			frames = append(frames, &remnantFrame{written: rec.written})
		}
		f := frames[len(frames)-1]
		f.records, f.bytes = append(f.records, rec), f.bytes+len(rec.bytes)
	}
	var events []remnantRecord
	for _, p := range remnants {
		events = append(events, p.events...)
		if p.imaged == (holding{}) {
			continue
		}
		written := schemas(nil)
		if len(p.image) > 0 {
			written = p.image[0].written
		}
		h := holding{epoch: 1, sequence: p.imaged.sequence} // of the new layout
		add(remnantRecord{time: now, written: written, bytes: appendHolding(nil, beginTable, p.Partition, h)})
		for _, part := range p.image {
			part.time = now
			add(part)
		}
		add(remnantRecord{time: now, written: written, bytes: appendHolding(nil, commitTable, p.Partition, h)})
	}
	slices.SortStableFunc(events, func(a, b remnantRecord) int { return a.order - b.order })
	for _, e := range events {
		add(e)
	}
	return frames
}

// A salvagedClock writes what the log says of how long the store was down: what is due of
// a key depends on what it was when its events came.
type salvagedClock struct {
	paused int64  // that the log says so far
	end    *Clock // that it has to say at its end, if that is near
}

// set appends the record of a clock if it is another one.
func (s *salvagedClock) set(dst []byte, c Clock) []byte {
	if c.Paused == s.paused {
		return dst
	}
	s.paused = c.Paused
	return appendClock(dst, c, nil)
}

// pausedBefore is what the log has to say in front of its first event.
func pausedBefore(frames []*remnantFrame, paused int64) int64 {
	for _, f := range frames {
		for _, rec := range f.records {
			if rec.order > 0 {
				return rec.clock.Paused
			}
		}
	}
	return paused
}

func (f *remnantFrame) write(w *wal.Writer, clock *salvagedClock) error {
	var frame wal.Frame
	frame.Reset()
	frame.Time = f.records[0].time
	now := frame.Time
	for _, rec := range f.records {
		if rec.time != now {
			now = rec.time
			frame.Bytes = appendTimeMark(frame.Bytes, now)
		}
		if rec.order > 0 {
			frame.Bytes = clock.set(frame.Bytes, rec.clock)
		}
		frame.Bytes = append(frame.Bytes, rec.bytes...)
		frame.Count++
	}
	if clock.end != nil {
		frame.Bytes = clock.set(frame.Bytes, *clock.end)
	}
	if err := w.Room(frame.Len()); err != nil {
		return err
	}
	_, err := w.Append(&frame)
	return err
}

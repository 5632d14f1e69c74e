package shard

import (
	"context"
	"errors"
	"fmt"
	"weak"

	"github.com/keyfold/keyfold/internal/mutant"
	"github.com/keyfold/keyfold/snapshot"
)

// errNotHere is returned when a partition is to leave a shard that does not have it.
var errNotHere = errors.New("keyfold: the shard does not have the partition")

// ErrTooBusy is returned by Move when a partition takes events faster than they can be
// handed to its new owner. Nothing has changed.
var ErrTooBusy = errors.New("keyfold: the partition takes events faster than it can be copied")

const (
	// copyBytes is how much is frozen in one turn, at least.
	copyBytes = 64 << 10
	// watchBytesMax bounds the events that are remembered between two visits of the mover.
	watchBytesMax = 16 << 20
	// catchUps is how often the mover fetches such events before it makes the cut.
	catchUps = 8
	// catchUpBytes are few enough to make it.
	catchUpBytes = 32 << 10
)

const (
	// togetherMax and togetherBytes are how many partitions, and how much of their images,
	// move by one cut. A cut costs three waits, whatever moves by it; what moves by it waits
	// until all of it is there.
	togetherMax   = 64
	togetherBytes = 1 << 20
)

// A watch remembers the events of partitions that are being copied.
type watch struct {
	records  []byte // with time marks
	now      int64  // of the last record
	cut      bool   // what comes now is bounded by the inbox
	overflow bool
}

func (w *watch) add(now int64, record []byte) {
	if w.overflow || !w.cut && len(w.records) > watchBytesMax {
		w.overflow = true
		return
	}
	if now != w.now || len(w.records) == 0 {
		w.records = appendTimeMark(w.records, now)
		w.now = now
	}
	w.records = append(w.records, record...)
}

// paces bound what a move does at a time.
type paces struct {
	part  int // bytes that go into the log of the new owner in one turn
	sync  int // the same between two syncs: those who wait for one wait for this, too
	cargo int // bytes of images that the mover encodes before the new owner logs them
	held  int // operations that were held back and are carried out in one turn, and more if more come
}

// usual are the paces of all moves but those of tests. BenchmarkMove shows part and sync.
var usual = paces{part: 8 << 10, sync: 32 << 10, cargo: 512 << 10, held: 2 * runOperations}

// A Mover moves partitions between the shards of an engine, one move at a time. What memory
// a move takes, the next one uses again, unless the garbage collector comes first. The zero
// Mover is ready.
type Mover struct {
	luggage weak.Pointer[luggage]
	paces   paces // zero: the usual ones
}

// luggage is the memory of a mover.
type luggage struct {
	copies  []copied
	records []byte
	part    []byte
}

// Move moves partitions from one running shard to another, and returns when the new
// owner's log holds them, durably: the first of those that it is given, at most
// togetherMax, and fewer if they are large. reroute is called on the goroutine of the old
// owner with those that move; it replaces the route and returns the position in the inbox
// of the old owner behind which no event of them can be claimed any more. Neither shard
// may be stopped before Move returns, and a shard takes part in one Move at a time.
//
// If reroute was not called, an error means that nothing has changed. Afterwards it means
// that a shard has failed, and that the partitions cannot be used before the next open.
func (m *Mover) Move(from, to *Shard, partitions []uint32, reroute func(moved []uint32) (cut uint64)) error {
	t := &Transit{from: from, to: to, paces: m.paces, settled: make(chan struct{})}
	if t.paces == (paces{}) {
		t.paces = usual
	}
	if t.luggage = m.luggage.Value(); t.luggage == nil {
		t.luggage = &luggage{}
	}
	m.luggage = weak.Pointer[luggage]{} // a shard may still use that of a move that gives up
	departed := false
	defer func() { // a codec may not return
		if !departed {
			t.giveUp()
		}
	}()
	if err := t.prepare(partitions); err != nil {
		return err
	}
	m.luggage = weak.Make(t.luggage)
	t.luggage = nil
	if err := t.depart(reroute); err != nil {
		return err
	}
	departed = true
	<-t.settled
	return t.err
}

// visit runs f on the goroutine of a shard and returns its error.
func visit(s *Shard, f func() error) error {
	err := error(&PanicError{}) // f did not return
	if gone := s.Tell(context.Background(), func() {
		defer s.meter.stop(jobMove, s.meter.start())
		s.moving.visited = true
		if err = s.Err(); err == nil {
			err = &PanicError{}
			err = f()
		}
	}); gone != nil {
		return gone
	}
	return err
}

// prepare has the new owner log the partitions while the old one goes on with them.
func (t *Transit) prepare(partitions []uint32) error {
	if err := t.admit(); err != nil {
		return err
	}
	left, err := t.weigh(partitions[:min(len(partitions), togetherMax)])
	if err != nil {
		return err
	}
	for bytes := 0; len(left) > 0 && bytes < togetherBytes; {
		n, sum := 0, 0
		for ; n < len(left) && sum < copyBytes; n++ {
			sum += left[n].bytes
		}
		copies, err := t.copySome(left[:n])
		for i := 0; err == nil && i < len(copies); i++ {
			err = t.logCopy(&copies[i])
		}
		if err != nil {
			return err
		}
		left, bytes = left[n:], bytes+sum
	}
	if err := t.unload(); err != nil {
		return err
	}
	if err := t.catchUp(); err != nil {
		return err
	}
	if err := t.sync(); err != nil {
		return err
	}
	// The events up to the copy are in no other log. A crash that takes them back, and
	// not the adoption, would leave a hole in the history.
	return syncUpTo(t.from, func() uint64 { return t.copied })
}

// A weighed is a partition that is to be copied.
type weighed struct {
	id     uint32
	bytes  int
	stores []int // bytes, by table
}

// weigh finds out how large partitions are.
func (t *Transit) weigh(partitions []uint32) (all []weighed, err error) {
	err = visit(t.from, func() error {
		for _, id := range partitions {
			p := t.from.parts[id]
			if p.ID == noPartition {
				return fmt.Errorf("%w: partition %d, shard %d", errNotHere, id, t.from.cfg.Index)
			}
			w := weighed{id: id}
			for _, store := range p.Stores {
				w.stores = append(w.stores, store.Bytes())
				w.bytes += store.Bytes()
			}
			all = append(all, w)
		}
		return nil
	})
	return all, err
}

// copied is a partition as it was frozen.
type copied struct {
	at     holding // of the new owner
	id     uint32
	images []Image // by table
}

// copySome freezes partitions, in one turn of their owner. The memory is there before.
func (t *Transit) copySome(partitions []weighed) ([]copied, error) {
	for len(t.luggage.copies) < len(partitions) {
		t.luggage.copies = append(t.luggage.copies, copied{images: make([]Image, len(t.from.programs))})
	}
	copies := t.luggage.copies[:len(partitions)]
	for i, p := range partitions {
		for table, program := range t.from.programs {
			if r, ok := program.(Reserver); ok {
				copies[i].images[table] = r.Reserve(copies[i].images[table], p.stores[table])
			}
		}
	}
	err := visit(t.from, func() error {
		for i := range copies {
			p, c := t.from.parts[partitions[i].id], &copies[i]
			c.id, c.at = p.ID, holding{epoch: p.Epoch + 1, sequence: p.Sequence}
			for table, store := range p.Stores {
				c.images[table] = store.Freeze(c.images[table])
			}
			t.from.watch(p, &t.watch)
			t.passengers = append(t.passengers, passenger{id: c.id, epoch: c.at.epoch})
		}
		t.copied = t.from.log.openOrdinal()
		return nil
	})
	return copies, err
}

// logCopy logs the begin of an adoption and the image.
func (t *Transit) logCopy(c *copied) error {
	if err := t.load(appendHolding(nil, beginTable, c.id, c.at)); err != nil {
		return err
	}
	if mutant.CommitBeforeParts {
		if err := t.load(appendHolding(nil, commitTable, c.id, c.at)); err != nil {
			return err
		}
	}
	for table, image := range c.images {
		if err := t.logImage(c.id, uint16(table), image); err != nil {
			return err
		}
	}
	return nil
}

// admit makes the new owner ready. A snapshot round that wants to begin goes first, and
// none begins before the adoption has ended, so that both are in the same generation.
func (t *Transit) admit() error {
	admitted := make(chan struct{})
	err := visit(t.to, func() error {
		t.to.moving.next = func() {
			t.to.moving.in = t
			close(admitted)
		}
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-admitted:
		return nil
	case <-t.to.life.stopped:
		return t.to.gone()
	}
}

// load adds a record to those that the new owner is to log, and unloads when they are many.
func (t *Transit) load(record []byte) error {
	l := t.luggage
	l.records = append(l.records, record...)
	if len(l.records) < t.paces.cargo {
		return nil
	}
	return t.unload()
}

// unload has the new owner log what was loaded.
func (t *Transit) unload() error {
	err := t.ship(t.luggage.records)
	t.luggage.records = t.luggage.records[:0]
	return err
}

// ship has the new owner log records, some a turn, and waits for that.
func (t *Transit) ship(records []byte) error {
	c := &t.cargo
	c.records, c.over = records, make(chan error, 1)
	if err := visit(t.to, func() error { t.to.moving.loading = c; return nil }); err != nil {
		return err
	}
	select {
	case err := <-c.over:
		return err
	case <-t.to.life.stopped:
		return t.to.gone()
	}
}

// A cargo is records for the log of the new owner. It belongs to that until it is over.
type cargo struct {
	bundle
	unsynced int    // bytes that went there since the last sync
	behind   uint64 // frame that must be durable before the next goes there
	over     chan error
}

// loadSome logs the next records of a cargo: few enough for one turn, and no more between
// two syncs than others who wait for these may notice. These syncs are not hastened, so
// that callers who were just told come along as they do with any group.
func (s *Shard) loadSome() bool {
	c, paces := s.moving.loading, &s.moving.in.paces
	if !s.failed() && s.log.durable < c.behind {
		return false
	}
	before := len(c.records)
	err := s.logBundle(&c.bundle, paces.part)
	if c.unsynced += before - len(c.records); err == nil && c.unsynced >= paces.sync {
		if s.cfg.Log.Sync != SyncAlways {
			s.force()
		}
		c.unsynced, c.behind = 0, s.log.openOrdinal()
	}
	if err != nil || len(c.records) == 0 {
		s.moving.loading = nil
		c.over <- err
		s.moving.visited = true
	}
	return true
}

// logImage logs the image of a table.
func (t *Transit) logImage(id uint32, table uint16, image Image) error {
	return image.Blocks(blockBytes, func(form uint8, entries uint32, data []byte) error {
		if len(data) > snapshot.DataBytesMax {
			return fmt.Errorf("shard: a block of %d bytes, at most %d can be moved", len(data), snapshot.DataBytesMax)
		}
		for len(data) > 0 {
			n, count := min(len(data), t.paces.part), uint32(0)
			if n == len(data) {
				count = entries
			}
			t.luggage.part = appendPart(t.luggage.part[:0], id, table, form, count, data[:n])
			if err := t.load(t.luggage.part); err != nil {
				return err
			}
			data = data[n:]
		}
		return nil
	})
}

// catchUp fetches what came since the copy, until that is little.
func (t *Transit) catchUp() error {
	for range catchUps {
		var records []byte
		err := visit(t.from, func() error {
			w := &t.watch
			if w.overflow {
				return t.tooBusy()
			}
			records, w.records = w.records, nil
			return nil
		})
		if err == nil {
			err = t.ship(records)
		}
		if err != nil || len(records) < catchUpBytes {
			return err
		}
	}
	return nil
}

// sync waits until what the new owner has logged is durable, so that the commit needs
// only a short sync.
func (t *Transit) sync() error { return syncUpTo(t.to, t.to.log.openOrdinal) }

// syncUpTo waits until the log of a shard is durable up to a frame, of which ordinal tells
// the number on the goroutine of the shard.
func syncUpTo(s *Shard, ordinal func() uint64) error {
	done := make(chan error, 1)
	err := visit(s, func() error {
		if upTo := ordinal(); s.log.durable < upTo {
			s.await(upTo, func(err error) { done <- err })
			s.force()
		} else {
			done <- nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-s.life.stopped:
		return s.gone()
	}
}

func (t *Transit) tooBusy() error {
	return fmt.Errorf("%w: partition %d", ErrTooBusy, t.passengers[0].id)
}

// depart makes the cut: from here on events of the partitions go to the new owner.
func (t *Transit) depart(reroute func(moved []uint32) (cut uint64)) error {
	var moved []uint32
	for _, p := range t.passengers {
		moved = append(moved, p.id)
	}
	if err := visit(t.to, func() error { t.to.moving.expects = true; return nil }); err != nil {
		return err
	}
	return visit(t.from, func() error {
		if t.watch.overflow {
			return t.tooBusy()
		}
		t.watch.cut = true
		for _, id := range moved {
			t.from.alarm.enroll(t.from.parts[id]) // which takes it out
		}
		t.cut = reroute(moved)
		t.from.moving.out = t
		return nil
	})
}

// giveUp takes back what a move has prepared. The begins that the new owner's log holds
// are void without a commit.
func (t *Transit) giveUp() {
	_ = visit(t.to, func() error {
		m := &t.to.moving
		if m.next = nil; m.in == t {
			m.in, m.expects, m.loading = nil, false, nil
		}
		return nil
	})
	_ = visit(t.from, func() error {
		for _, p := range t.passengers {
			if part := t.from.parts[p.id]; part.watch == &t.watch {
				t.from.unwatch(part)
			}
		}
		t.watch.records = nil
		return nil
	})
}

package shard

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyfold/keyfold/internal/mutant"
)

// errNotHere is returned when a partition is to leave a shard that does not have it.
var errNotHere = errors.New("keyfold: the shard does not have the partition")

// ErrTooBusy is returned by Move when a partition takes events faster than they can be
// handed to its new owner. Nothing has changed.
var ErrTooBusy = errors.New("keyfold: the partition takes events faster than it can be copied")

const (
	// partBytes is how much of an image goes into the log of the new owner in one turn, and
	// syncBytes how much between two syncs: those who wait for one wait for this, too.
	// BenchmarkMove shows both.
	partBytes = 64 << 10
	syncBytes = 128 << 10
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

// Move moves partitions from one running shard to another, and returns when the new
// owner's log holds them, durably: the first of those that it is given, at most
// togetherMax, and fewer if they are large. reroute is called on the goroutine of the old
// owner with those that move; it replaces the route and returns the position in the inbox
// of the old owner behind which no event of them can be claimed any more. Neither shard
// may be stopped before Move returns, and a shard takes part in one Move at a time.
//
// If reroute was not called, an error means that nothing has changed. Afterwards it means
// that a shard has failed, and that the partitions cannot be used before the next open.
func Move(from, to *Shard, partitions []uint32, reroute func(moved []uint32) (cut uint64)) error {
	t := &Transit{from: from, to: to, settled: make(chan struct{})}
	departed := false
	defer func() { // a codec may not return
		if !departed {
			t.giveUp()
		}
	}()
	if err := t.prepare(partitions); err != nil {
		return err
	}
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
	bytes := 0
	for left := partitions[:min(len(partitions), togetherMax)]; len(left) > 0 && bytes < togetherBytes; {
		copies, err := t.copySome(left)
		if err != nil {
			return err
		}
		for i := range copies {
			n, err := t.logCopy(&copies[i])
			if err != nil {
				return err
			}
			bytes += n
		}
		left = left[len(copies):]
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

// copied is a partition as it was frozen.
type copied struct {
	at     holding // of the new owner
	id     uint32
	images []Image
}

// copySome freezes the first of the partitions, until that is enough for one turn.
func (t *Transit) copySome(partitions []uint32) (copies []copied, err error) {
	err = visit(t.from, func() error {
		bytes := 0
		for _, id := range partitions {
			p := t.from.parts[id]
			if p.ID == noPartition {
				return fmt.Errorf("%w: partition %d, shard %d", errNotHere, id, t.from.cfg.Index)
			}
			c := copied{id: id, at: holding{epoch: p.Epoch + 1, sequence: p.Sequence}}
			for _, store := range p.Stores {
				image := store.Freeze(nil)
				c.images = append(c.images, image)
				bytes += image.Bytes()
			}
			t.from.watch(p, &t.watch)
			copies = append(copies, c)
			t.passengers = append(t.passengers, passenger{id: id, epoch: c.at.epoch})
			if bytes >= partBytes {
				break
			}
		}
		t.copied = t.from.log.openOrdinal()
		return nil
	})
	return copies, err
}

// logCopy logs the begin of an adoption and the image, and returns how large that is.
func (t *Transit) logCopy(c *copied) (bytes int, err error) {
	if err := t.load(appendHolding(nil, beginTable, c.id, c.at)); err != nil {
		return 0, err
	}
	if mutant.CommitBeforeParts {
		if err := t.load(appendHolding(nil, commitTable, c.id, c.at)); err != nil {
			return 0, err
		}
	}
	for table, image := range c.images {
		bytes += image.Bytes()
		if err := t.logImage(c.id, uint16(table), image); err != nil {
			return bytes, err
		}
	}
	return bytes, nil
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

// A cargo is records of copies for the log of the new owner, which go there together.
type cargo struct {
	records  []byte
	ends     []int // of each of them
	unsynced int   // bytes that went there since the last sync
}

// load adds a record to the cargo, and unloads that when it is large.
func (t *Transit) load(record []byte) error {
	c := &t.cargo
	c.records = append(c.records, record...)
	c.ends = append(c.ends, len(c.records))
	if len(c.records) < partBytes {
		return nil
	}
	return t.unload()
}

// unload has the new owner log the cargo.
func (t *Transit) unload() error {
	c := &t.cargo
	err := visit(t.to, func() error {
		at := 0
		for _, end := range c.ends {
			if err := t.to.logRecord(c.records[at:end]); err != nil {
				return err
			}
			at = end
		}
		return nil
	})
	c.unsynced += len(c.records)
	c.records, c.ends = c.records[:0], c.ends[:0]
	if err != nil || c.unsynced < syncBytes {
		return err
	}
	c.unsynced = 0
	return t.sync()
}

// logImage logs the image of a table.
func (t *Transit) logImage(id uint32, table uint16, image Image) error {
	var part []byte
	return image.Blocks(blockBytes, func(form uint8, entries uint32, data []byte) error {
		if len(data) > imageBlockMax {
			return fmt.Errorf("shard: a block of %d bytes, at most %d can be moved", len(data), imageBlockMax)
		}
		for len(data) > 0 {
			n, count := min(len(data), partBytes), uint32(0)
			if n == len(data) {
				count = entries
			}
			part = appendPart(part[:0], id, table, form, count, data[:n])
			if err := t.load(part); err != nil {
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
		p := &parcel{}
		err := visit(t.from, func() error {
			w := &t.watch
			if w.overflow {
				return t.tooBusy()
			}
			p.records, w.records = w.records, nil
			return nil
		})
		if err == nil {
			err = visit(t.to, func() error { return t.to.logEvents(p) })
		}
		if err != nil || len(p.records) < catchUpBytes {
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
			m.in, m.expects = nil, false
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

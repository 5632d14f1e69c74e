package shard

import (
	"context"
	"errors"
	"fmt"
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

// A watch remembers the events of a partition that is being copied.
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

// Move moves a partition from one running shard to another, and returns when the new
// owner's log holds it, durably. reroute is called on the goroutine of the old owner; it
// replaces the route and returns the position in the inbox of the old owner behind which
// no event of the partition can be claimed any more. Neither shard may be stopped before
// Move returns, and a shard takes part in one Move at a time.
//
// If reroute was not called, an error means that nothing has changed. Afterwards it means
// that a shard has failed, and that the partition cannot be used before the next open.
func Move(from, to *Shard, partition uint32, reroute func() (cut uint64)) error {
	t := &Transit{Partition: partition, from: from, to: to, settled: make(chan struct{})}
	departed := false
	defer func() { // a codec may not return
		if !departed {
			t.giveUp()
		}
	}()
	if err := t.prepare(); err != nil {
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
		if err = s.Err(); err == nil {
			err = &PanicError{}
			err = f()
		}
	}); gone != nil {
		return gone
	}
	return err
}

// prepare has the new owner log the partition while the old one goes on with it.
func (t *Transit) prepare() (err error) {
	if err := t.admit(); err != nil {
		return err
	}
	var images []Image
	var at holding
	err = visit(t.from, func() error {
		p := t.from.parts[t.Partition]
		if p.ID == noPartition {
			return fmt.Errorf("%w: partition %d, shard %d", errNotHere, t.Partition, t.from.cfg.Index)
		}
		for _, store := range p.Stores {
			images = append(images, store.Freeze(nil))
		}
		p.watch = &watch{}
		at = holding{epoch: p.Epoch + 1, sequence: p.Sequence}
		return nil
	})
	if err != nil {
		return err
	}
	t.Epoch = at.epoch
	if err := t.log(appendHolding(nil, beginTable, t.Partition, at)); err != nil {
		return err
	}
	for table, image := range images {
		if err := t.logImage(uint16(table), image); err != nil {
			return err
		}
	}
	if err := t.catchUp(); err != nil {
		return err
	}
	return t.sync()
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

// log logs a record at the new owner.
func (t *Transit) log(raw []byte) error {
	return visit(t.to, func() error { return t.to.logRecord(raw) })
}

// logImage logs the image of a table.
func (t *Transit) logImage(table uint16, image Image) error {
	var part []byte
	unsynced := 0
	return image.Blocks(blockBytes, func(form uint8, entries uint32, data []byte) error {
		if len(data) > imageBlockMax {
			return fmt.Errorf("shard: a block of %d bytes, at most %d can be moved", len(data), imageBlockMax)
		}
		for len(data) > 0 {
			n, count := min(len(data), partBytes), uint32(0)
			if n == len(data) {
				count = entries
			}
			part = appendPart(part[:0], t.Partition, table, form, count, data[:n])
			if err := t.log(part); err != nil {
				return err
			}
			data = data[n:]
			if unsynced += n; unsynced >= syncBytes {
				unsynced = 0
				if err := t.sync(); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// catchUp fetches what came since the copy, until that is little.
func (t *Transit) catchUp() error {
	for range catchUps {
		p := &parcel{}
		err := visit(t.from, func() error {
			w := t.from.parts[t.Partition].watch
			if w.overflow {
				return fmt.Errorf("%w: partition %d", ErrTooBusy, t.Partition)
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
func (t *Transit) sync() error {
	done := make(chan error, 1)
	err := visit(t.to, func() error {
		t.to.force()
		t.to.await(t.to.log.appended.Load(), func(err error) { done <- err })
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-t.to.life.stopped:
		return t.to.gone()
	}
}

// depart makes the cut: from here on events of the partition go to the new owner.
func (t *Transit) depart(reroute func() (cut uint64)) error {
	if err := visit(t.to, func() error { t.to.moving.expects = true; return nil }); err != nil {
		return err
	}
	return visit(t.from, func() error {
		w := t.from.parts[t.Partition].watch
		if w.overflow {
			return fmt.Errorf("%w: partition %d", ErrTooBusy, t.Partition)
		}
		w.cut = true
		t.cut = reroute()
		t.from.moving.out = t
		return nil
	})
}

// giveUp takes back what a move has prepared. The begin that the new owner's log holds
// is void without a commit.
func (t *Transit) giveUp() {
	_ = visit(t.to, func() error {
		m := &t.to.moving
		if m.next = nil; m.in == t {
			m.in, m.expects = nil, false
		}
		return nil
	})
	_ = visit(t.from, func() error { t.from.parts[t.Partition].watch = nil; return nil })
}

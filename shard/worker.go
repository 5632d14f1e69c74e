package shard

import (
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/keyfold/keyfold/snapshot"
)

// A worker recovers a part of the partitions of a shard, on a goroutine of its own, as
// if they were a shard by themselves: it loads them, and takes their events from what a
// reading brings of the log.
type worker struct {
	shard    *recovery // of all workers; not changed while they work
	index    int       // among them
	owned    []uint32
	programs []Program
	reach    []reach   // by partition
	stores   [][]Store // of its partitions, by table and partition
	run      Run
	progress func(done int64)
	// unplayable says by table why events cannot be replayed that were written under the
	// schemas of the frame that is read.
	unplayable []error

	starts  *starts           // of the newest generation, until they were checked
	eras    []era             // of it, from the one on that is being read
	allEras []era             // of it
	gone    map[uint32]uint64 // epoch under which a partition was adopted elsewhere, durably
	last    []frameEnd        // of the newest generation: its latest frames, from the horizon on
	time    int64
	bytes   int64 // of events in the log that was read
	filled  int   // frames with records in the newest generation

	found Report // what this worker has loaded and replayed
}

// A reach is a partition and how far it has come. What an event needs of it lies together.
type reach struct {
	part  *Partition // nil: not of this worker
	log   holding    // with the last event that was read from the log
	stamp holding    // in the snapshot
	left  bool       // no part: the snapshot does not have the partition, which was on its way to another shard
	// adopting is an adoption of the partition that has begun, nil if none has.
	adopting *adoption
}

// frameEnd is what is known of a frame that may not be durable.
type frameEnd struct {
	number, chain uint64
	paused        int64 // of the clock, behind the frame
}

// hire makes the workers. Each gets neighbouring partitions, which lie side by side in
// a snapshot.
func (r *recovery) hire() {
	r.theirs = make([]*worker, 1<<r.cfg.Routing.Bits)
	count := min(max(1, r.cfg.Workers), len(r.theirs))
	for i := range count {
		w := &worker{
			shard: r, index: i, owned: r.owned[i*len(r.owned)/count : (i+1)*len(r.owned)/count],
			programs: r.cfg.programs(), progress: func(int64) {},
			run: Run{Replay: true},
		}
		w.unplayable = make([]error, len(w.programs))
		for _, id := range w.owned {
			r.theirs[id] = w
		}
		r.workers = append(r.workers, w)
	}
	for id, w := range r.theirs { // they may have been adopted
		if w == nil {
			r.theirs[id] = r.workers[id%count]
		}
	}
}

// each has every worker do its part, and returns the error of the first that has one.
func (r *recovery) each(do func(*worker) error) error {
	if len(r.workers) == 1 {
		return do(r.workers[0])
	}
	errs := make([]error, len(r.workers))
	var group sync.WaitGroup
	for i, w := range r.workers {
		group.Go(func() {
			errs[i] = fmt.Errorf("%w: it ended its goroutine", errReplay)
			defer func() {
				if value := recover(); value != nil {
					errs[i] = &PanicError{Value: value, Stack: debug.Stack()}
				}
			}()
			errs[i] = do(w)
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// reset makes all partitions empty.
func (r *recovery) reset() {
	for _, w := range r.workers {
		w.reset()
	}
}

func (w *worker) reset() {
	for id := range w.reach {
		if p := w.reach[id].part; p != nil {
			p.drop()
		}
	}
	w.reach = make([]reach, len(w.shard.theirs))
	w.stores = make([][]Store, len(w.programs))
	for table := range w.stores {
		w.stores[table] = make([]Store, len(w.reach))
	}
	for _, id := range w.owned {
		w.hold(newPartition(id, w.programs))
	}
	w.found = Report{}
}

// hold makes p what the shard holds of its partition.
func (w *worker) hold(p *Partition) {
	w.reach[p.ID].part = p
	for table, store := range p.Stores {
		w.stores[table][p.ID] = store
	}
}

// load loads the partitions of the worker.
func (w *worker) load(file *snapshot.Reader, number uint64) error {
	began := time.Now()
	written, err := schemasOf(file.Header())
	if err == nil {
		err = w.under(written)
	}
	if err != nil {
		return err
	}
	for _, image := range file.Partitions() {
		if w.shard.theirs[image.Partition] != w {
			continue
		}
		reach := &w.reach[image.Partition]
		p := reach.part
		if p == nil {
			if image.Epoch == 0 {
				return fmt.Errorf("%w: snapshot %d holds partition %d, which has never been moved to this shard", errJoin, number, image.Partition)
			}
			p = newPartition(image.Partition, w.programs)
			w.hold(p)
		}
		p.Sequence = image.Sequence
		reach.stamp = holding{epoch: image.Epoch, sequence: image.Sequence}
		err := file.Load(image.Partition, func(table uint16, form uint8, entries uint32, data []byte) error {
			return w.build(p, number, table, form, entries, data)
		})
		if err != nil {
			return err
		}
	}
	w.found.Times.Read = time.Since(began) - w.found.Times.Build
	return nil
}

// build adds a block to its table.
func (w *worker) build(p *Partition, number uint64, table uint16, form uint8, entries uint32, data []byte) error {
	if int(table) >= len(p.Stores) {
		return fmt.Errorf("%w: snapshot %d holds table %d, which the store does not have", errJoin, number, table)
	}
	began := time.Now()
	store := p.Stores[table]
	keys := store.Len()
	w.found.SnapshotBytes += int64(len(data))
	err := store.Load(form, entries, data)
	w.found.SnapshotKeys += store.Len() - keys // a block need not hold keys
	w.found.Times.Build += time.Since(began)
	return err
}

// settle adds what the worker has done to the report, and tells its partitions how far
// they have come.
func (w *worker) settle(report *Report) {
	for id := range w.reach {
		if r := &w.reach[id]; r.part != nil {
			r.part.Epoch, r.part.Sequence = r.log.epoch, r.log.sequence
		}
	}
	report.SnapshotKeys += w.found.SnapshotKeys
	report.SnapshotBytes += w.found.SnapshotBytes
	report.Events += w.found.Events
	report.Skipped += w.found.Skipped
	report.Older = report.Older || w.found.Older
	report.Times.Read += w.found.Times.Read
	report.Times.Build += w.found.Times.Build
	report.Times.Apply += w.found.Times.Apply
}

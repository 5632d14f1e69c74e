package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/keyfold/keyfold/internal/ring"
	"github.com/keyfold/keyfold/shard"
)

// A Record is an event with its key, as a Source gives it.
type Record[K comparable, E any] struct {
	Key   K // what the event belongs to
	Event E // the payload
}

// A Source is an input that a shard reads itself: a part of a file, a partition of a
// topic. What the shard owns it folds without a hop, and it hands the rest to the
// other shards in batches. Give an engine as many sources as it has shards, and none of
// them waits for a goroutine that only distributes.
type Source[K comparable, E any] interface {
	// Poll fills records from the front and returns how many. It runs on the goroutine
	// of a shard and must not wait: 0 and nil mean that nothing is there now, and that
	// Feed.Wake will be called when there is. io.EOF is the end, and any other error
	// ends the feed with it; the records that come with either count. Poll keeps
	// nothing of records, and must not call the engine.
	Poll(records []Record[K, E]) (n int, err error)
}

// SourceOptions says how a source is read. The zero value is ready to use. Its
// functions run on the goroutine of a shard: they must be short and must not call the
// engine.
type SourceOptions[K comparable, E any] struct {
	// Ack is how far events must have come to be settled.
	Ack Ack
	// Refused is called for every event that was not done, with the reason. If it is
	// nil, the first such event ends the feed with its error. So does, in any case, one
	// that was refused because there is no room on the disk, its shard has failed or the
	// engine closes: it is not settled, and must be given again.
	Refused func(k K, e E, err error)
	// Settled is called now and then with the number of the first records of the
	// source of which each was acknowledged or refused. It is what the source need not
	// give again. It may be nil.
	Settled func(records uint64)
	// InFlightMax is how many events may be on their way before the source is not
	// polled any more. 0 means 1 << 18.
	InFlightMax int
	// Name makes the store remember how far the source has come, so that records that it
	// gives again after any crash are done once: see Resumer. Partition tells sources of
	// one name apart. Both together are one of the table's, and one source at a time may
	// have them. Ack must be Durable. An event costs 16 bytes more, and a partition of the
	// store that it goes to 24. Settled then is the offset from which to go on. "" means
	// that nothing is remembered.
	Name      string
	Partition int
}

// A Resumer is a Source that can begin somewhere. Of a named source, Resume is called
// before the first Poll, on the goroutine that calls Consume, with the offset of the first
// record that may not be settled; at first 0. Records at or behind it may have been done:
// they are skipped, and count as settled. A named source that is no Resumer begins with
// record 0 again.
//
// Consume looks for the methods of a named source's Resumer and Numbered by name: one with
// other arguments or results, or that only a pointer to what was given has, is an error and
// not passed over. What a wrapper hides cannot be seen, so say what a source is meant to be:
//
//	var _ engine.Resumer = (*mySource)(nil)
type Resumer interface {
	// Resume makes the next Poll begin with the record at offset, or with the first one behind
	// it. An error is that of Consume.
	Resume(offset uint64) error
}

// A Numbered source knows the offsets of its records, which must ascend. The records of
// other sources are counted, from where they were resumed.
type Numbered interface {
	// Offset is that of record i of the last Poll. It is called like Poll.
	Offset(i int) uint64
}

// A Feed is a source under way into a table. It is safe for concurrent use.
type Feed struct {
	engine  *Engine
	shard   *shard.Shard // that polls
	polled  atomic.Uint64
	outlets []outlet
	stop    atomic.Bool // Close's store tells the shard to poll no more
	ended   chan struct{}
	err     error // published by closing ended

	mu      sync.Mutex // guards outlets against growing, and their slots against being given back
	closed  bool       // they were
	settled uint64     // in the end
	usher   usher
	scribe  *scribe // nil: the source has no name
}

// An outlet is the way of a feed into one shard.
type outlet struct {
	buffer
	slot   *shard.Slot
	queued uint64 // operations that were put into the buffer, ever
}

// drop forgets what has not left.
func (o *outlet) drop() {
	o.queued -= uint64(o.count)
	o.clear()
}

// settled is how many operations of the outlet came to their end.
func (o *outlet) settled() uint64 {
	done, _ := o.slot.Completed()
	return done
}

// Consume makes a shard read source into the table. The sources of an engine are
// spread over its shards in turn. It returns when the shard has taken it. ctx is
// looked at only before that.
func (t *Table[K, S, E, R]) Consume(ctx context.Context, source Source[K, E], options SourceOptions[K, E]) (*Feed, error) {
	if source == nil {
		return nil, errors.New("keyfold: Consume needs a source, and not nil")
	}
	return t.declaration.consume(ctx, func(records int) supply { return newSupply(source, &options, records) })
}

// consume is Consume of a supply, which is made for so many records.
func (d *declaration) consume(ctx context.Context, newSupply func(records int) supply) (*Feed, error) {
	b, err := d.bound()
	if err != nil {
		return nil, err
	}
	shards := b.engine.shards()
	source := newSupply(min(pollRecords*len(shards), pollRecordsMax))
	if err := b.engine.admit(ctx, source.ack); err != nil {
		return nil, err
	}
	if err := completeInFlight(&source.inFlightMax); err != nil {
		return nil, err
	}
	home := int(b.engine.sources.Add(1)-1) % len(shards)
	r := &reader{
		binding: b,
		supply:  source,
		home:    home,
		feed:    &Feed{engine: b.engine, shard: shards[home], ended: make(chan struct{})},
		scratch: make([]byte, 1),
		route:   b.engine.route.Load(),
	}
	if b.key.pointerFree && b.event.pointerFree {
		r.supply.forget = nil
	}
	if r.supply.name != "" {
		if err := r.name(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.feed.open(&r.refused); err != nil {
		return nil, err
	}
	if b.dense && b.form.InRows() {
		r.own = shard.NewRows(b.form, r.supply.count, r.feed.outlets[home].slot.Stream(), source.ack.level())
	}
	if err := r.feed.shard.Attach(context.WithoutCancel(ctx), r); err != nil {
		r.End(err)
		return nil, err
	}
	return r.feed, nil
}

// open gives the feed a slot for each shard, and an usher, whose end is the feed's.
func (f *Feed) open(sink shard.Sink) error {
	if err := f.grow(sink); err != nil {
		f.close()
		if f.scribe != nil {
			f.scribe.stream.close()
		}
		return err
	}
	if f.scribe != nil {
		f.scribe.start()
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.usher = usher{errands: make(chan errand, 1), cancel: cancel}
	go func() {
		f.usher.loop(ctx, f.Wake)
		f.close()
		if f.scribe != nil {
			f.scribe.finish()
		}
		close(f.ended)
	}()
	return nil
}

// grow makes an outlet for each shard that has none yet.
func (f *Feed) grow(sink shard.Sink) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.outlets) < len(f.engine.shards()) {
		slot, err := f.engine.spareSlot()
		if err != nil {
			return err
		}
		slot.Sink = sink
		slot.Reset()
		f.outlets = append(f.outlets, outlet{slot: slot})
	}
	return nil
}

// close gives back the slots that no shard will use any more.
func (f *Feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed, f.settled = true, f.countSettled()
	for i := range f.outlets {
		if o := &f.outlets[i]; o.slot != nil && o.settled() == o.queued {
			f.engine.spare.Put(o.slot)
		}
	}
}

// Wake says that a source has records again, after a Poll that found none.
func (f *Feed) Wake() { f.shard.Wake() }

// Progress is how many records were polled so far, and how many events of them are
// settled: acknowledged, refused, or lost to a failed shard.
func (f *Feed) Progress() (polled, settled uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.settled = f.countSettled()
	}
	return f.polled.Load(), f.settled
}

func (f *Feed) countSettled() (n uint64) {
	for i := range f.outlets {
		if o := &f.outlets[i]; o.slot != nil {
			n += o.settled()
		}
	}
	return n
}

// Wait waits until the source has ended and everything it gave is settled. It returns
// nil after io.EOF and after Close, and what else ended the feed: the error of the
// source, of a refused event, of a failed shard, ErrClosed of an engine that was
// closed, or that of ctx.
func (f *Feed) Wait(ctx context.Context) error {
	if f.engine.inside() {
		return ErrInside
	}
	select {
	case <-f.ended:
		return f.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close stops polling, and waits as Wait does.
func (f *Feed) Close(ctx context.Context) error {
	f.stop.Store(true)
	f.Wake()
	return f.Wait(ctx)
}

// An usher waits on behalf of a shard that must not, and wakes it.
type usher struct {
	errands chan errand // capacity 1
	out     atomic.Bool // on an errand; loop's store tells the reader that it is back
	cancel  context.CancelFunc
}

// An errand is what an usher waits for: room in an inbox, or events of a slot.
type errand struct {
	inbox *ring.Ring
	bytes int
	slot  *shard.Slot
	until uint64
}

// loop goes on errands until dismiss.
func (u *usher) loop(ctx context.Context, wake func()) {
	for e := range u.errands {
		e.run(ctx)
		u.out.Store(false)
		wake()
	}
}

func (e errand) run(ctx context.Context) {
	if e.inbox != nil {
		_ = e.inbox.WaitRoom(ctx, e.bytes) // whatever it says, the shard looks again
	} else {
		_ = e.slot.WaitCompleted(ctx, e.until)
	}
}

// send sends the usher on an errand, unless it is on one.
func (u *usher) send(e errand) {
	if u.out.CompareAndSwap(false, true) {
		u.errands <- e
	}
}

// dismiss ends the usher, wherever it is.
func (u *usher) dismiss() {
	u.cancel()
	close(u.errands)
}

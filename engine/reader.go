package engine

import (
	"fmt"
	"io"
	"runtime/debug"
	"unsafe"

	"github.com/keyfold/keyfold/internal/ring"
	"github.com/keyfold/keyfold/shard"
)

const (
	// pollRecords is how many records a source is asked for, for each shard: what the
	// shard owns of them is a whole run.
	pollRecords    = 64
	pollRecordsMax = 1 << 10
)

// A reader is the side of a feed that belongs to the shard that polls it.
type reader struct {
	feed    *Feed
	binding *binding
	supply  supply
	refused refusals
	home    int // the shard that polls
	route   *route
	scratch []byte      // a key behind one byte, so that a codec that cuts is found out
	own     *shard.Rows // what the shard that polls owns of the records; nil: it gets blocks like all others
	filled  int         // records polled
	next    int         // of them to be encoded
	over    bool        // End was called
	end     ending
	marks   marks
	offsets offsets
}

// An ending is what is known of the end of a feed.
type ending struct {
	near    bool  // nothing is polled any more
	failure error // why, if not well
	lost    bool  // not every record that was polled is done or handed back
}

// A supply is a source with what SourceOptions says of it, and the records that it fills,
// whatever their types are.
type supply struct {
	source  any
	poll    func() (n int, err error)            // fills records from the front
	forget  func(n int)                          // makes records zero; nil: they hold no pointers
	refused func(k, e unsafe.Pointer, err error) // nil: nobody takes refused events

	records       unsafe.Pointer // the first
	count         int            // of them
	stride, event uintptr        // from one record to the next, and from its key to its event

	settled     func(records uint64)
	ack         Ack
	inFlightMax int
	name        string
	partition   int
}

// newSupply makes room for so many records of a source.
func newSupply[K comparable, E any](source Source[K, E], o *SourceOptions[K, E], count int) supply {
	records := make([]Record[K, E], count)
	s := supply{
		source: source, poll: func() (int, error) { return source.Poll(records) }, refused: refusedOf(o.Refused),
		records: unsafe.Pointer(&records[0]), count: count, stride: unsafe.Sizeof(records[0]), event: unsafe.Offsetof(records[0].Event),
		settled: o.Settled, ack: o.Ack, inFlightMax: o.InFlightMax, name: o.Name, partition: o.Partition,
	}
	s.forget = func(n int) { clear(records[:n]) }
	return s
}

// refusedOf is a user's function that takes refused events, whatever their types are.
func refusedOf[K comparable, E any](refused func(k K, e E, err error)) func(k, e unsafe.Pointer, err error) {
	if refused == nil {
		return nil
	}
	return func(k, e unsafe.Pointer, err error) { refused(*(*K)(k), *(*E)(e), err) }
}

// at returns the key and the event of a record.
func (s *supply) at(i int) (key, event unsafe.Pointer) {
	key = unsafe.Add(s.records, uintptr(i)*s.stride)
	return key, unsafe.Add(key, s.event)
}

// Poll is called by the shard. Whatever a function of the user's does in it ends the
// feed at worst.
func (r *reader) Poll() (block []byte, rows *shard.Rows, state shard.FeedState) {
	returned := false
	defer func() {
		if !returned {
			r.fail(&PanicError{Value: recover(), Stack: debug.Stack()})
			block, rows, state = nil, nil, shard.FeedBusy
		}
	}()
	if block, state = r.poll(); block == nil && r.own != nil && r.own.Len() > 0 {
		rows = r.own
	}
	returned = true
	return block, rows, state
}

func (r *reader) poll() (block []byte, state shard.FeedState) {
	if r.own != nil {
		r.own.Clear()
	}
	r.end.near = r.end.near || r.feed.stop.Load()
	if now := r.binding.engine.route.Load(); now != r.route {
		r.adopt(now)
	}
	settled := r.inFlight() == 0 // before that is told
	r.tell()
	switch {
	case r.feed.outlets[r.home].count > 0:
		return r.ownBlock(), shard.FeedBusy
	case !r.handOver():
		return nil, r.waiting()
	case r.next < r.filled:
	case r.end.near && settled:
		return nil, shard.FeedOver
	case r.end.near:
		r.awaitSettled(1)
		return nil, r.waiting()
	case r.inFlight() >= uint64(r.supply.inFlightMax):
		r.awaitSettled(2)
		return nil, r.waiting()
	case !r.read():
		return nil, r.idle()
	}
	r.encode()
	r.handOver()
	return r.ownBlock(), shard.FeedBusy
}

// idle is the state of a feed whose source has nothing now. What is in flight may be
// with other shards, which wake nobody: if it is to be told, the usher waits for it.
func (r *reader) idle() shard.FeedState {
	if r.supply.settled == nil && r.feed.scribe == nil || r.inFlight() == 0 {
		return shard.FeedIdle
	}
	r.awaitSettled(1)
	return r.waiting()
}

// waiting is the state of a feed that waits for its usher.
func (r *reader) waiting() shard.FeedState {
	if r.feed.usher.out.Load() {
		return shard.FeedIdle
	}
	return shard.FeedBusy // it is back already, or something else has changed
}

// read polls the source. It says whether that gave records, or the end.
func (r *reader) read() bool {
	n, err := r.supply.poll()
	if n < 0 || n > r.supply.count {
		n, err = 0, fmt.Errorf("keyfold: table %q: Poll of a source returned %d for %d records", r.binding.table.name, n, r.supply.count)
	}
	r.next, r.filled = 0, n
	r.feed.polled.Add(uint64(n))
	switch {
	case err == nil:
		return n > 0
	case err == io.EOF: // one that something wraps is an error like any other
		r.end.near = true
	default:
		r.end.failure, r.end.near = err, true // what was polled before it is settled as ever
	}
	return true
}

// encode puts records into the buffers of their shards, until there are no more or a
// buffer is as large as it should be.
func (r *reader) encode() {
	if r.feed.scribe != nil {
		r.encodeNamed()
	} else if r.binding.dense {
		r.encodeDense()
	} else {
		r.encodeAny()
	}
	if r.next < r.filled {
		return
	}
	if r.supply.forget != nil {
		r.supply.forget(r.filled)
	}
	if r.feed.scribe != nil {
		r.marks.add(r.offsets.next, r.feed.outlets)
	} else if r.supply.settled != nil {
		r.marks.add(r.feed.polled.Load(), r.feed.outlets)
	}
}

// encodeDense is encode for keys and events that are copied as they lie. Nothing of
// them can be wrong.
func (r *reader) encodeDense() {
	b, own := r.binding, r.own
	routing, owner, outlets := &b.engine.routing, r.route.owner, r.feed.outlets
	for ; r.next < r.filled; r.next++ {
		k, e := r.supply.at(r.next)
		key := b.denseKey(k)
		hash := routing.Hash(key, routing.Seed)
		index := int(owner[routing.Partition(hash)])
		o := &outlets[index]
		if index == r.home && own != nil {
			own.Add(hash, key, b.denseEvent(e))
			o.queued++
			continue
		}
		if len(o.block) >= blockTargetBytes {
			return
		}
		_ = b.put(&o.buffer, hash, key, e) // what is dense is never refused
		o.queued++
	}
}

// encodeAny is encode for keys and events of any type.
func (r *reader) encodeAny() {
	for ; r.next < r.filled; r.next++ {
		k, e := r.supply.at(r.next)
		longer, key, hash, err := r.binding.encodeKey(r.scratch[:1], k)
		r.scratch = longer
		if err == nil {
			o := &r.feed.outlets[r.binding.engine.shardOf(r.route, hash)]
			if len(o.block) >= blockTargetBytes {
				return
			}
			if err = r.binding.put(&o.buffer, hash, key, e); err == nil {
				o.queued++
			}
		}
		if err != nil {
			r.refuse(k, e, err)
		}
	}
}

// ownBlock is what was encoded for the shard that polls; nil if there is nothing.
func (r *reader) ownBlock() []byte {
	o := &r.feed.outlets[r.home]
	if o.count == 0 {
		return nil
	}
	shard.PutBlockHeader(o.block, o.slot.Stream(), o.count, r.supply.ack.level())
	block := o.block
	o.clear()
	return block
}

// handOver sends what was encoded for other shards, and says whether all of it went.
func (r *reader) handOver() bool {
	all := true
	for i := range r.feed.outlets {
		if i != r.home && r.feed.outlets[i].count > 0 && !r.send(i) {
			all = false
		}
	}
	return all
}

// send sends the buffer of one shard. A shard that takes nothing any more ends the feed.
func (r *reader) send(index int) bool {
	o, e := &r.feed.outlets[index], r.binding.engine
	block, count := o.first()
	shard.PutBlockHeader(block, o.slot.Stream(), count, r.supply.ack.level())
	switch outcome := e.claim(index, r.route.versions[index], block); outcome {
	case ring.Claimed:
		o.left(len(block), count)
		return o.count == 0
	case ring.Full:
		r.feed.usher.send(errand{inbox: e.shards()[index].Inbox(), bytes: len(block)})
	case ring.Stale:
		e.stale(r.route)
	case ring.Closed:
		o.drop()
		r.fail(e.gone(index))
		return true
	}
	return false
}

// awaitSettled has the usher wait until some events are settled, a part of those that
// are in flight to one shard.
func (r *reader) awaitSettled(part uint64) {
	for i := range r.feed.outlets {
		o := &r.feed.outlets[i]
		if left := o.queued - o.settled(); left > 0 {
			r.feed.usher.send(errand{slot: o.slot, until: o.queued - left + (left+part-1)/part})
			return
		}
	}
}

// inFlight is how many events were encoded and are not settled.
func (r *reader) inFlight() (n uint64) {
	for i := range r.feed.outlets {
		n += r.feed.outlets[i].queued - r.feed.outlets[i].settled()
	}
	return n
}

// adopt takes a new route. What has not left is split again, in its order.
func (r *reader) adopt(now *route) {
	if err := r.feed.grow(&r.refused); err != nil {
		r.fail(err)
		for i := range r.feed.outlets {
			r.feed.outlets[i].drop() // they are not settled, and the source has them
		}
		return
	}
	r.route = now
	blocks := make([][]byte, len(r.feed.outlets))
	sent := make([]uint64, len(r.feed.outlets))
	for i := range r.feed.outlets {
		o := &r.feed.outlets[i]
		if o.count > 0 {
			blocks[i], o.block = o.block, nil
			o.drop()
		}
		sent[i] = o.queued
	}
	for _, old := range blocks {
		if old == nil {
			continue
		}
		shard.EachOp(old, func(hash uint64, op []byte) {
			to := &r.feed.outlets[r.binding.engine.shardOf(now, hash)]
			to.add(op)
			to.queued++
		})
	}
	r.marks.rerouted(sent, r.feed.outlets)
}

// tell hands refused events back, and says how far the source is settled. After a failure
// that is not the source's own it says no more: what was lost to it must be given again.
func (r *reader) tell() {
	settled := r.marks.due(r.feed.outlets)
	if r.refused.count.Load() > 0 {
		for _, refusal := range r.refused.take() {
			r.handBack(refusal)
		}
	}
	for i := range r.feed.outlets {
		if _, err := r.feed.outlets[i].slot.Completed(); err != nil {
			r.fail(err)
		}
	}
	if settled == 0 || r.end.lost {
		return
	}
	if r.feed.scribe != nil {
		r.feed.scribe.tell(settled)
	}
	if r.supply.settled != nil {
		r.supply.settled(settled)
	}
}

func (r *reader) handBack(refusal refusal) {
	k, e, err := r.binding.decode(&refusal)
	if err != nil {
		r.fail(err)
		return
	}
	r.refuse(k, e, refusal.err)
}

// refuse hands an event back to the user, unless it was refused because the engine
// takes no events at all: then the feed ends, and the source keeps it.
func (r *reader) refuse(k, e unsafe.Pointer, err error) {
	if stops(err) || r.supply.refused == nil {
		r.fail(err)
		return
	}
	r.supply.refused(k, e, err)
}

// fail ends the feed with its first error.
func (r *reader) fail(err error) {
	r.end.near, r.end.lost, r.next = true, true, r.filled
	if r.end.failure == nil {
		r.end.failure = err
	}
}

// End is called by the shard when it polls no more, and by Consume when the shard has
// stopped: which may be after it took the feed, and ended it.
func (r *reader) End(err error) {
	if r.over {
		return
	}
	r.over = true
	if r.end.failure != nil {
		err = r.end.failure
	}
	for i := range r.feed.outlets {
		r.feed.outlets[i].drop()
	}
	r.feed.err = err
	r.feed.usher.dismiss()
}

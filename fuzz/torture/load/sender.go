package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/keyfold/keyfold/engine"
)

// senders send to all partitions at once, by the door that was ordered.
func (c *child) senders(ctx context.Context, found *Found) error {
	send := map[Door]func(context.Context, int, uint64) error{Do: c.sendEach, Batch: c.sendBatches, Producer: c.sendStream}[c.orders.Door]
	if send == nil {
		return c.sendSources(ctx, found)
	}
	errs := make([]error, Partitions)
	var group sync.WaitGroup
	for p := range errs {
		group.Go(func() {
			errs[p] = c.sendLastAgain(ctx, p, &found.Partitions[p])
			if errs[p] == nil && c.board.Partitions[p].Failed.Load() == 0 {
				errs[p] = send(ctx, p, found.Partitions[p].Events)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// acked raises the marks of a partition: its first n events have come as far as ack.
func (m *Mark) acked(n uint64, ack engine.Ack) {
	if ack == engine.Applied {
		return
	}
	m.Written.Store(n)
	if ack == engine.Durable {
		m.Durable.Store(n)
	}
}

// failed ends a sender after an error: it is nil if the error is excused.
func (c *child) failed(partition int, err error) error {
	if c.excused(err) {
		c.board.Partitions[partition].Failed.Store(1)
		complain(c.orders.Marks, fmt.Sprintf("partition %d: %v", partition, err))
		return nil
	}
	return fmt.Errorf("load: partition %d: %w", partition, err)
}

// ackOf is the ack for event i at doors that choose one for each.
func (c *child) ackOf(s Step) engine.Ack {
	switch {
	case s.Number>>20&3 == 0:
		return engine.Applied
	case s.Number>>20&3 == 1 || c.orders.Sync == engine.SyncNever:
		return engine.Written
	}
	return engine.Durable
}

// sendEach sends one event after the other.
func (c *child) sendEach(ctx context.Context, p int, first uint64) error {
	m := &c.board.Partitions[p]
	for i := first; i < first+c.orders.Events; {
		c.awaitNoLull()
		n, s := c.orders.Life.Planned(p, i)
		ack := c.ackOf(s)
		m.Submitted.Store(i + 1)
		answer, err := c.do(ctx, n, s, ack)
		if again, err := c.judge(ctx, p, i, answer, err); err != nil || !again && m.Failed.Load() == 1 {
			return err
		} else if again {
			continue
		}
		i++
		m.acked(i, ack)
		if s.Number>>24&15 == 0 && c.orders.Life.Tables != OnlyAlarms && c.orders.Sync != engine.SyncNever {
			if err := c.readDurable(ctx, p, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *child) do(ctx context.Context, n Name, s Step, ack engine.Ack) (Tally, error) {
	switch {
	case c.orders.Life.Tables == OnlyAlarms:
		return c.alarms.Do(ctx, n.Key, s, ack)
	case n.Notes:
		return c.notes.Do(ctx, n.Key, s, ack)
	case c.orders.Life.HasID(n, s):
		return c.doTwice(ctx, n, s, ack)
	}
	return c.tallies.Do(ctx, n.Key, s, ack)
}

// doTwice sends an event with its id, and some of them again: it must be done once, and be
// answered as it was.
func (c *child) doTwice(ctx context.Context, n Name, s Step, ack engine.Ack) (Tally, error) {
	first, err := c.tallies.DoOnce(ctx, s.id(), n.Key, s, ack)
	if err != nil || s.Number>>32&1 == 0 {
		return first, err
	}
	again, err := c.tallies.DoOnce(ctx, s.id(), n.Key, s, ack)
	if err == nil && again != first {
		err = fmt.Errorf("load: the event with id %v was answered by %+v, and then by %+v", s.id(), first, again)
	}
	return first, err
}

func (s Step) id() (id engine.EventID) {
	binary.LittleEndian.PutUint64(id[:], s.Number)
	return id
}

// sendLastAgain sends the last event of a partition again, if the child before has sent it
// with an id. It must not be done a second time.
func (c *child) sendLastAgain(ctx context.Context, p int, found *Holding) error {
	if found.Events == 0 || c.orders.Before.Keys == 0 {
		return nil
	}
	n, s := c.orders.Before.Planned(p, found.Events-1)
	if have := found.States[n].Tally; !c.orders.Before.HasID(n, s) || have.Last != s.Number || have.Sequence != found.Events {
		return nil
	}
	answer, err := c.tallies.DoOnce(ctx, s.id(), n.Key, s, engine.Applied)
	if err != nil {
		return c.failed(p, err)
	}
	if answer != found.States[n].Tally {
		return fmt.Errorf("load: partition %d: the last event was sent again, and answered by %+v, not %+v", p, answer, found.States[n].Tally)
	}
	c.board.Resent.Add(1)
	return nil
}

// judge looks at the answer to an event, and says whether it is to be sent again.
func (c *child) judge(ctx context.Context, p int, i uint64, answer Tally, err error) (again bool, _ error) {
	if err == nil {
		if answer.Sequence != c.orders.Life.Sequence(i) {
			return false, fmt.Errorf("load: partition %d: event %d has got sequence %d", p, i+1, answer.Sequence)
		}
		return false, nil
	}
	if c.orders.Faults && errors.Is(err, engine.ErrReadOnly) && ctx.Err() == nil {
		c.board.Refused.Add(1) // it was not done
		select {
		case <-time.After(time.Millisecond): // there may be room soon
		case <-ctx.Done():
		}
		return true, nil
	}
	return false, c.failed(p, err)
}

// readDurable reads a state that no crash may take back. So its last event, and all
// before it in the partition, are durable.
func (c *child) readDurable(ctx context.Context, p int, n Name) error {
	var s Note
	var err error
	if n.Notes {
		s, _, err = c.notes.Get(ctx, n.Key, engine.OnlyDurable)
	} else {
		s.Tally, _, err = c.tallies.Get(ctx, n.Key, engine.OnlyDurable)
	}
	if c.orders.Faults && errors.Is(err, engine.ErrReadOnly) {
		return nil // the partition is on its way to a shard without room
	}
	if err != nil {
		return c.failed(p, err)
	}
	m := &c.board.Partitions[p]
	if s.Tally.Sequence > m.Durable.Load() {
		m.acked(s.Tally.Sequence, engine.Durable)
	}
	return nil
}

// batchMax is how many events are in a batch at most.
const batchMax = 9

// sendBatches sends some events at a time.
func (c *child) sendBatches(ctx context.Context, p int, first uint64) error {
	m, b := &c.board.Partitions[p], c.engine.Batch()
	for i := first; i < first+c.orders.Events; {
		c.awaitNoLull()
		var results [batchMax]engine.Result[Tally]
		_, s := c.orders.Life.Planned(p, i)
		count, ack := 1+int(s.Number%batchMax), c.ackOf(s)
		for k := range count {
			n, s := c.orders.Life.Planned(p, i+uint64(k))
			c.put(b, n, s, &results[k])
		}
		m.Submitted.Store(i + uint64(count))
		if err := b.Do(ctx, ack); err != nil {
			return c.failed(p, err)
		}
		for k := range count {
			if got := results[k].Value.Sequence; got != c.orders.Life.Sequence(i+uint64(k)) {
				return fmt.Errorf("load: partition %d: event %d has got sequence %d", p, i+uint64(k)+1, got)
			}
		}
		i += uint64(count)
		m.acked(i, ack)
	}
	return nil
}

func (c *child) put(b *engine.Batch, n Name, s Step, r *engine.Result[Tally]) {
	switch {
	case c.orders.Life.Tables == OnlyAlarms:
		c.alarms.Put(b, n.Key, s, r)
	case n.Notes:
		c.notes.Put(b, n.Key, s, r)
	default:
		c.tallies.Put(b, n.Key, s, r)
	}
}

// A stream is an engine.Producer of either table.
type stream interface {
	Send(ctx context.Context, key string, e Step) error
	Progress() (sent, settled uint64)
	Flush(ctx context.Context) error
	Close(ctx context.Context) error
}

func (c *child) stream() (stream, error) {
	o := engine.ProducerOptions[string, Step]{Ack: c.orders.Ack, InFlightMax: 256}
	switch c.orders.Life.Tables {
	case OnlyAlarms:
		return c.alarms.Producer(o)
	case OnlyNotes:
		return c.notes.Producer(o)
	}
	return c.tallies.Producer(o)
}

// flushEvery is how many events a stream sends between two flushes.
const flushEvery = 500

// sendStream sends without waiting for each.
func (c *child) sendStream(ctx context.Context, p int, first uint64) error {
	m := &c.board.Partitions[p]
	s, err := c.stream()
	if err != nil {
		return err
	}
	for i := first; i < first+c.orders.Events; i++ {
		c.awaitNoLull()
		n, step := c.orders.Life.Planned(p, i)
		m.Submitted.Store(i + 1)
		if err := s.Send(ctx, n.Key, step); err != nil {
			return c.failed(p, err)
		}
		if i%flushEvery == 0 {
			if err := s.Flush(ctx); err != nil {
				return c.failed(p, err)
			}
			m.acked(i+1, c.orders.Ack)
		}
		// What is lost to a failed shard is settled, too.
		if _, settled := s.Progress(); !c.orders.Faults {
			m.acked(first+settled, c.orders.Ack)
		}
	}
	if err := s.Flush(ctx); err != nil {
		return c.failed(p, err)
	}
	m.acked(first+c.orders.Events, c.orders.Ack)
	return s.Close(ctx)
}

// sources is how many a child has.
const sources = 2

// sendSources has the shards read the events themselves.
func (c *child) sendSources(ctx context.Context, found *Found) error {
	var feeds []*engine.Feed
	for s := range sources {
		r := &reading{child: c}
		for p := s; p < Partitions; p += sources {
			r.partitions = append(r.partitions, p)
			r.first = append(r.first, found.Partitions[p].Events)
		}
		feed, err := c.consume(ctx, r)
		if c.excused(err) {
			continue // the shard has failed already
		}
		if err != nil {
			return err
		}
		feeds = append(feeds, feed)
		c.feeds.add(feed)
	}
	for _, f := range feeds {
		if err := f.Wait(ctx); err != nil && !c.excused(err) {
			return fmt.Errorf("load: source: %w", err)
		}
	}
	return nil
}

func (c *child) consume(ctx context.Context, r *reading) (*engine.Feed, error) {
	o := engine.SourceOptions[string, Step]{Ack: c.orders.Ack, Settled: r.settled, InFlightMax: 2048}
	switch c.orders.Life.Tables {
	case OnlyAlarms:
		return c.alarms.Consume(ctx, r, o)
	case OnlyNotes:
		return c.notes.Consume(ctx, r, o)
	}
	return c.tallies.Consume(ctx, r, o)
}

// feeds are those that a lull has to wake when it ends.
type feeds struct {
	mu   sync.Mutex // guards list
	list []*engine.Feed
}

func (f *feeds) add(feed *engine.Feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, feed)
}

func (f *feeds) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, feed := range f.list {
		feed.Wake()
	}
}

// A reading is a source with the events of some partitions, in turn. It belongs to the
// shard that polls it.
type reading struct {
	child      *child
	partitions []int
	first      []uint64 // events before, by place in partitions
	polled     uint64
}

// Poll gives the next events.
func (r *reading) Poll(records []engine.Record[string, Step]) (int, error) {
	if !r.child.quiet.TryRLock() {
		return 0, nil // the lull will wake the feed
	}
	defer r.child.quiet.RUnlock()
	for k := range records {
		round := r.polled / uint64(len(r.partitions))
		if round == r.child.orders.Events {
			return k, io.EOF
		}
		at := int(r.polled % uint64(len(r.partitions)))
		p, i := r.partitions[at], r.first[at]+round
		n, s := r.child.orders.Life.Planned(p, i)
		records[k] = engine.Record[string, Step]{Key: n.Key, Event: s}
		r.child.board.Partitions[p].Submitted.Store(i + 1)
		r.polled++
	}
	return len(records), nil
}

// settled is told how many of the first records are settled.
func (r *reading) settled(records uint64) {
	all := uint64(len(r.partitions))
	for at, p := range r.partitions {
		n := records / all
		if uint64(at) < records%all {
			n++
		}
		r.child.board.Partitions[p].acked(r.first[at]+n, r.child.orders.Ack)
	}
}

// complain adds a line to what Complaints returns. Nothing depends on it.
func complain(marks, what string) {
	f, err := os.OpenFile(marks+complaintsSuffix, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	_, _ = fmt.Fprintln(f, what)
}

const complaintsSuffix = "-complaints"

// Complaints are the errors that have stopped the senders of a child with these marks, if
// the orders excused them.
func Complaints(marks string) string {
	text, err := os.ReadFile(marks + complaintsSuffix)
	if err != nil {
		return ""
	}
	return string(text)
}

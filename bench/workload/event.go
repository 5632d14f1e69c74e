// Package workload says what a load consists of and what it must come to: events,
// the keys and distributions they are drawn from, the fold under load, and the
// audit that compares what a store holds with what a single thread computes.
//
// A stream is the same events in the same order each time: it depends on its seed
// and on nothing else, so that the expected state can be computed again at any
// later time, in any process, and need not be kept.
package workload

// Event is one event of a stream.
type Event struct {
	// Key names the state. It is borrowed: its bytes belong to the batch or buffer
	// that the event came from.
	Key []byte
	// Ordinal is the place of the event in its stream, from 0.
	Ordinal uint64
	// Value is what is folded.
	Value float64
}

// Source is a stream of events. It must be used by one goroutine at a time.
type Source interface {
	// Fill appends up to n events to b. Its error is io.EOF when the stream has
	// ended and nothing was appended.
	Fill(b *Batch, n int) error
}

// Batch holds events in the order of their stream, keys back to back, so that a
// batch that is reused allocates nothing. It must be used by one goroutine at a
// time. The zero Batch is empty and ready.
type Batch struct {
	keys  []byte
	items []item
}

// item is an event without its key, and where the key ends.
type item struct {
	keyEnd  int
	ordinal uint64
	value   float64
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.keys = b.keys[:0]
	b.items = b.items[:0]
}

// Len is the count of events.
func (b *Batch) Len() int { return len(b.items) }

// Add appends an event. The key is copied.
func (b *Batch) Add(e Event) {
	b.keys = append(b.keys, e.Key...)
	b.items = append(b.items, item{len(b.keys), e.Ordinal, e.Value})
}

// At is event i. Its key is valid until the next Reset.
func (b *Batch) At(i int) Event {
	it := &b.items[i]
	start := 0
	if i > 0 {
		start = b.items[i-1].keyEnd
	}
	return Event{Key: b.keys[start:it.keyEnd:it.keyEnd], Ordinal: it.ordinal, Value: it.value}
}

// addNumbered appends an event with the key of a key number.
func (b *Batch) addNumbered(number, ordinal uint64, value float64) {
	b.keys = AppendKey(b.keys, number)
	b.items = append(b.items, item{len(b.keys), ordinal, value})
}

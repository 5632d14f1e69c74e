package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// names are the numbers of the doors that are open now, which their names end with.
type names struct {
	mu   sync.Mutex
	used map[int]bool
}

// take is the lowest number that is free.
func (n *names) take() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.used == nil {
		n.used = map[int]bool{}
	}
	number := 0
	for n.used[number] {
		number++
	}
	n.used[number] = true
	return number
}

func (n *names) give(number int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.used, number)
}

// producer is the engine's as a bench.Producer.
type producer[S, E any, R comparable] struct {
	p       *engine.Producer[string, S, E, R]
	of      func(workload.Event) E
	refused error // the first, since no event of a load may be
}

// newProducer opens one, with a name if the options have one.
func newProducer[S, E any, R comparable](s *folded[S, E, R], window int) (bench.Producer, error) {
	p := &producer[S, E, R]{of: s.of}
	o := engine.ProducerOptions[string, E]{Ack: s.ack, Refused: p.refuse, InFlightMax: max(1, window-window/4)}
	if s.options.Name == "" {
		var err error
		p.p, err = s.table.Producer(o)
		return p, err
	}
	return newNamedProducer(s, p, o)
}

func (p *producer[S, E, R]) refuse(_ string, _ E, err error) {
	if p.refused == nil {
		p.refused = err
	}
}

// lend lends the bytes of a key as a string: the engine encodes it before it returns.
func lend(key []byte) string { return unsafe.String(unsafe.SliceData(key), len(key)) }

func (p *producer[S, E, R]) Send(ctx context.Context, e workload.Event) error {
	err := p.p.Send(ctx, lend(e.Key), p.of(e))
	if p.refused != nil {
		return p.refused
	}
	return err
}

// over is a context that has ended: Flush sends under it, and does not wait.
var over = func() context.Context {
	ctx, end := context.WithCancel(context.Background())
	end()
	return ctx
}()

// Push is a Flush that does not wait.
func (p *producer[S, E, R]) Push() error {
	if err := p.Flush(over); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (p *producer[S, E, R]) Settled() uint64 {
	_, settled := p.p.Progress()
	return settled
}

// Flush prefers the reason why an event was refused to what came of it.
func (p *producer[S, E, R]) Flush(ctx context.Context) error {
	err := p.p.Flush(ctx)
	if p.refused != nil {
		return p.refused
	}
	return err
}

func (p *producer[S, E, R]) Close(ctx context.Context) error { return p.p.Close(ctx) }

// namedProducer is a producer with a name: the place of an event in the stream is its
// sequence, so that what was done before is not sent again.
type namedProducer[S, E any, R comparable] struct {
	*producer[S, E, R]
	first uint64 // of the layers
	from  uint64 // the sequence from which on the store wants events
	next  uint64 // behind the last that was sent
	done  uint64 // events that were before that
	close func()
}

// Resumer is a door for the events of an earlier stream, whose Layers had this First: it has
// the name that the producer had which is opened as the same one of a load, and leaves out
// what the store has. Producers must have names.
func (s *folded[S, E, R]) Resumer(first uint64, window int) (bench.Producer, error) {
	p, err := newProducer(s, window)
	if n, ok := p.(*namedProducer[S, E, R]); ok {
		n.first = first
	}
	return p, err
}

func newNamedProducer[S, E any, R comparable](s *folded[S, E, R], p *producer[S, E, R], o engine.ProducerOptions[string, E]) (bench.Producer, error) {
	number := s.names.take()
	o.Name = fmt.Sprintf("%s-%d", s.options.Name, number)
	n := &namedProducer[S, E, R]{producer: p, first: s.options.First, close: func() { s.names.give(number) }}
	var err error
	if p.p, err = s.table.Producer(o); err == nil {
		n.from, err = p.p.Resume(context.Background())
	}
	if err != nil {
		n.close()
		return nil, err
	}
	n.next = n.from
	return n, nil
}

// Send leaves out what the store says it has.
func (p *namedProducer[S, E, R]) Send(ctx context.Context, e workload.Event) error {
	sequence := p.first + e.Ordinal + 1
	if sequence < p.from {
		p.done++
		return nil
	}
	err := p.p.SendAt(ctx, sequence, lend(e.Key), p.of(e))
	if err == nil {
		p.next = sequence + 1
	}
	if p.refused != nil {
		return p.refused
	}
	return err
}

func (p *namedProducer[S, E, R]) Settled() uint64 { return p.done + p.producer.Settled() }

// Close checks that the store would have the producer go on behind its last event.
func (p *namedProducer[S, E, R]) Close(ctx context.Context) error {
	defer p.close()
	next, err := p.p.Resume(ctx)
	if err == nil && next != p.next {
		err = fmt.Errorf("store: the store would go on with event %d of a producer that goes on with %d", next, p.next)
	}
	return errors.Join(err, p.p.Close(ctx))
}

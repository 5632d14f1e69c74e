package pair

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/engine"
)

// senders are goroutines with a producer each, which send their parts of a stream.
type senders[E any] struct {
	producers []*engine.Producer[limit.Key, limit.State, E, struct{}]
	parts     []stream[E]
}

func newSenders[E any](e *engineSide[E], o *Options, s stream[E]) (*senders[E], error) {
	f := &senders[E]{parts: s.split(o.Producers)}
	for i := range f.parts {
		options := engine.ProducerOptions[limit.Key, E]{Ack: e.ack, InFlightMax: o.InFlight}
		if o.Layer == Named {
			options.Name = fmt.Sprint("price-", i)
		}
		p, err := e.table.Producer(options)
		if err != nil {
			return nil, errors.Join(err, f.close(context.Background()))
		}
		f.producers = append(f.producers, p)
	}
	return f, nil
}

func (f *senders[E]) pass(ctx context.Context) error {
	errs := make([]error, len(f.parts))
	var all sync.WaitGroup
	for i, part := range f.parts {
		all.Go(func() { errs[i] = send(ctx, f.producers[i], part) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// send sends a stream and waits until all of it is acknowledged.
func send[E any](ctx context.Context, p *engine.Producer[limit.Key, limit.State, E, struct{}], s stream[E]) error {
	for i := range s.keys {
		if err := p.Send(ctx, s.keys[i], s.events[i]); err != nil {
			return err
		}
	}
	return p.Flush(ctx)
}

func (f *senders[E]) close(ctx context.Context) (err error) {
	for _, p := range f.producers {
		err = errors.Join(err, p.Close(ctx))
	}
	f.producers = nil
	return err
}

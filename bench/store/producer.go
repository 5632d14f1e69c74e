package store

import (
	"context"
	"errors"
	"unsafe"

	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// producer is the engine's as a bench.Producer.
type producer[E any] struct {
	p       *engine.Producer[string, workload.Stats, E, struct{}]
	of      func(workload.Event) E
	refused error // the first, since no event of a load may be
}

func (p *producer[E]) refuse(_ string, _ E, err error) {
	if p.refused == nil {
		p.refused = err
	}
}

// Send lends the key as a string: the engine encodes it before it returns.
func (p *producer[E]) Send(ctx context.Context, e workload.Event) error {
	err := p.p.Send(ctx, unsafe.String(unsafe.SliceData(e.Key), len(e.Key)), p.of(e))
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
func (p *producer[E]) Push() error {
	if err := p.Flush(over); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (p *producer[E]) Settled() uint64 {
	_, settled := p.p.Progress()
	return settled
}

// Flush prefers the reason why an event was refused to what came of it.
func (p *producer[E]) Flush(ctx context.Context) error {
	err := p.p.Flush(ctx)
	if p.refused != nil {
		return p.refused
	}
	return err
}

func (p *producer[E]) Close(ctx context.Context) error { return p.p.Close(ctx) }

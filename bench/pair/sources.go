package pair

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/engine"
)

// sources are parts of a stream, one for each shard, that the shards read themselves.
// The parts are pieces of the stream as they come, not divided by key: what a shard
// does not own it hands over.
type sources[E any] struct {
	side     *engineSide[E]
	parts    []stream[E]
	inFlight int
	named    bool
	passes   uint64 // that were made
}

func newSources[E any](e *engineSide[E], o *Options, s stream[E]) *sources[E] {
	f := &sources[E]{side: e, inFlight: o.InFlight, named: o.Layer == Named}
	n, shards := len(s.keys), o.Shards()
	for i := range shards {
		from, to := i*n/shards, (i+1)*n/shards
		f.parts = append(f.parts, stream[E]{s.keys[from:to], s.events[from:to]})
	}
	return f
}

// pass has the shards read all parts to their ends.
func (f *sources[E]) pass(ctx context.Context) error {
	var errs []error
	var feeds []*engine.Feed
	for i, part := range f.parts {
		var source engine.Source[limit.Key, E] = &reading[E]{part}
		options := engine.SourceOptions[limit.Key, E]{Ack: f.side.ack, InFlightMax: f.inFlight}
		if f.named {
			source = &goingOn[E]{reading[E]{part}, f.passes * uint64(len(part.keys))}
			options.Name, options.Partition = "price", i
		}
		feed, err := f.side.table.Consume(ctx, source, options)
		if err != nil {
			errs = append(errs, err)
			break
		}
		feeds = append(feeds, feed)
	}
	f.passes++
	for _, feed := range feeds {
		err := feed.Wait(ctx)
		if err != nil {
			err = errors.Join(err, feed.Close(context.WithoutCancel(ctx)))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (f *sources[E]) close(context.Context) error { return nil }

// reading is a part of a stream as a source.
type reading[E any] struct{ left stream[E] }

// Poll hands out what is left.
func (r *reading[E]) Poll(records []engine.Record[limit.Key, E]) (int, error) {
	n := min(len(records), len(r.left.keys))
	for i := range records[:n] {
		records[i].Key, records[i].Event = r.left.keys[i], r.left.events[i]
	}
	r.left = stream[E]{r.left.keys[n:], r.left.events[n:]}
	if len(r.left.keys) == 0 {
		return n, io.EOF
	}
	return n, nil
}

// goingOn is a reading with a name, whose records are behind those of the passes before.
type goingOn[E any] struct {
	reading[E]
	given uint64 // by the passes before
}

var _ engine.Resumer = (*goingOn[limit.Event])(nil)

// Resume is called by the engine before the first Poll of a pass.
func (r *goingOn[E]) Resume(offset uint64) error {
	if offset != r.given {
		return fmt.Errorf("pair: a source that has given %d records is to go on with %d", r.given, offset)
	}
	return nil
}

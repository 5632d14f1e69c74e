package rival

import (
	"context"
	"errors"
	"io"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/engine"
)

// readers is how many sources keyfold-source has, and shards that read them.
const readers = 2

// keyfoldSource has the shards read the events themselves.
func keyfoldSource() *Rival {
	return &Rival{
		Ours: true, Name: Source, About: "Keyfold with 2 shards that each read a Source; half of what one reads the other owns",
		Lanes: always(readers), Doors: []Door{Stream},
		Open: func(c Config) (Store, error) {
			s, err := openKeyfold(c, func(o *engine.Options) { o.Shards = readers })
			if err != nil {
				return nil, err
			}
			return sourceStore{s}, nil
		},
	}
}

// sourceStore is filled through producers, and reads after that.
type sourceStore struct{ *keyfoldStore }

// Read has each lane consumed as a Source.
func (s sourceStore) Read(next func(lane, most int) limit.Stream, settled func(lane int, events uint64)) error {
	ctx := context.Background()
	var feeds []*engine.Feed
	var errs []error
	for lane := range readers {
		feed, err := s.table.Consume(ctx, laneSource(func(most int) limit.Stream { return next(lane, most) }),
			engine.SourceOptions[limit.Key, limit.Event]{Ack: s.ack, Settled: func(n uint64) { settled(lane, n) }})
		if err != nil {
			errs = append(errs, err)
			break
		}
		feeds = append(feeds, feed)
	}
	for _, feed := range feeds {
		errs = append(errs, feed.Wait(ctx))
	}
	return errors.Join(errs...)
}

// laneSource is a lane as a Source.
type laneSource func(most int) limit.Stream

// Poll hands over what is next.
func (next laneSource) Poll(records []engine.Record[limit.Key, limit.Event]) (int, error) {
	batch := next(len(records))
	for i := range batch.Keys {
		records[i].Key, records[i].Event = batch.Keys[i], batch.Events[i]
	}
	if len(batch.Keys) == 0 {
		return 0, io.EOF
	}
	return len(batch.Keys), nil
}

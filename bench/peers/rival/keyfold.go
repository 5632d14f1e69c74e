package rival

import (
	"context"
	"errors"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/engine"
)

func keyfold(name, about string, set ...func(*engine.Options)) *Rival {
	return &Rival{
		Name: name, Ours: true, About: about + "; a Producer a lane, 1 lane, 2 for synced windows; Do for callers",
		Lanes: func(s Sync) int {
			if s == Always {
				return 2 // while one waits for its sync the other sends
			}
			return 1
		},
		Open: func(c Config) (Store, error) { return storeOf(openKeyfold(c, set...)) },
	}
}

func keyfoldLibrary() *Rival {
	return keyfold("keyfold-library", "Keyfold with tidwall/wal as its device", func(o *engine.Options) { o.Device = engine.DeviceLibrary })
}

// keyfoldWide has the machine to itself: as many shards as cores.
func keyfoldWide() *Rival {
	r := keyfold("keyfold-wide", "Keyfold with 2 shards", func(o *engine.Options) { o.Shards = 2 })
	r.Lanes = always(2)
	return r
}

// storeOf is a store without a nil in it.
func storeOf(s *keyfoldStore, err error) (Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

type foldTable = engine.Table[limit.Key, limit.State, limit.Event, struct{}]
type foldProducer = engine.Producer[limit.Key, limit.State, limit.Event, struct{}]

func openKeyfold(c Config, set ...func(*engine.Options)) (*keyfoldStore, error) {
	o := engine.Options{}
	switch c.Sync {
	case None:
		o.Sync = engine.SyncNever
	case Second:
		o.Sync, o.SyncInterval = engine.SyncInterval, time.Second
	}
	for _, s := range set {
		s(&o)
	}
	table := engine.NewTable(engine.Spec[limit.Key, limit.State, limit.Event, struct{}]{
		Name: "states",
		Apply: func(_ *engine.Context[limit.Key], s *limit.State, e limit.Event) (none struct{}) {
			s.Fold(e.Value)
			return none
		},
	})
	e, err := engine.Open(context.Background(), c.Dir, o, table)
	if err != nil {
		return nil, err
	}
	s := &keyfoldStore{engine: e, table: table, ack: engine.Written}
	if c.Sync == Always {
		s.ack = engine.Durable
	}
	return s, nil
}

type keyfoldStore struct {
	engine *engine.Engine
	table  *foldTable
	ack    engine.Ack
	lanes  []*keyfoldLane
}

// Lane opens a producer.
func (s *keyfoldStore) Lane(int) (Lane, error) {
	p, err := s.table.Producer(engine.ProducerOptions[limit.Key, limit.Event]{Ack: s.ack})
	if err != nil {
		return nil, err
	}
	l := &keyfoldLane{producer: p}
	s.lanes = append(s.lanes, l)
	return l, nil
}

// Do is Table.Do.
func (s *keyfoldStore) Do(_ int, key *limit.Key, event *limit.Event) error {
	_, err := s.table.Do(context.Background(), *key, *event, s.ack)
	return err
}

// Each goes through the table.
func (s *keyfoldStore) Each(fn func(key []byte, s limit.State) error) error {
	for e, err := range s.table.All(context.Background()) {
		if err != nil {
			return err
		}
		if err := fn(e.Key[:], e.State); err != nil {
			return err
		}
	}
	return nil
}

// Processes are none.
func (s *keyfoldStore) Processes() []int { return nil }

// Close closes the producers, then the engine.
func (s *keyfoldStore) Close() error {
	var errs []error
	for _, l := range s.lanes {
		errs = append(errs, l.producer.Close(context.Background()))
	}
	return errors.Join(append(errs, s.engine.Close())...)
}

type keyfoldLane struct{ producer *foldProducer }

// Apply sends, and waits only while too many events are under way.
func (l *keyfoldLane) Apply(batch limit.Stream) error {
	ctx := context.Background()
	for i := range batch.Keys {
		if err := l.producer.Send(ctx, batch.Keys[i], batch.Events[i]); err != nil {
			return err
		}
	}
	return nil
}

// Settled is what the shards have acknowledged.
func (l *keyfoldLane) Settled() uint64 {
	_, settled := l.producer.Progress()
	return settled
}

// Flush is the producer's.
func (l *keyfoldLane) Flush() error { return l.producer.Flush(context.Background()) }

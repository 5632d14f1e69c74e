package rival

import (
	"context"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/engine"
)

// keyfoldBatch sends what it is handed as one Batch, and waits for it.
func keyfoldBatch() *Rival {
	return &Rival{
		Ours: true, Name: "keyfold-batch", About: "Keyfold, Options{} but for Sync; a Batch for each batch, and its Do waits for the ack; 2 lanes",
		Lanes: always(2), Doors: []Door{Stream, Window},
		Open: func(c Config) (Store, error) {
			s, err := openKeyfold(c)
			if err != nil {
				return nil, err
			}
			return batchStore{s}, nil
		},
	}
}

type batchStore struct{ *keyfoldStore }

// Lane is a batch that is used again and again.
func (s batchStore) Lane(int) (Lane, error) {
	return &batchLane{store: s.keyfoldStore, batch: s.engine.Batch()}, nil
}

type batchLane struct {
	store   *keyfoldStore
	batch   *engine.Batch
	settled uint64
}

// Apply returns when the batch is acknowledged.
func (l *batchLane) Apply(batch limit.Stream) error {
	for i := range batch.Keys {
		l.store.table.Put(l.batch, batch.Keys[i], batch.Events[i], nil)
	}
	if err := l.batch.Do(context.Background(), l.store.ack); err != nil {
		return err
	}
	l.settled += uint64(len(batch.Keys))
	return nil
}

// Settled is every event.
func (l *batchLane) Settled() uint64 { return l.settled }

// Flush has nothing to wait for.
func (l *batchLane) Flush() error { return nil }

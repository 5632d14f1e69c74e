package rival

import (
	"errors"

	"github.com/dgraph-io/badger/v4"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
)

func badgerPeer() *Rival {
	return &Rival{
		Name: "badger", About: "Badger v4, a transaction a batch; block cache 512 MB, no conflict detection, 1 version; 2 lanes",
		Lanes: always(2), Open: openBadger,
	}
}

func openBadger(c Config) (Store, error) {
	o := badger.DefaultOptions(c.Dir).WithLogger(quiet{}).WithBlockCacheSize(512 << 20).
		WithDetectConflicts(false).WithNumVersionsToKeep(1).WithSyncWrites(c.Sync == Always)
	db, err := badger.Open(o)
	if err != nil {
		return nil, err
	}
	return newKVStore(&badgerDB{db}, 2, c, false), nil
}

type badgerDB struct{ db *badger.DB }

// update keeps nothing of deltas: a commit returns when they are written.
func (b *badgerDB) update(_ int, deltas []job.Delta) error {
	txn := b.db.NewTransaction(true)
	defer txn.Discard()
	values := make([]byte, 0, len(deltas)*job.StateBytes)
	for i := range deltas {
		d := &deltas[i]
		old, err := badgerGet(txn, d.Key[:])
		if err != nil {
			return err
		}
		start := len(values)
		if values, err = changed(values, old, d); err != nil {
			return err
		}
		if err := txn.Set(d.Key[:], values[start:]); err != nil {
			return err
		}
	}
	return txn.Commit()
}

// badgerGet is the state of a key, or nil.
func badgerGet(txn *badger.Txn, key []byte) (value []byte, err error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = item.Value(func(v []byte) error {
		value = v // valid until the transaction ends
		return nil
	})
	return value, err
}

func (b *badgerDB) each(fn func(key []byte, s limit.State) error) error {
	return b.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			err := item.Value(func(v []byte) error {
				s, err := job.DecodeState(v)
				if err != nil {
					return err
				}
				return fn(item.Key(), s)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *badgerDB) sync() error { return b.db.Sync() }

func (b *badgerDB) close() error { return b.db.Close() }

package rival

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"

	"go.etcd.io/bbolt"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
)

func bboltPeer() *Rival {
	return &Rival{
		Name: "bbolt", About: "bbolt, a transaction a batch, keys in order; NoFreelistSync, map freelist; 1 lane",
		Lanes: always(1), Open: openBbolt,
	}
}

var bboltStates = []byte("states")

func openBbolt(c Config) (Store, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	db, err := bbolt.Open(filepath.Join(c.Dir, "bbolt.db"), 0o600, &bbolt.Options{
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, NoSync: c.Sync != Always,
	})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bboltStates)
		return err
	})
	if err != nil {
		_ = db.Close() // the first error says why
		return nil, err
	}
	return newKVStore(&bboltDB{db}, 1, c, false), nil
}

type bboltDB struct{ db *bbolt.DB }

// update goes through the tree in the order of the keys, which it likes best.
func (b *bboltDB) update(_ int, deltas []job.Delta) error {
	slices.SortFunc(deltas, func(a, b job.Delta) int { return bytes.Compare(a.Key[:], b.Key[:]) })
	return b.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bboltStates)
		values := make([]byte, 0, len(deltas)*job.StateBytes) // kept by the transaction
		for i := range deltas {
			d, start := &deltas[i], len(values)
			var err error
			if values, err = changed(values, bucket.Get(d.Key[:]), d); err != nil {
				return err
			}
			if err := bucket.Put(d.Key[:], values[start:]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bboltDB) each(fn func(key []byte, s limit.State) error) error {
	return b.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bboltStates).ForEach(func(key, value []byte) error {
			s, err := job.DecodeState(value)
			if err != nil {
				return err
			}
			return fn(key, s)
		})
	})
}

func (b *bboltDB) sync() error { return b.db.Sync() }

func (b *bboltDB) close() error { return b.db.Close() }

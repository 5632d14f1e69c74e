package rival

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/tidwall/buntdb"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
)

func buntPeer() *Rival {
	return &Rival{
		Name: "buntdb", About: "BuntDB, a transaction a batch; automatic shrinking off; 1 lane",
		Lanes: always(1), Open: openBunt,
	}
}

func openBunt(c Config) (Store, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	db, err := buntdb.Open(filepath.Join(c.Dir, "bunt.aof"))
	if err != nil {
		return nil, err
	}
	var config buntdb.Config
	if err := db.ReadConfig(&config); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	config.AutoShrinkDisabled = true
	config.SyncPolicy = map[Sync]buntdb.SyncPolicy{None: buntdb.Never, Second: buntdb.EverySecond, Always: buntdb.Always}[c.Sync]
	if err := db.SetConfig(config); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return newKVStore(&buntDB{db}, 1, c, true), nil
}

type buntDB struct{ db *buntdb.DB }

func (b *buntDB) update(_ int, deltas []job.Delta) error {
	return b.db.Update(func(tx *buntdb.Tx) error {
		var value [job.StateBytes]byte
		for i := range deltas {
			key := string(deltas[i].Key[:])
			old, err := tx.Get(key)
			if err != nil && !errors.Is(err, buntdb.ErrNotFound) {
				return err
			}
			text, err := changed(value[:0], old, &deltas[i])
			if err != nil {
				return err
			}
			if _, _, err := tx.Set(key, string(text), nil); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *buntDB) each(fn func(key []byte, s limit.State) error) (err error) {
	viewed := b.db.View(func(tx *buntdb.Tx) error {
		return tx.Ascend("", func(key, value string) bool {
			var s limit.State
			if s, err = job.DecodeState(value); err == nil {
				err = fn([]byte(key), s)
			}
			return err == nil
		})
	})
	return errors.Join(viewed, err)
}

func (b *buntDB) sync() error { return nil } // BuntDB syncs each second by itself

func (b *buntDB) close() error { return b.db.Close() }

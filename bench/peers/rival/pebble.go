package rival

import (
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
)

const pebbleAbout = "cache 512 MB, memtable 64 MB x 4, bloom 10, 1-2 compactions; 2 lanes"

func pebbleSet() *Rival {
	return &Rival{
		Name: "pebble", About: "Pebble v2, Get and Set in a batch; " + pebbleAbout, Lanes: always(2),
		Open: func(c Config) (Store, error) { return openPebble(c, false) },
	}
}

func pebbleMerge() *Rival {
	return &Rival{
		Name: "pebble-merge", About: "Pebble v2, Merge: a write without a read; " + pebbleAbout, Lanes: always(2),
		Open: func(c Config) (Store, error) { return openPebble(c, true) },
	}
}

// quiet is a log that nobody reads.
type quiet struct{}

func (quiet) Infof(string, ...any)    {}
func (quiet) Errorf(string, ...any)   {}
func (quiet) Warningf(string, ...any) {}
func (quiet) Debugf(string, ...any)   {}
func (quiet) Fatalf(string, ...any)   {}

func openPebble(c Config, merge bool) (Store, error) {
	o := &pebble.Options{
		CacheSize: 512 << 20, MemTableSize: 64 << 20, MemTableStopWritesThreshold: 4,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		Logger:                     quiet{},
		Merger:                     &pebble.Merger{Name: "keyfold state", Merge: newPebbleSum},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(c.Dir, o)
	if err != nil {
		return nil, err
	}
	write := pebble.NoSync
	if c.Sync == Always {
		write = pebble.Sync
	}
	return newKVStore(&pebbleDB{db: db, write: write, merge: merge}, 2, c, false), nil
}

type pebbleDB struct {
	db    *pebble.DB
	write *pebble.WriteOptions
	merge bool
}

func (p *pebbleDB) update(_ int, deltas []job.Delta) error {
	b := p.db.NewBatchWithSize(len(deltas) * 64)
	var value [job.StateBytes]byte
	for i := range deltas {
		if err := p.put(b, &deltas[i], value[:0]); err != nil {
			return errors.Join(err, b.Close())
		}
	}
	return errors.Join(b.Commit(p.write), b.Close())
}

// put adds the change of one key to a batch.
func (p *pebbleDB) put(b *pebble.Batch, d *job.Delta, value []byte) error {
	if p.merge {
		return b.Merge(d.Key[:], job.AppendState(value, d.State), nil)
	}
	old, closer, err := p.db.Get(d.Key[:])
	if errors.Is(err, pebble.ErrNotFound) {
		return b.Set(d.Key[:], job.AppendState(value, d.State), nil)
	}
	if err != nil {
		return err
	}
	value, err = changed(value, old, d)
	if err := errors.Join(err, closer.Close()); err != nil {
		return err
	}
	return b.Set(d.Key[:], value, nil)
}

func (p *pebbleDB) each(fn func(key []byte, s limit.State) error) (err error) {
	it, err := p.db.NewIter(nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		s, err := job.DecodeState(it.Value())
		if err != nil {
			return err
		}
		if err := fn(it.Key(), s); err != nil {
			return err
		}
	}
	return it.Error()
}

// sync appends nothing to the log and syncs it.
func (p *pebbleDB) sync() error { return p.db.LogData(nil, pebble.Sync) }

func (p *pebbleDB) close() error { return p.db.Close() }

// A pebbleSum merges states. It belongs to the goroutine that merges.
type pebbleSum struct{ s limit.State }

func newPebbleSum(_, value []byte) (pebble.ValueMerger, error) {
	s, err := job.DecodeState(value)
	return &pebbleSum{s}, err
}

// MergeNewer folds what came after.
func (m *pebbleSum) MergeNewer(value []byte) error {
	later, err := job.DecodeState(value)
	job.Merge(&m.s, later)
	return err
}

// MergeOlder folds what came before.
func (m *pebbleSum) MergeOlder(value []byte) error {
	s, err := job.DecodeState(value)
	job.Merge(&s, m.s)
	m.s = s
	return err
}

// Finish is the merged state.
func (m *pebbleSum) Finish(bool) ([]byte, io.Closer, error) {
	return job.AppendState(nil, m.s), nil, nil
}

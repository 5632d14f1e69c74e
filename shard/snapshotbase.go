package shard

import (
	"errors"
	"slices"

	"github.com/keyfold/keyfold/snapshot"
)

// A Base is a snapshot of a shard as somebody reads it who folds changes onto it: the shard
// may be running, and need not know. It must be used by one goroutine at a time, and be
// closed.
type Base struct {
	file    *snapshot.Reader
	path    string
	schemas schemas
}

// Bases opens the snapshots that the CURRENT file of a shard names, oldest first: none if
// there is no such file. All that they hold is durable, and no crash takes it back.
func Bases(cfg Config) (all []*Base, err error) {
	for tried := []uint64(nil); ; {
		current, err := readCurrent(cfg.Log.FS, cfg.Dir, cfg.ID)
		if errors.Is(err, errNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		all, err := openBases(&cfg, current.Snapshots)
		// One that was removed meanwhile is not named any more.
		if errors.Is(err, errNotExist) && (tried == nil || !slices.Equal(tried, current.Snapshots)) {
			tried = current.Snapshots
			continue
		}
		return all, err
	}
}

func openBases(cfg *Config, numbers []uint64) (all []*Base, err error) {
	for _, number := range numbers {
		b, err := openBase(cfg, number)
		if err != nil {
			for _, b := range all {
				err = errors.Join(err, b.Close())
			}
			return nil, err
		}
		all = append(all, b)
	}
	return all, nil
}

func openBase(cfg *Config, number uint64) (*Base, error) {
	b := &Base{path: cfg.snapshotPath(number)}
	var err error
	if b.file, err = snapshot.Open(cfg.Log.FS, b.path, cfg.snapshotID(number)); err != nil {
		if errors.Is(err, errNotExist) {
			return nil, err
		}
		return nil, damaged(b.path, err)
	}
	if b.schemas, err = schemasOf(b.file.Header()); err != nil {
		return nil, errors.Join(damaged(b.path, err), b.file.Close())
	}
	return b, nil
}

// Sequence is that of the last event that the base holds of a partition, if it holds it.
func (b *Base) Sequence(partition uint32) (sequence uint64, ok bool) {
	p, ok := b.file.Partition(partition)
	return p.Sequence, ok
}

// Schema is the number of the schema that the states of a table were written under.
func (b *Base) Schema(table uint16) uint32 { return b.schemas.of(table) }

// Blocks hands out what the base holds of a table in a partition, as Image.Blocks has given
// it. data is borrowed.
func (b *Base) Blocks(partition uint32, table uint16, yield func(form uint8, entries uint32, data []byte) error) error {
	err := b.file.Load(partition, func(of uint16, form uint8, entries uint32, data []byte) error {
		if of != table {
			return nil
		}
		return yield(form, entries, data)
	})
	return damaged(b.path, err)
}

// Close closes the file.
func (b *Base) Close() error { return b.file.Close() }

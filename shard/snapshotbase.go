package shard

import (
	"errors"
	"fmt"
	"slices"

	"github.com/keyfold/keyfold/snapshot"
)

// ErrReplaced is matched when a base cannot be read any more because newer snapshots have
// replaced it, so that the shard has removed it: Bases gives those.
var ErrReplaced = errors.New("keyfold: the snapshot was replaced meanwhile")

// A Base is a snapshot of a shard as somebody reads it who folds changes onto it: the shard
// may be running, and need not know. It must be used by one goroutine at a time, and be
// closed.
type Base struct {
	cfg     Config
	number  uint64
	file    *snapshot.Reader
	path    string
	schemas schemas
}

// Bases opens the snapshots that the CURRENT file of a shard names, oldest first: none if
// there is no such file. All that they hold is durable, and no crash takes it back.
func Bases(cfg Config) (all []*Base, err error) {
	for tried := []uint64(nil); ; {
		current, again := readCurrent(cfg.Log.FS, cfg.Dir, cfg.ID)
		switch {
		case errors.Is(again, errNotExist):
			return nil, nil
		case again != nil:
			return nil, again
		case err != nil && slices.Equal(tried, current.Snapshots): // else one of them was removed meanwhile
			return nil, err
		}
		tried = current.Snapshots
		if all, err = openBases(&cfg, tried); err == nil {
			return all, nil
		}
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
	b := &Base{cfg: *cfg, number: number, path: cfg.snapshotPath(number)}
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
// it. data is borrowed. After ErrReplaced some of it may have been handed out.
func (b *Base) Blocks(partition uint32, table uint16, yield func(form uint8, entries uint32, data []byte) error) error {
	err := b.file.Load(partition, func(of uint16, form uint8, entries uint32, data []byte) error {
		if of != table {
			return nil
		}
		return yield(form, entries, data)
	})
	if err == nil || !isDamage(err) {
		return err
	}
	// A file that is being removed is cut down step by step, which looks like damage.
	current, again := readCurrent(b.cfg.Log.FS, b.cfg.Dir, b.cfg.ID)
	if errors.Is(again, errNotExist) || again == nil && !slices.Contains(current.Snapshots, b.number) {
		return fmt.Errorf("%w: %s", ErrReplaced, b.path)
	}
	return damaged(b.path, err)
}

// Close closes the file.
func (b *Base) Close() error { return b.file.Close() }

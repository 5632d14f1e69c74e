package engine

import (
	"context"
	"errors"
	"iter"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// An Entry is a key with its state.
type Entry[K comparable, S any] struct {
	Key   K // decoded
	State S // a copy
}

// errStopped ends a scan whose reader has had enough.
var errStopped = errors.New("keyfold: scan stopped")

// partitionsPerVisit is how many partitions a scan copies in one turn of a shard.
const partitionsPerVisit = 16

// All walks through all keys of the table with copies of their states, in no order.
// Each partition is shown as it was at one moment between two events; different
// partitions at different moments. Writers go on meanwhile. It shows applied state,
// which a crash may take back by one group commit. An error is the last pair: that
// of ctx, ErrClosed, ErrShardFailed, ErrInside, or a codec's.
func (t *Table[K, S, E, R]) All(ctx context.Context) iter.Seq2[Entry[K, S], error] {
	return func(yield func(Entry[K, S], error) bool) {
		err := t.declaration.scan(ctx, func(k, s unsafe.Pointer) bool { return yield(Entry[K, S]{Key: *(*K)(k), State: *(*S)(s)}, nil) })
		if err != nil && !errors.Is(err, errStopped) {
			yield(Entry[K, S]{}, err)
		}
	}
}

// scan shows all keys and states, which are borrowed, until yield returns false: then the
// error is errStopped.
func (d *declaration) scan(ctx context.Context, yield func(k, s unsafe.Pointer) bool) error {
	b, err := d.bound()
	if err != nil {
		return err
	}
	if b.engine.inside() {
		return ErrInside
	}
	return b.engine.eachPartition(func(s *shard.Shard, part []uint32) ([]uint32, error) {
		return b.visit(ctx, s, part, yield)
	})
}

// visit copies some partitions on their shard and shows them here. It returns those that
// the shard does not have.
func (b *binding) visit(ctx context.Context, s *shard.Shard, partitions []uint32, yield func(k, s unsafe.Pointer) bool) (elsewhere []uint32, err error) {
	var images []*image
	elsewhere, err = s.Freeze(ctx, b.id, partitions, func(i shard.Image) { images = append(images, i.(*image)) })
	if err != nil {
		return nil, err
	}
	return elsewhere, showAll(images, yield)
}

// byShard lists partitions by the shard that owns them now.
func (e *Engine) byShard(partitions []uint32) [][]uint32 {
	owners := e.route.Load().owner
	out := make([][]uint32, len(e.shards())) // as they are behind the route: it names no others
	for _, id := range partitions {
		out[owners[id]] = append(out[owners[id]], id)
	}
	return out
}

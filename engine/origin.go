package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/shard"
)

var (
	// ErrNameInUse is matched when a producer or a source gets a name that another one of
	// the engine has. Two of them could not keep one order. Nothing was done.
	ErrNameInUse = errors.New("keyfold: the name is in use")

	// ErrTooManyNames is matched when a table has as many named producers and sources as it
	// can have. Table.Forget makes room. Nothing was done.
	ErrTooManyNames = errors.New("keyfold: too many names of producers and sources")

	// ErrStopped is matched when a named producer takes no events, or an event of its was
	// not done, because one before it was not done for want of room, or because its shard
	// takes none: to do the later one would leave the earlier one out for good. Call
	// Producer.Resume, and send again from where it says.
	ErrStopped = errors.New("keyfold: an earlier event of the producer was not done")

	// ErrSequence is matched when sequences do not ascend. Nothing was done.
	ErrSequence = errors.New("keyfold: sequences must ascend")

	// ErrNoName is returned by what only a named producer can do.
	ErrNoName = errors.New("keyfold: the producer has no name")
)

// namesMax is how many names of producers and sources a table may have. A partition keeps
// the sequences of twice as many origins, so that those of forgotten names do not push out
// others before as many have come.
const namesMax = 1024

// The kinds of named streams.
const (
	kindProducer = "producer"
	kindSource   = "source"
)

// holders are the names that are in use.
type holders struct {
	mu    sync.Mutex // guards names
	names map[string]struct{}
}

func (h *holders) take(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, taken := h.names[name]; taken {
		return false
	}
	if h.names == nil {
		h.names = make(map[string]struct{})
	}
	h.names[name] = struct{}{}
	return true
}

func (h *holders) drop(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.names, name)
}

// A stream is what a named producer or source is to the store.
type stream struct {
	engine *Engine
	kind   string
	name   string // with that of the table
	nonce  uint64 // tells it from streams of the same name that were forgotten
	origin uint64 // in stamps
	kept   uint64 // position that was written last
	at     time.Time
}

// openStream takes a name, and finds out how far it had come. Its position is 0 at first.
// A name that is new is written down before anything can bear it.
func (e *Engine) openStream(ctx context.Context, kind, table, name string) (*stream, error) {
	if len(name) > nameBytesMax || strings.ContainsRune(name, '/') {
		return nil, fmt.Errorf("keyfold: a %s needs a name of at most %d bytes without a slash, not %q", kind, nameBytesMax, name)
	}
	s := &stream{engine: e, kind: kind, name: table + "/" + name}
	if !e.holders.take(kind + "/" + s.name) {
		return nil, fmt.Errorf("%w: %s %q of table %q", ErrNameInUse, kind, name, table)
	}
	if err := s.find(ctx, table); err != nil {
		s.close()
		return nil, err
	}
	s.origin = xxh3.HashStringSeed(fmt.Sprintf("%s/%s/%x", kind, s.name, s.nonce), e.routing.Seed)
	return s, nil
}

// find reads the position, or writes the first one.
func (s *stream) find(ctx context.Context, table string) error {
	value, found, err := s.engine.position(ctx, s.kind, s.name)
	if err != nil {
		return err
	}
	if found {
		return s.decode(value)
	}
	count := 0
	for _, kind := range []string{kindProducer, kindSource} {
		names, err := s.engine.positionsOf(ctx, kind)
		if err != nil {
			return err
		}
		for name := range names {
			if tableOf(name) == table {
				count++
			}
		}
	}
	if count >= namesMax {
		return fmt.Errorf("%w: table %q has %d", ErrTooManyNames, table, count)
	}
	s.nonce = rand.Uint64() | 1
	return s.keep(ctx, 0)
}

// tableOf is the table of a stream. The names of tables may have slashes, those of streams
// have none.
func tableOf(stream string) string { return stream[:max(strings.LastIndexByte(stream, '/'), 0)] }

// sourceName is the name of one source of those that have a name together.
func sourceName(name string, partition int) string { return fmt.Sprintf("%s#%d", name, partition) }

// bears says whether a stream is the producer, or one of the sources, of a name.
func bears(kind, stream, name string) bool {
	if kind == kindProducer {
		return stream == name
	}
	partition, ok := strings.CutPrefix(stream, name+"#")
	_, err := strconv.Atoi(partition)
	return ok && err == nil
}

// decode reads a position: nonce and number, in text.
func (s *stream) decode(value string) (err error) {
	nonce, position, _ := strings.Cut(value, " ")
	if s.nonce, err = strconv.ParseUint(nonce, 16, 64); err == nil {
		s.kept, err = strconv.ParseUint(position, 10, 64)
	}
	if err != nil {
		return fmt.Errorf("keyfold: the position of %s %q: %w", s.kind, s.name, err)
	}
	return nil
}

// keep writes down that everything below position is settled, durably.
func (s *stream) keep(ctx context.Context, position uint64) error {
	err := s.engine.keepPosition(ctx, s.kind, s.name, fmt.Sprintf("%x %d", s.nonce, position))
	if err == nil {
		s.kept, s.at = position, time.Now()
	}
	return err
}

// close gives the name back.
func (s *stream) close() { s.engine.holders.drop(s.kind + "/" + s.name) }

// Forget forgets a named producer, or a source with all of its partitions: their names
// can be used as if they were new, and count no more. What partitions keep of them goes
// when others need the room. Events that they have sent are done again if they are sent
// again. It returns ErrNameInUse while one of them is open, and otherwise what Do returns.
func (t *Table[K, S, E, R]) Forget(ctx context.Context, name string) error {
	return t.declaration.forget(ctx, name)
}

func (d *declaration) forget(ctx context.Context, name string) error {
	b, err := d.bound()
	if err != nil {
		return err
	}
	e := b.engine
	for _, kind := range []string{kindProducer, kindSource} {
		names, err := e.positionsOf(ctx, kind)
		if err != nil {
			return err
		}
		for full := range names {
			if tableOf(full) != d.name || !bears(kind, full[len(d.name)+1:], name) {
				continue
			}
			if !e.holders.take(kind + "/" + full) {
				return fmt.Errorf("%w: %s %q", ErrNameInUse, kind, full)
			}
			err := e.keepPosition(ctx, kind, full, "")
			e.holders.drop(kind + "/" + full)
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// An origin is how far a stream has come in one partition.
type origin struct {
	id       uint64
	sequence uint64 // of its last event that was done
	at       uint64 // sequence of that event in the partition
}

// originBytes is the size of an origin in a block.
const originBytes = 24

// search finds the place of an origin.
func (x *extras) search(id uint64) (int, bool) {
	if len(x.origins) == 1 { // mostly
		return 0, x.origins[0].id == id
	}
	return slices.BinarySearchFunc(x.origins, id, func(o origin, id uint64) int {
		switch {
		case o.id < id:
			return -1
		case o.id > id:
			return 1
		}
		return 0
	})
}

// passed says whether an event of an origin, or a later one, was done.
func (x *extras) passed(id, sequence uint64) bool {
	if x == nil {
		return false
	}
	i, ok := x.search(id)
	return ok && sequence <= x.origins[i].sequence
}

// advance notes that an event of an origin was done.
func (x *extras) advance(o origin) {
	if i, ok := x.search(o.id); ok {
		x.origins[i] = o
		return
	}
	if len(x.origins) == 2*namesMax {
		quiet := 0
		for i := range x.origins {
			if x.origins[i].at < x.origins[quiet].at {
				quiet = i
			}
		}
		x.origins = slices.Delete(x.origins, quiet, quiet+1)
	}
	i, _ := slices.BinarySearchFunc(x.origins, o.id, func(o origin, id uint64) int {
		if o.id < id {
			return -1
		}
		return 1
	})
	x.origins = slices.Insert(x.origins, i, o)
}

// originOf reads the stamp of an event.
func originOf(op *shard.Operation) (id, sequence uint64) {
	stamp := op.Stamped()
	return binary.LittleEndian.Uint64(stamp), binary.LittleEndian.Uint64(stamp[8:])
}

// putOrigin adds an event with its place in a stream to a buffer. After an error the
// buffer is as it was.
func (b *binding) putOrigin(to *buffer, hash uint64, key []byte, origin, sequence uint64, e unsafe.Pointer) (err error) {
	var front [shard.StampBytes]byte
	binary.LittleEndian.PutUint64(front[:], origin)
	binary.LittleEndian.PutUint64(front[8:], sequence)
	to.begin()
	if to.block, err = b.appendStamped(to.block, hash, key, shard.StampOrigin, &front, e); err == nil {
		to.count++
	}
	return err
}

// stops says whether an event was refused because the engine takes none, and not because
// of what it is.
func stops(err error) bool {
	return errors.Is(err, ErrReadOnly) || errors.Is(err, ErrShardFailed) || errors.Is(err, ErrClosed) || errors.Is(err, ErrStopped)
}

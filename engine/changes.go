package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"
	"unsafe"

	"github.com/keyfold/keyfold/shard"
)

// ErrTrimmed is matched when changes that a reader wants are not kept any more:
// Options.KeepLog bounds them, and no reader holds them back. The reader must begin again:
// with the states of now and their position, from [Table.States], or with
// [ChangesOptions].SkipTrimmed.
var ErrTrimmed = shard.ErrTrimmed

// A Change is an accepted event of a table.
type Change[K comparable, E any] struct {
	Key       K         // decoded
	Event     E         // decoded, and lifted if an older version wrote it; the zero E if a timer of the key has fired
	Timer     bool      // the shard made the event itself, for a timer or the end of the key
	Partition int       // of the key
	Sequence  uint64    // of the event in its partition, over all tables: it only grows
	Time      time.Time // as Apply saw it
}

// ChangesOptions says what a reader of changes wants. The zero value follows the log
// for ever, and is told when changes are gone.
type ChangesOptions struct {
	// Stop ends with io.EOF when everything that is durable was handed out, instead of
	// waiting for more.
	Stop bool
	// SkipTrimmed goes on behind changes that are not kept any more, and counts them,
	// instead of failing with ErrTrimmed.
	SkipTrimmed bool
	// States has each change come with the state that it left: [Changes.State]. It cannot be
	// had together with SkipTrimmed.
	States bool
}

// Changes hands out the accepted events of one table, each once, those of a key in their
// order, and only such as are durable: no crash takes back what was handed out. It reads
// the files of the log, on the goroutine of its user: however slow it is, nothing waits for
// it, and nothing is kept for it. It must be used by one goroutine at a time, and be closed.
//
// Events that older versions of the program wrote come as the present type: lifted by
// Spec.Upgrades, as a recovery would, on the goroutine of the reader.
//
// With Options.Sync: SyncNever, events become durable when a file of the log is full, and when
// a snapshot, a backup or [Table.States] wants it.
//
// With ChangesOptions.States the reader has the states of the table, too, each as it was when
// the last change that was read had come. It makes them like a recovery: it loads the newest
// states that are not behind its position, from snapshots and from what the logs have of
// partitions that were moved, and folds every change into them, on the goroutine of its user:
// with Spec.Init, Apply, OnTimer and OnExpire, without Check; what they do beside changing the
// state, they do again. That costs what the table takes in the engine, once more: memory for
// every key, until Close; and a start that reads a snapshot, and the changes between it and
// the position. The shards do nothing for it, and a reader that does not ask pays nothing.
//
// It needs a state that is not behind its position. There is one for the Position of States,
// and of a reader that is not behind by more than two snapshots, and for the zero Position if
// all of the log is there. For others it is ErrTrimmed, although KeepLog may have their
// changes: a reader without States gets these, and one with them begins again.
type Changes[K comparable, S, E, R any] struct {
	reader changeReader
	clone  func(*S) S
	key    K // of the change that was read last, as its event; here so that they do not escape
	event  E
	state  S // that it has left
	exists bool
}

// A changeReader is a Changes without its types.
type changeReader struct {
	binding    *binding
	options    ChangesOptions
	follower   *shard.Follower
	tell       chan struct{} // of capacity 1: shards send when more is durable
	told       []*shard.Shard
	change     shard.Change // that was read last
	decoder    *changeDecoder
	key, event unsafe.Pointer // where it is decoded to
	failure    error          // sticks
	looked     int            // changes since ctx was looked at

	folding *folding // nil: states are not wanted
	states  *binding
}

// Changes returns a reader of the changes behind from: of the zero Position, of all there
// have ever been. What a store has without Options.KeepLog are the changes since the last
// snapshot but one.
//
// With ChangesOptions.States it loads states before it returns; ctx is looked at between
// partitions.
//
// Errors: ErrClosed, ErrInside, those of the context and of the disk, and ErrPosition; with
// States also a *[CorruptError] for a snapshot, and a *[VersionError] for states that
// Spec.Upgrades do not lift.
func (t *Table[K, S, E, R]) Changes(ctx context.Context, from Position, options ChangesOptions) (*Changes[K, S, E, R], error) {
	c := &Changes[K, S, E, R]{clone: t.spec.Clone}
	c.reader = changeReader{options: options, tell: make(chan struct{}, 1), key: unsafe.Pointer(&c.key), event: unsafe.Pointer(&c.event)}
	if err := c.reader.open(ctx, &t.declaration, from); err != nil {
		return nil, err
	}
	return c, nil
}

// open begins to read the changes of a table behind from.
func (c *changeReader) open(ctx context.Context, table *declaration, from Position) error {
	b, err := table.bound()
	if err != nil {
		return err
	}
	e := b.engine
	if e.inside() {
		return ErrInside
	}
	position, err := e.startAt(from)
	if err == nil {
		err = e.checkPast(ctx, position)
	}
	if err != nil {
		return err
	}
	if c.options.States && c.options.SkipTrimmed {
		return errors.New("keyfold: a reader that skips changes does not know the states that the next ones leave: ChangesOptions.States and SkipTrimmed exclude each other")
	}
	c.binding = b
	if c.decoder, err = table.changeDecoder(b.entry); err != nil {
		return err
	}
	former := e.history.trails
	if c.options.States {
		c.folding = e.newFolding(table.name, b.id, position, func(own *Engine) attachment {
			c.states = table.bind(own, b.id, b.entry)
			c.states.bare = true
			return c.states
		})
		if position, err = c.folding.begin(ctx); err != nil {
			c.folding.close()
			return err
		}
		former = c.folding.wanting(former)
	}
	c.follower = shard.NewFollower(former, c.follow, position)
	if c.follower.Skip = c.options.SkipTrimmed; c.options.States {
		c.follower.Bridge = c.folding.bridge
	}
	return nil
}

// checkPast makes sure that the store has come as far as a position.
func (e *Engine) checkPast(ctx context.Context, position []uint64) error {
	have := make([]uint64, len(position))
	err := e.eachPartition(func(s *shard.Shard, part []uint32) ([]uint32, error) {
		elsewhere, err := s.Sequences(ctx, part, have)
		if errors.Is(err, ErrShardFailed) {
			return nil, nil
		}
		return elsewhere, err
	})
	if err != nil {
		return err
	}
	for id, sequence := range have { // 0: nothing is known, its shard has failed
		if sequence != 0 && position[id] > sequence {
			return fmt.Errorf("%w: it has event %d of partition %d, of which there are %d", ErrPosition, position[id], id, sequence)
		}
	}
	return nil
}

// follow adds the shards from the one with index have on.
func (c *changeReader) follow(have int) []shard.TrailSource {
	sources := c.binding.engine.trails(have)
	for _, source := range sources {
		source.Live.Follow(c.tell)
		c.told = append(c.told, source.Live)
	}
	if c.folding != nil {
		return c.folding.wanting(sources)
	}
	return sources
}

// lookEvery is how many changes are read between two looks at the context.
const lookEvery = 256

// Next returns the next change. It waits for one, at most until ctx ends, unless
// ChangesOptions.Stop wants io.EOF then. What the change holds is its user's.
//
// ErrTrimmed says that changes are gone, ErrClosed that the engine was closed, a
// *[FailedError] that a shard has failed and nothing more comes of it, a *[CorruptError]
// that the log is damaged, a *[VersionError] that an older version wrote the next event and
// Spec.Upgrades do not say what it means now, a *[PanicError] that an upgrade or a codec
// panicked. With States, a panic of the table's functions is a *[PanicError], too, and
// ErrTrimmed also says that no state is kept to fold the change into. After any error but
// that of ctx the reader is of no more use, and Position is where another one can go on.
func (c *Changes[K, S, E, R]) Next(ctx context.Context) (change Change[K, E], err error) {
	c.key, c.event = change.Key, change.Event // of the last change nothing may show
	if err := c.reader.next(ctx); err != nil {
		return change, err
	}
	if c.reader.folding != nil {
		if err := c.keepState(); err != nil {
			return change, c.reader.giveBack(err)
		}
	}
	return changeOf(&c.reader.change, c.key, c.event), nil
}

// next reads and decodes the next change of the table, and folds it if states are wanted.
func (c *changeReader) next(ctx context.Context) error {
	if c.failure != nil {
		return c.failure
	}
	for {
		if c.looked--; c.looked < 0 {
			c.looked = lookEvery
			if err := ctx.Err(); err != nil {
				return err
			}
			select {
			case <-c.binding.engine.closing.begun:
				return c.fail(ErrClosed)
			default:
			}
		}
		ok, err := c.follower.Next(&c.change)
		switch {
		case err != nil:
			return c.fail(err)
		case ok && c.change.Table == c.binding.id:
			if behind, err := c.take(); behind || err != nil {
				return err
			}
			continue
		case ok:
			continue
		case c.options.Stop:
			return io.EOF
		}
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
}

// wait waits until more may be durable.
func (c *changeReader) wait(ctx context.Context) error {
	if c.binding.engine.inside() {
		return ErrInside
	}
	c.looked = 0
	select {
	case <-c.tell:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.binding.engine.closing.begun:
		return c.fail(ErrClosed)
	}
}

// take decodes the change that was read, if it is behind the reader's position, and folds it
// in any case if states are wanted.
func (c *changeReader) take() (behind bool, err error) {
	f, n := c.folding, &c.change
	if behind = f == nil || n.Sequence > f.from[n.Partition]; behind {
		if err := c.decoder.decode(n, c.key, c.event); err != nil {
			if errors.Is(err, io.EOF) { // of a codec's: there is more
				err = fmt.Errorf("keyfold: decode a change: %v", err)
			}
			return true, c.giveBack(err)
		}
	}
	if f != nil {
		if err := f.fold(n); err != nil {
			return behind, c.giveBack(err)
		}
	}
	return behind, nil
}

// giveBack ends the reader in front of the change that was read.
func (c *changeReader) giveBack(err error) error {
	c.follower.GiveBack(&c.change)
	return c.fail(err)
}

func (c *changeReader) fail(err error) error {
	c.failure = err
	return errors.Join(err, c.close())
}

// left is the state that the change has left; nil if its key is gone.
func (c *changeReader) left() unsafe.Pointer {
	store := c.folding.stores[c.change.Partition].(*store)
	state, _ := store.stateOf(c.folding.hash(c.change.Key), c.change.Key)
	return state
}

// keepState copies the state that the change has left.
func (c *Changes[K, S, E, R]) keepState() (err error) {
	defer caught(&err)
	state, table := (*S)(c.reader.left()), c.reader.states
	if c.exists = state != nil; !c.exists {
		var none S
		c.state = none
		return nil
	}
	if c.state, err = copyState(&table.state, c.clone, state); err != nil {
		err = fmt.Errorf("keyfold: table %q: state: %w", table.table.name, err)
	}
	return err
}

// State is the state that the change has left which Next, or All, has handed out last; false
// says that its key is gone: deleted by the change, or ended. It is its user's. Without
// ChangesOptions.States, and before the first change, it is false.
func (c *Changes[K, S, E, R]) State() (S, bool) { return c.state, c.exists }

// All walks through the changes until ctx ends or the walk does. An error is the last pair;
// there is none for io.EOF.
func (c *Changes[K, S, E, R]) All(ctx context.Context) iter.Seq2[Change[K, E], error] {
	return func(yield func(Change[K, E], error) bool) {
		for {
			change, err := c.Next(ctx)
			if err == io.EOF || !yield(change, err) || err != nil {
				return
			}
		}
	}
}

// Position is where a reader goes on that has what this one has handed out.
func (c *Changes[K, S, E, R]) Position() Position { return c.reader.position() }

func (c *changeReader) position() Position {
	sequences := c.follower.Position()
	if c.folding != nil {
		sequences = c.folding.position(sequences)
	}
	return c.binding.engine.positionOf(sequences)
}

// Skipped is how many events of all tables were left out, with SkipTrimmed.
func (c *Changes[K, S, E, R]) Skipped() uint64 { return c.reader.follower.Skipped }

// Close gives the files and the memory back. A second Close does nothing.
func (c *Changes[K, S, E, R]) Close() error { return c.reader.close() }

func (c *changeReader) close() error {
	for _, s := range c.told {
		s.Unfollow(c.tell)
	}
	c.told = nil
	c.folding.close()
	setDefault(&c.failure, ErrClosed)
	return c.follower.Close()
}

// States shows all keys of the table with their states, in no order, each partition as it
// was at one moment. It returns the position that they are at: Changes from there hands out
// exactly what came after. So a reader begins, and begins again after ErrTrimmed. What is
// shown is durable. k and s may be kept.
//
// It shows the states of now. With ChangesOptions.States each change comes with the state that
// it left.
//
// Errors are the first one of show, which ends it, and those of All. With an error there is
// no position: what was shown until then is at none.
func (t *Table[K, S, E, R]) States(ctx context.Context, show func(k K, s S) error) (Position, error) {
	var stopped error
	at, err := t.declaration.durable(ctx, func(k, s unsafe.Pointer) bool {
		stopped = show(*(*K)(k), *(*S)(s))
		return stopped == nil
	})
	if errors.Is(err, errStopped) {
		err = stopped
	}
	return at, err
}

// durable shows all keys and states, as States does, until show returns false: then the error
// is errStopped.
func (d *declaration) durable(ctx context.Context, show func(k, s unsafe.Pointer) bool) (Position, error) {
	b, err := d.bound()
	if err != nil {
		return Position{}, err
	}
	e := b.engine
	if e.inside() {
		return Position{}, ErrInside
	}
	at := make([]uint64, e.manifest.Partitions)
	err = e.eachPartition(func(s *shard.Shard, part []uint32) ([]uint32, error) {
		var images []*image
		elsewhere, err := s.FreezeDurable(ctx, b.id, part, func(id uint32, sequence uint64, i shard.Image) {
			if at[id] = sequence; i != nil {
				images = append(images, i.(*image))
			}
		})
		if err != nil {
			return nil, err
		}
		return elsewhere, showAll(images, show)
	})
	if err != nil {
		return Position{}, err
	}
	return e.positionOf(at), nil
}

// eachPartition visits all partitions at the shards that have them, some at a time: those
// that visit returns are visited again.
func (e *Engine) eachPartition(visit func(s *shard.Shard, part []uint32) (elsewhere []uint32, err error)) error {
	left := make([]uint32, e.manifest.Partitions)
	for i := range left {
		left[i] = uint32(i)
	}
	for len(left) > 0 { // again for those that have moved away before they were shown
		missed := []uint32(nil)
		for index, owned := range e.byShard(left) {
			for part := range slices.Chunk(owned, partitionsPerVisit) {
				elsewhere, err := visit(e.shards()[index], part)
				if err != nil {
					return err
				}
				missed = append(missed, elsewhere...)
			}
		}
		left = missed
	}
	return nil
}

// showAll shows the entries of images until show returns false: then the error is
// errStopped.
func showAll(images []*image, show func(k, s unsafe.Pointer) bool) error {
	for _, img := range images {
		stopped := false
		err := img.each(func(k, s unsafe.Pointer) bool {
			stopped = !show(k, s)
			return !stopped
		})
		if err != nil {
			return err
		}
		if stopped {
			return errStopped
		}
	}
	return nil
}

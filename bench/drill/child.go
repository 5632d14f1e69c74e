package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/internal/child"
)

// Orders are what a child is to do. The parent leaves them in a file.
type Orders struct {
	// Round numbers the children.
	Round int `json:"round"`
	// Work is the directory of the files between parent and child.
	Work string `json:"work"`
	// Store is what to open.
	Store store.Options `json:"store"`
	// Stream is what to send; none if Rest.
	Stream workload.Generated `json:"stream"`
	// Producers, Window and Rate say how.
	Producers int     `json:"producers"`
	Window    int     `json:"window"`
	Rate      float64 `json:"rate"`
	// Moves says that partitions move between the shards meanwhile, at random.
	Moves bool `json:"moves"`
	// Again are the orders of the child before, whose events are sent again: under their ids
	// unless they are known to be acknowledged, or by producers of the same names; nil if
	// there are neither ids nor names.
	Again *Orders `json:"again,omitempty"`
	// Rest: send nothing, close the store and end.
	Rest bool `json:"rest"`
}

// Commander makes the command that runs Child with a file of orders. It ends with
// ctx.
type Commander func(ctx context.Context, orders string) *exec.Cmd

// start runs a child with these orders.
func start(ctx context.Context, o *Orders, command Commander) (*child.Process, error) {
	if err := o.write(); err != nil {
		return nil, err
	}
	p, err := child.Start(command(ctx, o.file("orders")))
	if err != nil {
		return nil, fmt.Errorf("drill: %w", err)
	}
	return p, nil
}

// Opener opens the store of a child.
type Opener func(context.Context, store.Options) (bench.Target, error)

func (o *Orders) file(kind string) string {
	return filepath.Join(o.Work, kind+"-"+strconv.Itoa(o.Round))
}

// write leaves the orders for the child.
func (o *Orders) write() error {
	text, err := json.Marshal(o)
	if err == nil {
		err = os.WriteFile(o.file("orders"), text, 0o600)
	}
	if err != nil {
		return fmt.Errorf("drill: orders: %w", err)
	}
	return nil
}

// Child does what the orders in a file say, until it is killed, or the stream ends, or
// parent does: that is a pipe which a parent that has died leaves closed.
func Child(ctx context.Context, orders string, parent io.Reader, open Opener) error {
	var o Orders
	ctx, orphaned, err := child.Begin(ctx, orders, parent, &o)
	defer orphaned()
	if err != nil {
		return err
	}
	t, err := open(ctx, o.Store)
	if err != nil {
		return err
	}
	err = o.do(ctx, t)
	return errors.Join(err, t.Close(context.WithoutCancel(ctx)))
}

func (o *Orders) do(ctx context.Context, t bench.Target) error {
	if err := o.settle(ctx, t); err != nil {
		return err
	}
	if err := writeFound(ctx, t, o.file("found")); err != nil {
		return err
	}
	if err := writeReady(o.file("ready"), t.Recovery()); err != nil || o.Rest {
		return err
	}
	marks, err := CreateMarks(o.file("marks"), o.Producers)
	if err != nil {
		return err
	}
	defer marks.Close()
	stream, err := workload.NewGenerator(o.Stream)
	if err != nil {
		return err
	}
	running, over := context.WithCancel(ctx)
	var moves sync.WaitGroup
	var moved error
	if m, ok := t.(mover); ok && o.Moves && t.Shards() > 1 {
		moves.Go(func() { moved = o.move(running, m, t.Shards()) })
	}
	_, err = bench.Run(ctx, t, bench.Load{
		Source: stream, Producers: o.Producers, Window: o.Window, Rate: o.Rate, Mark: marks.Set,
	})
	over()
	moves.Wait()
	return errors.Join(err, moved)
}

// A mover is a store whose partitions can move.
type mover interface {
	Move(ctx context.Context, partition, shard int) error
	Resize(ctx context.Context, shards int) error
}

const (
	// movedPartitions are so few that each of them moves again and again.
	movedPartitions = 128
	// movesPerResize is how many moves there are between two changes of the number of
	// shards, which move some dozens of partitions at a time.
	movesPerResize = 8
)

// move moves partitions until ctx ends, one by one and many together.
func (o *Orders) move(ctx context.Context, m mover, shards int) error {
	random := rand.New(rand.NewPCG(o.Stream.Seed, 0x6d6f7665))
	for ctx.Err() == nil {
		var err error
		if random.IntN(movesPerResize) > 0 {
			err = m.Move(ctx, random.IntN(movedPartitions), random.IntN(shards))
		} else {
			err = m.Resize(ctx, 1+random.IntN(shards))
		}
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("drill: move: %w", err)
		}
	}
	return nil
}

// survives says that what was acknowledged survives a kill. What is only applied need
// not, but what is left must still be a prefix.
func (o *Orders) survives() bool { return o.Store.Ack != "applied" }

// errEnough ends the pass over a stream behind the last event that was sent.
var errEnough = errors.New("drill: enough")

// mustHold says whether the store must hold an event that a child may have sent, when the
// next one has found its states: with ids or names that one has settled all of them.
func (o *Orders) mustHold(acked bool) bool {
	return o.Store.Once > 0 || o.Store.Name != "" || acked && o.survives()
}

// replay calls fn with each event that the child with these orders may have sent, in
// order, and says whether it was acknowledged.
func (o *Orders) replay(fn func(e workload.Event, acked bool)) error {
	marks, err := ReadMarks(o.file("marks"), o.Producers)
	if err != nil {
		return err
	}
	var end uint64
	for _, m := range marks {
		end = max(end, m.Sent)
	}
	stream, err := workload.NewGenerator(o.Stream)
	if err != nil || end == 0 {
		return err
	}
	err = workload.ForEach(stream, func(e workload.Event) error {
		if e.Ordinal >= end {
			return errEnough
		}
		if m := marks[bench.ProducerOf(e.Key, o.Producers)]; e.Ordinal < m.Sent {
			fn(e, e.Ordinal < m.Acked)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

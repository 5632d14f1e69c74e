package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyfold/keyfold/engine"
	process "github.com/keyfold/keyfold/internal/child" // a child is something else here
	"github.com/keyfold/keyfold/internal/fsys"
)

// A child is an open store under load.
type child struct {
	orders  *Orders
	engine  *engine.Engine
	tallies *tallies
	notes   *notes
	alarms  *alarms
	ahead   *atomic.Int64 // how far the clock is ahead; the commotion stores, the engine loads
	board   *Board
	quiet   sync.RWMutex // held by a lull; senders wait for it
	feeds   feeds
}

// Run does what the orders in a file say. It ends when they are done and say that the
// store is to be closed, or when parent ends: that is a pipe which a parent that has died
// leaves closed.
func Run(orders string, parent io.Reader) error {
	var o Orders
	ctx, orphaned, err := process.Begin(context.Background(), orders, parent, &o)
	defer orphaned()
	if err != nil {
		return err
	}
	board, err := OpenBoard(o.Marks)
	if err != nil {
		return err
	}
	defer board.Close()
	c, err := open(ctx, &o, nil)
	if err != nil {
		return err
	}
	c.board = board.Board
	err = c.serve(ctx)
	if o.Close && err == nil {
		return c.engine.Close()
	}
	return err
}

func open(ctx context.Context, o *Orders, on fsys.FS) (*child, error) {
	c := &child{orders: o, tallies: newTallies(), notes: newNotes(), alarms: newAlarms(), ahead: &atomic.Int64{}}
	now := func() int64 { return time.Now().UnixNano() + c.ahead.Load() }
	var err error
	c.engine, err = engine.Open(ctx, o.Dir, o.options(now, on), c.tallies, c.notes, c.alarms)
	return c, err
}

// serve tells what is there and sends what was ordered.
func (c *child) serve(ctx context.Context) error {
	found, err := c.look(ctx)
	if err != nil {
		return err
	}
	if err := found.write(c.orders.Found); err != nil {
		return err
	}
	for p := range c.board.Partitions {
		c.board.Partitions[p].Submitted.Store(found.Partitions[p].Events)
	}
	c.board.State.Store(Ready)
	if c.orders.Events > 0 {
		if err := c.send(ctx, found); err != nil {
			return err
		}
		c.board.State.Store(Sent)
	}
	if !c.orders.Close {
		<-ctx.Done() // to be killed
		return nil
	}
	return c.awaitTimers(ctx)
}

// timersPatience is how long timers may be late.
const timersPatience = 20 * time.Second

// awaitTimers waits until all timers that were set have fired, however many crashes ago.
func (c *child) awaitTimers(ctx context.Context) error {
	for began := time.Now(); ; {
		pending := 0
		for e, err := range c.alarms.All(ctx) {
			if err != nil {
				return err
			}
			if e.State.Due != 0 {
				pending++
			}
		}
		if pending == 0 {
			return nil
		}
		if time.Since(began) > timersPatience {
			return fmt.Errorf("load: %d timers have not fired in %v", pending, timersPatience)
		}
		<-time.After(time.Millisecond)
	}
}

// send has the senders send to all partitions, beside the commotion.
func (c *child) send(ctx context.Context, found *Found) error {
	running, over := context.WithCancel(ctx)
	var beside sync.WaitGroup
	var moved, read error
	beside.Go(func() { moved = c.commotion(running) })
	if c.orders.Changes {
		beside.Go(func() { read = c.readChanges(running, found) })
	}
	if c.orders.Lulls {
		beside.Go(func() { c.lulls(running) })
	}
	err := c.senders(ctx, found)
	over()
	beside.Wait()
	return errors.Join(err, moved, read)
}

// lullMax is the longest pause between two acts of the commotion.
const lullMax = 4 * time.Millisecond

// commotion moves partitions, changes the number of shards, takes snapshots and turns
// the clock, until ctx ends.
func (c *child) commotion(ctx context.Context) error {
	random := rand.New(rand.NewPCG(c.orders.Life.Seed, c.orders.Life.Number))
	for {
		select {
		case <-time.After(time.Duration(random.Int64N(int64(lullMax)))):
		case <-ctx.Done():
			return nil
		}
		err := c.act(ctx, random)
		if err != nil && ctx.Err() == nil && !c.excused(err) && !errors.Is(err, engine.ErrTooBusy) {
			return fmt.Errorf("load: commotion: %w", err)
		}
	}
}

// lulls makes nothing be sent for some milliseconds, again and again, until ctx ends.
func (c *child) lulls(ctx context.Context) {
	random := rand.New(rand.NewPCG(c.orders.Life.Seed, c.orders.Life.Number+1))
	wait := func() {
		select {
		case <-time.After(time.Duration(random.Int64N(int64(4 * lullMax)))):
		case <-ctx.Done():
		}
	}
	for ctx.Err() == nil {
		wait()
		c.quiet.Lock()
		wait()
		c.quiet.Unlock()
		c.feeds.wake()
	}
}

// awaitNoLull waits until no lull is on.
func (c *child) awaitNoLull() {
	c.quiet.RLock()
	defer c.quiet.RUnlock()
}

func (c *child) act(ctx context.Context, random *rand.Rand) error {
	switch random.IntN(8) {
	case 0, 1, 2, 3:
		if c.orders.Moves {
			return c.engine.Move(ctx, random.IntN(Partitions), random.IntN(c.orders.Shards))
		}
	case 4:
		if c.orders.Moves {
			return c.engine.Resize(ctx, c.orders.Shards+random.IntN(2))
		}
	case 5:
		if c.orders.Snapshots {
			return c.engine.Snapshot(ctx)
		}
	case 6:
		if c.orders.ClockJumps && c.orders.Life.Tables != OnlyAlarms { // timers would wait for an hour
			c.ahead.Store(random.Int64N(int64(2*time.Hour)) - int64(time.Hour))
		}
	}
	return nil
}

// excused says that an error is one that a disk which fails on purpose may cause.
func (c *child) excused(err error) bool {
	return err != nil && c.orders.Faults && (errors.Is(err, engine.ErrShardFailed) || errors.Is(err, engine.ErrReadOnly) ||
		engine.OutcomeOf(err) != engine.Done)
}

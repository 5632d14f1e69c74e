package fuzz

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// A crammed is a store whose disk is filled by somebody else at some operation.
type crammed struct {
	*rig
	at    int // the operation, counted from the beginning
	full  bool
	freed bool
}

// cram fills the disk when its time has come.
func (c *crammed) cram(op crashfs.Op) error {
	if op.N == c.at && !c.freed {
		c.full = true
		c.disk.SetCapacity(c.disk.Used() + 1)
	}
	return nil
}

// tryOne sends an event, which is refused for want of room at most, and reads its key.
func (c *crammed) tryOne(random *rand.Rand) error {
	n := randomEvent(random)
	err := c.do(n, step{Filler: filler(random.IntN(200), random.Uint64())}, engine.Ack(random.IntN(2)))
	switch {
	case err != nil && !c.full:
		return violated("the disk is not full: %w", err)
	case err != nil && !errors.Is(err, engine.ErrReadOnly):
		return violated("on a full disk an event was refused, and not for that: %w", err)
	}
	ctx, cancel := patiently()
	defer cancel()
	if _, _, err := c.tallies.Get(ctx, n.key); err != nil {
		return violated("a read on a full disk: %w", mustNotHang(err))
	}
	return nil
}

func (c *crammed) load(random *rand.Rand, n int) error {
	for range n {
		if err := c.tryOne(random); err != nil {
			return err
		}
	}
	return nil
}

// live carries out the script: events, snapshots, moves. The disk becomes full
// somewhere in it.
func (c *crammed) live(random *rand.Rand) error {
	if err := c.open(); err != nil {
		c.engine = nil
		if c.full {
			return nil
		}
		return err
	}
	for i := range 4 {
		if err := c.load(random, 12); err != nil {
			return err
		}
		err := snapshot(c.rig)
		if err == nil && i%2 == 1 {
			err = c.move(random)
		}
		var v violation
		switch {
		case errors.As(err, &v):
			return err
		case errors.Is(err, engine.ErrShardFailed):
			return violated("a full disk has failed a shard: %w", err)
		case err != nil && !c.full:
			return violated("the disk is not full: %w", err)
		}
	}
	return nil
}

// Goal: a full disk costs no event and fails no shard: it refuses events with a clear
// error, serves reads, and takes events again, without a restart, when there is room.
// Method: one script; somebody else fills the disk at each of its operations in turn,
// and gives the room back at its end, or never before the store is closed.
func TestADiskThatIsFullAndFreedAgainCostsNothing(t *testing.T) {
	t.Parallel()
	row := tries(t, "R8", "disk filled at any operation, freed again", "no shard fails, reads go on, events are taken again, nothing acknowledged is lost")
	random := random(t)
	seed := random.Uint64()
	stride := max(1, 5 / *rounds)
	for at := 1 + random.IntN(stride); ; at += stride {
		for _, freed := range []bool{true, false} {
			c := &crammed{rig: newRig(small(), hashes["full"]), at: at}
			c.disk.SetHook(c.cram)
			if err := c.survive(rand.New(rand.NewPCG(seed, 0)), freed); err != nil {
				t.Fatalf("full at operation %d, freed %v: %v", at, freed, err)
			}
			row.counted(c.oracle)
			if !c.full {
				return
			}
		}
	}
}

// survive lives, ends the engine with room or without, and opens the store again.
func (c *crammed) survive(random *rand.Rand, freed bool) error {
	if err := c.live(random); err != nil {
		return err
	}
	if c.engine != nil && freed {
		if err := c.goOn(random); err != nil {
			return violated("there is room again: %w", err)
		}
	}
	if c.engine != nil {
		if err := c.end(); err != nil {
			return err
		}
	}
	for _, model := range []crashfs.Model{{Data: crashfs.Kept}, {}} {
		again := c.on(c.disk.Crash(model))
		again.disk.SetCapacity(0)
		if err := again.reopen(safe); err != nil {
			return fmt.Errorf("%v: %w", model, err)
		}
		if err := again.abandon(); err != nil {
			return err
		}
	}
	return nil
}

// goOn gives the room back: everything works again.
func (c *crammed) goOn(random *rand.Rand) error {
	c.freed = true
	c.disk.SetCapacity(0)
	if err := c.rig.load(random, 20, engine.Durable); err != nil {
		return err
	}
	return snapshot(c.rig)
}

// end closes the store. Without room it may say that it took no last snapshot.
func (c *crammed) end() error {
	err := c.close()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, engine.ErrShardFailed), !c.full || c.freed, !errors.Is(err, fsys.ErrNoSpace):
		return violated("closing: %w", err)
	}
	c.engine = nil
	c.oracle.each(func(l *line) { l.safe, l.kept = l.done, l.done }) // Close syncs all the same
	return nil
}

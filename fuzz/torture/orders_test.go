package torture

import (
	"math/rand/v2"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/fuzz/torture/load"
)

// randomLife is what stays the same through all children of a store.
func randomLife(r *rand.Rand) load.Life {
	return load.Life{
		Seed: r.Uint64(), Keys: pick(r, 4, 32, 256), LargeBytes: pick(r, 0, 2_000, 40_000),
		Tables: pick(r, load.Both, load.Both, load.Both, load.OnlyAlarms),
	}
}

// randomOrders are those of one child: everything that may differ between two openings
// of a store does.
func randomOrders(r *rand.Rand, l load.Life) load.Orders {
	o := load.Orders{
		Life: l, Shards: 1 + r.IntN(3), Device: pick(r, engine.DeviceDirect, engine.DeviceLibrary), Queued: r.IntN(3) == 0,
		Sync:         pick(r, engine.SyncAlways, engine.SyncAlways, engine.SyncInterval, engine.SyncNever),
		SegmentBytes: pick(r, 4<<10, 32<<10, 1<<20), SnapshotBytes: pick[int64](r, 16<<10, 256<<10, 4<<20),
		Door: pick(r, load.Do, load.Batch, load.Producer, load.Source), Ack: pick(r, engine.Durable, engine.Durable, engine.Written, engine.Applied),
		Moves: r.IntN(3) > 0, Snapshots: r.IntN(2) == 0, ClockJumps: r.IntN(3) == 0, Lulls: r.IntN(3) == 0,
		Events: 20_000,
	}
	o.Life.IDs = o.Door == load.Do && l.Tables != load.OnlyAlarms
	if o.Sync == engine.SyncNever && o.Ack == engine.Durable {
		o.Ack = engine.Written
	}
	if l.Tables != load.OnlyAlarms && (o.Door == load.Producer || o.Door == load.Source) {
		o.Life.Tables = pick(r, load.OnlyTallies, load.OnlyNotes)
	}
	o.Changes = l.Tables != load.OnlyAlarms && o.Sync != engine.SyncNever && r.IntN(3) == 0
	return o
}

func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }

// resting are orders to open the store and to do nothing.
func resting(o load.Orders) load.Orders {
	o.Events = 0
	return o
}

// Package engine folds events into the state of their keys, in memory, inside your
// process, and loses nothing that it acknowledged.
//
// A [Table] is a typed map from keys to states that only events change. [Fold] and
// [NewTable] declare one, [Open] opens a store with all its tables. [Table.Do] sends
// an event and returns what Apply made of it once the event is durable; a [Producer]
// sends many without waiting for each; a [Batch] sends operations on several tables
// together; and [Table.Consume] has the shards read a [Source] themselves. [Table.Get],
// [Table.View] and [Table.All] read.
//
// [Table.DoOnce] does an event once however often it is sent, and named producers and
// sources know where to go on. Timers and [TTL] change a state when nothing comes.
// [Table.Changes] hands out what was accepted, from any [Position] on, and a [Cursor]
// remembers one; [Replay] folds a kept log into other tables. [Spec.Upgrades] lift what an
// older program has written. [Engine.Backup] and [Restore], [Verify] and [Salvage] are for
// operators, as is [Engine.Stats].
//
// # Words
//
// An event is the unit that is ordered, logged and acknowledged. The hash of its key
// names its partition, a fixed slice of the key space. A partition belongs to one
// shard: one goroutine that applies all its events one at a time. An event is
// admitted when it has its place in the inbox of that shard; from there on it has an
// order. An [Ack] says how far an event must have come before its caller is told. A
// group commit is one write and one sync for everything that arrived meanwhile. A
// snapshot is the engine's own image of the state; the log behind it is what a
// recovery replays.
//
// # What is promised
//
// Events with equal keys are applied one at a time, in the order they were admitted.
// The calls of one goroutine through one way in, Do or one Producer, are admitted in its
// order, and the records of a Source in theirs; between two ways, after a Flush. In the
// terminology of the Go memory model, the start of a call that sends an event
// "synchronizes before" the Check and Apply for that event, and those before the return
// of the call that acknowledged it.
//
// When a call at [Durable] returns nil, the effect of its event is there, once, after
// any crash of the process, the kernel or the power, provided that the disk keeps
// what it said it has synced. At [Written] it survives the process, at [Applied]
// nothing. After a crash every partition holds the fold of a prefix of what was
// admitted, with everything that was acknowledged.
//
// Cancelling does not undo: an admitted event goes its way. The error then matches
// both [ErrUnknownOutcome] and the context's.
//
// # What tables may do
//
// Apply runs again when the log is replayed, so it must be deterministic: no clock,
// no random source, no I/O; [Context] has a logged time and a repeatable random
// source. Functions of a table run on the shard goroutine, and hold up every key of
// that shard while they run. They must not call the engine: such a call is refused
// with [ErrInside]; [Producer.Send] finds out only when a buffer must leave. If one
// panics, its caller gets the error and the state is as it was before.
package engine

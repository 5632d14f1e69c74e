// Package shard runs one shard: the goroutine that owns a set of partitions,
// applies their events one at a time, logs what it accepted, acknowledges it and
// takes snapshots.
//
// A [Shard] is driven by turns. A turn serves control messages, takes a run of
// operations from the inbox, touches the memory of all of them, applies them in
// order, and moves the log and the snapshot on by one step. [Shard.Start] makes turns
// until the shard is stopped; tests make them one by one, with the sync and the
// snapshot writer in their own hands, so that every interleaving can be tried.
//
// A [Feed] is read by the shard itself, in every turn: what it brings for this shard
// is a block like those of the inbox, without having been there.
//
// # Ownership
//
// Partitions, the open frame and all queues belong to the shard goroutine. Two
// lanes work beside it: one syncs, one writes snapshots. Each lane has at most one
// job under way; what a job needs is handed over before it starts and handed back
// when it is done, so neither needs a lock.
//
// # Blocks: what travels through the inbox
//
// A block is a header and one or more operations for this shard, in order. Integers
// are little-endian, because an operation of kind 0 holds the record of its event as
// the log takes it, from offset 8 on.
//
//	offset  size  field   meaning
//	     0     4  slot    ack address: index of the slot, plus one; 0: nobody waits
//	     4     4  use     ack address: use number of the slot
//	     8     4  count   operations in the block
//	    12     1  ack     0 applied, 1 written, 2 durable
//	    13     3          zero
//	    16     …  operations
//
//	offset  size  field   meaning
//	     0     8  hash    hash of the key; its high bits name the partition
//	     8     2  table   bits 0 to 11: id of the table; bits 12 to 14: the stamp
//	    10     2  key     key bytes
//	    12     3  event   event bytes
//	    15     1  kind    0 event, 1 read; others do not travel
//	    16     …  key, event, zero to 7 bytes up to a multiple of 8
//
// The stamp says what the event bytes begin with, in front of the payload that a table
// sees:
//
//	stamp  bytes  what
//	    0      0  nothing
//	    1     16  the id of the event
//	    2     16  origin u64, sequence u64: who sent the event, and its place there
//	    3      0  nothing; the shard itself has made the event: see "Firings"
//
// # Records: what a frame of the log holds
//
// Integers are little-endian. Records follow each other without padding. The
// partition is not logged: the hash of the key gives it. Neither is the sequence:
// the header of the generation says where each partition began, and each event
// counts one. The header of a frame counts the records but for time marks and clocks.
//
//	offset  size  field   meaning
//	     0     2  table   id of the table and stamp, as in an operation; from 0xfff0 on:
//	                      no event, but what follows
//	     2     2  key     key bytes; 0 if it is no event
//	     4     4  event   event bytes
//	     8     …  key, event
//
// Time is the frame's until a time mark changes it. A mark is written when the
// clock has moved on by a millisecond within a frame.
//
//	offset  size  field     of a time mark, 0xffff
//	     0     8  time      nanoseconds of Unix time
//
// The first frame of a generation with records begins with a clock, if a table has timers
// or deadlines. When keys of a table begin their times because the store was opened, a frame
// is written that holds nothing else.
//
//	offset  size  field     of a clock, 0xfffb
//	     0     8  paused    nanoseconds that the store was down, in all, as far as a table
//	                        that does not count them was there
//	     8     8  opened    nanoseconds of Unix time
//	    16     …  begun     tables, u16 each: those of their keys that had no time, because
//	                        a program without timers has made them, began theirs when the
//	                        store was opened
//
// A partition that comes from another shard is adopted by a begin, parts that together
// are its image, its events since that, and a commit. Without the commit all of that is
// void. Nothing but these events is of the partition in between, and no snapshot round
// begins.
//
//	offset  size  field     of a begin, 0xfffc, and of a commit, 0xfffe
//	     0     4  partition
//	     4     8  epoch     one more than at the shard that it comes from
//	    12     8  sequence  of the last event up to here
//
//	offset  size  field     of a part, 0xfffd
//	     0     4  partition
//	     4     2  table
//	     6     1  form      of the block, as in a snapshot
//	     7     1  reserved  0
//	     8     4  entries   of the block that ends here; 0: it goes on in the next part
//	    12     …  data      of the block, or a piece of it; a block has at most 1 GiB, as in
//	                        a snapshot
//
// # Firings
//
// When a timer or a deadline of a key is due, the shard makes an operation of it, with the
// stamp 3. It is carried out between two runs, at most one of each partition at a time, and
// logged; without room for its record nothing is fired. It counts in the sequence of its
// partition like that of an event. A replay fires nothing itself: it carries out what the
// log says.
//
//	offset  size  field     of the event bytes
//	     0     1  what      0 the timer, 1 the deadline of the key; bit 7: the table's
//	                        function did not return, or could not be called, and is
//	                        left out
//
// # Starts: what the header of a generation holds
//
// The shard answers for the partitions that it owns and for those that it handed over,
// until the new owner's log has them, durably. If another shard then holds them at a
// higher epoch, that one owns them; see "How a partition moves" in DESIGN.md.
//
//	size  field   meaning
//	   6  copied  frames of the generation before, written again behind the header
//	   2  format  1; without the eras and what is behind them it is 0
//	   4  count   partitions that the shard answers for, but for those without events
//	              that have never moved
//	  20  …each   number u32, epoch u64, sequence u64 behind the frames that are copied
//	   4  count   partitions that are gone
//	  12  …each   number u32, epoch u64 at which another shard has adopted it, durably
//	   4  count   eras: frames whose records were written under the same schemas
//	   …  each    its last frame u64, of the last era all bits; then the schemas
//	   8  paused  of the clock in front of the frames that are copied
//
// Schemas are a count u32 and, by id of the table, the number u32 of the schema in the
// manifest's history of that table. They are also the header of a snapshot. Where there
// are none, because a program wrote it that knew none, it is number 0 of every table.
// Old programs are kept out by the version of the manifest.
package shard

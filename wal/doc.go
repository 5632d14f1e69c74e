// Package wal is the log of one shard: it appends frames, makes them durable, and
// reads them back after a crash without trusting a byte that it has not checked.
// It knows nothing of shards, tables or partitions; payloads are opaque.
//
// A log is a row of generations, one directory each. A generation is written once,
// from its header frame on, and never appended to after it was closed or after a
// crash: the next generation's header says where it ended, which seals it. Within a
// generation lie segments, files named by the number of their first entry in 20
// decimal digits, 1 for the first. An entry is one frame behind its length, which is
// the binary format of github.com/tidwall/wal:
//
//	uvarint  bytes of the frame, in as few bytes as it takes
//	frame
//
// Entry n holds frame n-1. A segment ends with the entry that makes it reach
// [Options].SegmentBytes, and the next one is begun then.
//
// A frame, all integers little-endian:
//
//	offset  bytes  field
//	     0      4  magic "KFwl"
//	     4      2  format, 1
//	     6      2  reserved, zero
//	     8      8  frame number, 0 for the header frame, no gaps
//	    16      8  time, Unix nanoseconds, signed
//	    24      8  horizon: this frame and all before it were durable when this one
//	               was written; 0 says nothing
//	    32      8  chain: the frame hash of the frame before; in the header frame
//	               that of the last frame of the generation before, or 0
//	    40      4  count of what the body holds: the caller's
//	    44      4  length of the body
//	    48      8  header hash: xxh3 of bytes 0 to 47, seeded for the generation
//	    56      n  body
//	  56+n      8  frame hash: xxh3 of the body, seeded with the header hash
//
// The seed of a generation is the xxh3, seeded with 0x6b6579666f6c6431, of store,
// layout, shard and generation number as they lie in the header frame, so that bytes
// of another log, or of a former life of the file, never pass for a frame. The frame
// hash covers the header through its seed, and the chain the frame before: it stands
// for the generation up to there.
//
// The body of the header frame:
//
//	offset  bytes  field
//	     0     16  store
//	    16      4  layout
//	    20      4  shard
//	    24      8  generation
//	    32      8  generation before, 0 for none
//	    40      8  its last frame
//	    48      8  the frame hash of that
//	    56      4  length of the payload
//	    60      4  reserved, zero
//	    64      n  payload
//
// Later formats keep the header's 56 bytes as they are up to the format field and in
// their hash, so that a newer log is told from a damaged one.
//
// # What is a tear
//
// The last segment may go on behind its last frame: with zeros that were written ahead
// of the frames, and with what a crash left of frames that were being written. Every
// other segment ends with its last frame, and its entry in the directory is durable before
// the next one exists. Its bytes are durable before the one behind the next exists: until
// then a crash can take the end of a segment and leave some of the next. Close cuts the
// last segment to its end, and only then is it what github.com/tidwall/wal would have
// written.
//
// At the first place where no whole frame lies that follows the one before, [Scan]
// looks at everything from there on, in this segment and in all that follow. It judges by
// the first row of this table that is true. A header counts as one of this generation only
// if its hash is right under the seed of the generation.
//
//	what is there                                       what it is
//	a sealed generation, behind its seal                surplus: not read
//	a sealed generation, at or before its seal          damage
//	a segment that has two or more behind it            damage: it had been durable
//	a segment whose name goes back                      damage
//	a header of this generation with a horizon at or
//	above the frame that is missing                     damage: it had been durable
//	a header of this generation of an unknown format,
//	or with reserved bytes that are not zero            damage: it may say the same
//	zeros only                                          the end
//	anything else                                       a tear: dropped, and counted up
//	                                                    to the last byte not zero
//
// Damage is a [CorruptError]. A last frame that nothing vouches for yet looks like a
// tear when it rots, or like the end when it reads as zeros; one empty frame behind it,
// written when the log goes idle, vouches for it.
package wal

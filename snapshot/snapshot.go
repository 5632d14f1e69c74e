// Package snapshot writes and reads the image files of one shard: what its
// partitions held, each at a moment of its own. It knows nothing of shards and
// tables; what is in a block and in the header is the caller's.
//
// # Whole or absent
//
// [Create] makes a file under a temporary name, [Writer.Finish] ends it with a
// footer and syncs it, [Publish] gives it its name and reads it back from the disk.
// A file without a footer does not exist: nothing here reads it. Every byte of a
// file is covered by a hash that is seeded from the [ID], so that bytes of another
// store, shard or number never vouch, and the directory says for every byte which
// partition it belongs to. Damage is reported as a [*CorruptError] and never
// repaired; no block reaches the caller before it has been verified.
//
// # File format
//
// Integers are little-endian. Nothing is padded. Every hash is xxh3 with one seed,
// which is the xxh3 of bytes 16 to 48 of the file. A file is a head, the header,
// blocks, a directory and a footer.
//
//	offset  size  head
//	     0     8  magic     "kfsnap\r\n"
//	     8     2  version   of this format: 1
//	    10     2  reserved  0
//	    12     4  length    of the header
//	    16    16  store     the ID: whose snapshot this is
//	    32     4  layout
//	    36     4  shard
//	    40     8  number
//	    48     8  hash      of the header
//	    56     8  hash      of the bytes before
//	    64     n  header    the caller's
//
// Later formats keep the head, its hash and their seed, so that a newer file is told
// from a damaged one.
//
// The blocks of a partition follow each other, and the partitions do.
//
//	offset  size  block
//	     0     4  magic      "kfbk"
//	     4     1  codec      0: data is not compressed; there is no other codec yet
//	     5     1  form       of data, the caller's
//	     6     2  table
//	     8     4  partition
//	    12     4  entries    not more than length: an entry takes at least a byte; 0 in a
//	                         piece that goes on
//	    16     4  length     of data, at most 4 MiB
//	    20     4  more       1: what the caller gave as one block goes on in the next block
//	                         here, which has the same form, table and partition; 0: it ends
//	    24     8  offset     of this block in the file
//	    32     8  hash       of data
//	    40     8  hash       of the bytes before
//	    48     n  data       the caller's
//
// Pieces of one block are put together again in memory, up to [DataBytesMax] of data. Only
// data of more than 4 MiB is cut into pieces, which are about equally long.
//
// The directory has an item for each partition, in the order of the file.
//
//	offset  size  item
//	     0     4  partition
//	     4     4  blocks    each piece counts
//	     8     8  sequence  of the last event in the image
//	    16     8  epoch     of the partition's ownership
//	    24     8  offset    of its first block
//	    32     8  bytes     of its blocks, with their heads
//	    40     8  entries
//
// The footer is the end of the file.
//
//	offset  size  footer
//	     0     8  magic       "kfsnend\n"
//	     8     8  directory   its offset
//	    16     4  partitions
//	    20     4  reserved    0
//	    24     8  blocks
//	    32     8  entries
//	    40     8  data        bytes in all blocks, without their heads
//	    48     8  hash        of the directory
//	    56     8  hash        of the bytes before
package snapshot

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrFormat is matched by the error for a file of a format that is newer than this
// package. The file may be whole.
var ErrFormat = errors.New("snapshot: the file has a newer format")

// ErrForeign is matched by the error for a whole file that belongs to another
// store, layout or shard, or has another number. The error is a *[ForeignError].
var ErrForeign = errors.New("snapshot: not the file that was asked for")

// An ID says whose snapshot a file is and which one. It seeds every hash in it. A
// number must not be used again by the same shard.
type ID struct {
	Store         [16]byte
	Layout, Shard uint32
	Number        uint64
}

// String names snapshot, shard, layout and store.
func (id ID) String() string {
	return fmt.Sprintf("snapshot %d of shard %d in layout %d of store %s",
		id.Number, id.Shard, id.Layout, hex.EncodeToString(id.Store[:]))
}

// A Partition is what a file says of one partition in it.
type Partition struct {
	Partition uint32
	Blocks    uint32
	Sequence  uint64 // of the last event in the image
	Epoch     uint64 // of the partition's ownership
	Offset    uint64 // of its first block in the file
	Bytes     uint64 // of its blocks, with their heads
	Entries   uint64
}

// A Summary is what is in a whole file.
type Summary struct {
	Partitions int
	Blocks     uint64
	Entries    uint64
	DataBytes  uint64 // given to Block
	FileBytes  uint64
}

// A CorruptError is returned when a file is not what was written: it is damaged,
// cut, was never finished, or cannot be read. Nothing in it may be trusted that was
// not verified before.
type CorruptError struct {
	Path   string
	Offset int64 // of the part of the file that is wrong
	Err    error // what is wrong with it
}

// Error names the file, the offset and what is wrong.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("snapshot: %s is damaged at offset %d: %v", e.Path, e.Offset, e.Err)
}

// Unwrap returns what is wrong.
func (e *CorruptError) Unwrap() error { return e.Err }

// A ForeignError is returned when a file belongs to something else than was asked
// for. It matches [ErrForeign].
type ForeignError struct {
	Path       string
	Want, Have ID
}

// Error names what the file is and what it should be.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("snapshot: %s is %v, not %v", e.Path, e.Have, e.Want)
}

// Unwrap returns ErrForeign.
func (e *ForeignError) Unwrap() error { return ErrForeign }

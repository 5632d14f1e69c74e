package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/shard"
)

// ErrBackup is matched by the error of Restore for a stream that is no whole backup. The
// error says at which offset it is damaged, or cut.
var ErrBackup = errors.New("keyfold: damaged backup")

// A backup is a stream of chunks, little-endian:
//
//	offset  size  field    meaning
//	     0     4  magic    "KFbk"
//	     4     1  format   1
//	     5     1  kind     1 manifest, 2 piece of a file, 3 CURRENT of a shard, 4 end
//	     6     2  reserved 0
//	     8     8  offset   of this chunk in the stream
//	    16     4  length   of the payload, at most 16 MiB
//	    20     4  shard    that the file is of; 0 in a manifest, the number of shards in the end
//	    24     8  file     generation
//	    32     8  …        number of the first entry of the segment; 0: it is a snapshot
//	    40     8  hash     xxh3 of the bytes before, seeded with the data hash of the chunk before
//	    48     n  payload
//	  48+n     8  data     xxh3 of the payload, seeded with the hash
//
// The manifest comes first: the version of its payload, u32, and the payload. Then, for each
// shard in their order, the pieces of its files, one file after the other, and its CURRENT.
// The payload of the end is the number of chunks before it, u64.
const (
	chunkMagic       = 0x6b62464b // "KFbk"
	chunkFormat      = 1
	chunkHeaderBytes = 48
	chunkBytesMax    = 16 << 20
	// pieceBytes is how much of a file makes a chunk.
	pieceBytes = 256 << 10
)

const (
	chunkManifest = 1 + iota
	chunkPiece
	chunkCurrent
	chunkEnd
)

// A chunk is a part of a backup.
type chunk struct {
	kind    uint8
	shard   uint32
	file    shard.CutFile
	payload []byte
}

// A backupWriter writes chunks.
type backupWriter struct {
	w      io.Writer
	offset uint64
	seed   uint64 // the data hash of the last chunk
	count  uint64
	buf    []byte
	piece  chunk // of a file, not yet written
}

func (b *backupWriter) put(c *chunk) error {
	h := make([]byte, 0, chunkHeaderBytes)
	h = binary.LittleEndian.AppendUint32(h, chunkMagic)
	h = append(h, chunkFormat, c.kind, 0, 0)
	h = binary.LittleEndian.AppendUint64(h, b.offset)
	h = binary.LittleEndian.AppendUint32(h, uint32(len(c.payload)))
	h = binary.LittleEndian.AppendUint32(h, c.shard)
	h = binary.LittleEndian.AppendUint64(h, c.file.Generation)
	h = binary.LittleEndian.AppendUint64(h, c.file.Segment)
	hash := xxh3.HashSeed(h, b.seed)
	h = binary.LittleEndian.AppendUint64(h, hash)
	b.seed = xxh3.HashSeed(c.payload, hash)
	b.buf = append(append(b.buf[:0], h...), c.payload...)
	b.buf = binary.LittleEndian.AppendUint64(b.buf, b.seed)
	if _, err := b.w.Write(b.buf); err != nil {
		return fmt.Errorf("keyfold: write the backup at offset %d: %w", b.offset, err)
	}
	b.offset += uint64(len(b.buf))
	b.count++
	return nil
}

// add adds a piece of a file, and writes what makes a chunk.
func (b *backupWriter) add(index int, file shard.CutFile, data []byte) error {
	if b.piece.file != file || b.piece.shard != uint32(index) {
		if err := b.flush(); err != nil {
			return err
		}
		b.piece = chunk{kind: chunkPiece, shard: uint32(index), file: file, payload: b.piece.payload[:0]}
	}
	for len(data) > 0 {
		n := min(len(data), pieceBytes-len(b.piece.payload))
		b.piece.payload = append(b.piece.payload, data[:n]...)
		if data = data[n:]; len(b.piece.payload) == pieceBytes {
			if err := b.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *backupWriter) flush() error {
	if len(b.piece.payload) == 0 {
		return nil
	}
	err := b.put(&b.piece)
	b.piece.payload = b.piece.payload[:0]
	return err
}

// Backup writes a backup of the running store to w: for each shard its newest snapshot and
// the log behind it, verified as they are read, up to a cut. Everything that was
// acknowledged before the call is in it, and of each partition a prefix of its events. What
// was done because of a change that [Table.Changes] handed out is in it only with that
// change. History that KeepLog keeps is not in it. [Restore] makes a store of it.
//
// Shards go on meanwhile, and write nothing but a sync for it. Moves wait until the cut is
// made; files that the backup reads are not removed before it ends, however slow w is.
//
// Errors: ErrClosed, ErrInside, those of ctx and of w, a *[FailedError], and a
// *[CorruptError] if what is on the disk is damaged. After an error w holds no backup.
func (e *Engine) Backup(ctx context.Context, w io.Writer) error {
	if e.inside() {
		return ErrInside
	}
	manifest, cuts, err := e.cut(ctx)
	defer func() {
		for _, c := range cuts {
			c.Release()
		}
	}()
	if err != nil {
		return err
	}
	b := &backupWriter{w: w}
	if err := b.put(&chunk{kind: chunkManifest, payload: manifest}); err != nil {
		return err
	}
	for i, c := range cuts {
		current, err := c.Files(func(file shard.CutFile, data []byte) error {
			return errors.Join(e.goesOn(ctx), b.add(i, file, data))
		})
		if err == nil {
			err = b.flush()
		}
		if err == nil {
			err = b.put(&chunk{kind: chunkCurrent, shard: uint32(i), payload: current})
		}
		if err != nil {
			return errors.Join(err, e.goesOn(ctx))
		}
	}
	if err := e.goesOn(ctx); err != nil {
		return err
	}
	return b.put(&chunk{kind: chunkEnd, shard: uint32(len(cuts)), payload: binary.LittleEndian.AppendUint64(nil, b.count)})
}

// goesOn is why something that takes long must end.
func (e *Engine) goesOn(ctx context.Context) error {
	select {
	case <-e.closing.begun:
		return ErrClosed
	default:
		return ctx.Err()
	}
}

// cut makes cuts of all shards, between two moves, and returns the manifest for them. Who
// reads changes gets nothing that is in no cut until the cuts are made: so an event that was
// sent because of a change is never in a cut without that change.
func (e *Engine) cut(ctx context.Context) (manifest []byte, cuts []*shard.Cut, err error) {
	if err := e.takeTurn(ctx); err != nil {
		return nil, nil, err
	}
	defer func() { <-e.moves }()
	shards := e.shards()
	for _, s := range shards {
		s.Bar()
		defer s.Unbar()
	}
	all := make([]*shard.Cut, len(shards))
	err = eachShard(len(shards), func(i int) (err error) {
		all[i], err = shards[i].Cut(ctx)
		return err
	})
	for _, c := range all {
		if c != nil {
			cuts = append(cuts, c)
		}
	}
	m := *e.manifest
	m.Former = 0
	return append(binary.LittleEndian.AppendUint32(nil, manifestVersion), m.encode()...), cuts, err
}

package snapshot

import (
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/mutant"
)

// A scanner goes through the blocks of a file from offset at up to limit, with as
// few reads as the window allows.
type scanner struct {
	r      *Reader
	at     uint64
	limit  uint64
	window []byte // the buffer
	have   []byte // the part of it that holds the file's bytes from at on
}

// partition gives every block of p, which begins at s.at, to fn.
func (s *scanner) partition(p *Partition, fn func(table uint16, form uint8, entries uint32, data []byte) error) error {
	var blocks uint32
	var entries uint64
	var open pieces
	for end := p.Offset + p.Bytes; s.at < end; blocks++ {
		k, data, err := s.block(p, end)
		if err == nil {
			if err = open.add(&k, data, fn != nil); err != nil {
				err = s.corrupt(p, err)
			}
		}
		if err != nil {
			return err
		}
		entries += uint64(k.entries)
		if fn != nil && !k.more {
			if err := fn(k.table, k.form, k.entries, open.whole(data)); err != nil {
				return err
			}
		}
		s.skip(blockBytes + len(data))
	}
	if open.more {
		return s.r.corrupt(p.Offset, fmt.Errorf("partition %d: the last block is not all there", p.Partition))
	}
	if blocks != p.Blocks || entries != p.Entries {
		return s.r.corrupt(p.Offset, fmt.Errorf("partition %d has %d blocks with %d entries, not %d with %d",
			p.Partition, blocks, entries, p.Blocks, p.Entries))
	}
	return nil
}

// pieces are those of a block that is not whole yet.
type pieces struct {
	more  bool // the last one goes on
	table uint16
	form  uint8
	bytes int    // of all pieces
	data  []byte // of those before the last one
}

// add takes a piece, or a block of one. Its data is kept if there is somebody to give it to.
func (o *pieces) add(k *block, data []byte, keep bool) error {
	if o.more && (k.table != o.table || k.form != o.form) {
		return errPieces
	}
	if !o.more {
		o.bytes, o.data = 0, nil
	}
	if o.bytes += len(data); o.bytes > DataBytesMax || k.more && (k.entries > 0 || len(data) == 0) {
		return fmt.Errorf("a piece of %d bytes, the last of %d, has %d entries", len(data), o.bytes, k.entries)
	}
	o.more, o.table, o.form = k.more, k.table, k.form
	if k.more && keep {
		o.data = append(o.data, data...)
	}
	return nil
}

// whole is a block whose last piece has come.
func (o *pieces) whole(last []byte) []byte {
	if len(o.data) == 0 {
		return last
	}
	o.data = append(o.data, last...)
	return o.data
}

// block reads and verifies the block at s.at, which belongs to p and ends before end.
func (s *scanner) block(p *Partition, end uint64) (k block, data []byte, err error) {
	room := end - s.at
	if room < blockBytes {
		return k, nil, s.corrupt(p, fmt.Errorf("%d bytes are no block", room))
	}
	b, err := s.need(blockBytes)
	if err != nil {
		return k, nil, err
	}
	if err := k.parse(b, s.r.seed); err != nil {
		return k, nil, s.corrupt(p, err)
	}
	if err := s.checkBlock(&k, p, room-blockBytes); err != nil {
		return k, nil, s.corrupt(p, err)
	}
	if b, err = s.need(blockBytes + int(k.length)); err != nil {
		return k, nil, err
	}
	if data = b[blockBytes:]; xxh3.HashSeed(data, s.r.seed) != k.hash && !mutant.SnapshotNotChecked {
		return k, nil, s.corrupt(p, fmt.Errorf("data: %w", errHash))
	}
	return k, data, nil
}

// checkBlock checks that a block is where it belongs, and that its lengths fit.
func (s *scanner) checkBlock(k *block, p *Partition, room uint64) error {
	switch {
	case k.offset != s.at:
		return fmt.Errorf("it belongs at offset %d", k.offset)
	case k.partition != p.Partition:
		return fmt.Errorf("it belongs to partition %d", k.partition)
	case k.length > BlockBytesMax || uint64(k.length) > room:
		return fmt.Errorf("%d bytes of data, of which %d have room", k.length, min(room, BlockBytesMax))
	case k.entries > k.length:
		return fmt.Errorf("%d entries in %d bytes", k.entries, k.length)
	}
	return nil
}

// need gives the n bytes at s.at, which lie before the limit.
func (s *scanner) need(n int) ([]byte, error) {
	if len(s.have) < n {
		if err := s.fill(n); err != nil {
			return nil, err
		}
	}
	return s.have[:n], nil
}

// fill reads ahead until s.have holds n bytes or more.
func (s *scanner) fill(n int) error {
	left := s.limit - s.at
	if want := max(uint64(n), min(left, chunkBytes)); uint64(len(s.window)) < want {
		grown := make([]byte, want)
		s.have = grown[:copy(grown, s.have)]
		s.window = grown
	} else {
		s.have = s.window[:copy(s.window, s.have)]
	}
	held := len(s.have)
	s.have = s.window[:min(left, uint64(len(s.window)))]
	if err := s.r.readAt(s.have[held:], s.at+uint64(held)); err != nil {
		s.have = s.have[:held]
		return err
	}
	return nil
}

// skip goes on by n bytes that need has given.
func (s *scanner) skip(n int) {
	s.have = s.have[n:]
	s.at += uint64(n)
}

// corrupt says what is wrong with the block at s.at.
func (s *scanner) corrupt(p *Partition, err error) error {
	return s.r.corrupt(s.at, fmt.Errorf("block of partition %d: %w", p.Partition, err))
}

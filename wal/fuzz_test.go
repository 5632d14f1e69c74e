package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/zeebo/xxh3"
)

// rehashed gives the frames of a segment hashes that are right, as far as they are there.
func rehashed(s *script, b []byte) []byte {
	b = bytes.Clone(b)
	chain := uint64(0)
	for at := 0; at < len(b); {
		length, n := binary.Uvarint(b[at:])
		if n <= 0 || length < frameBytesMin || length > uint64(len(b)-at-n) {
			break
		}
		frame := b[at+n:][:length]
		if at > 0 {
			binary.LittleEndian.PutUint64(frame[offChain:], chain)
		}
		hash := xxh3.HashSeed(frame[:offHash], s.id.seed(s.generation))
		binary.LittleEndian.PutUint64(frame[offHash:], hash)
		chain = xxh3.HashSeed(frame[headerBytes:length-trailerBytes], hash)
		binary.LittleEndian.PutUint64(frame[length-trailerBytes:], chain)
		at += n + int(length)
	}
	return b
}

// FuzzScan reads anything as the first and as the last segment of a log, as it is and with
// hashes that are right: no panic, no more memory than a window and twice the bytes, and
// whatever ends it is one of the errors that there are.
func FuzzScan(f *testing.F) {
	s := smallScript()
	d, end := s.disk(f)
	names := d.names()
	first, last := d.files[names[0]].Data, d.files[names[len(names)-1]].Data
	f.Add(first, false, true)
	f.Add(last, false, false)
	f.Add(first[:len(first)/2], true, true)
	f.Add(append(bytes.Clone(last), make([]byte, 100)...), true, false)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, false, false)
	f.Fuzz(func(t *testing.T, b []byte, right, head bool) {
		if right {
			b = rehashed(&s, b)
		}
		damaged := d.with(names[len(names)-1], b)
		if head {
			damaged = newDisk().with(names[0], b)
		}
		size := uint64(0)
		for _, file := range damaged.files {
			size += uint64(len(file.Data))
		}
		for _, seal := range []*End{nil, &end} {
			before := allocated()
			result, err := s.scan(damaged, "", ScanOptions{Seal: seal})
			if taken := allocated() - before; taken > 2*size+64<<10 {
				t.Fatalf("%d bytes were taken for a log of %d", taken, size)
			}
			if right && errors.Is(err, errWrongData) {
				err = nil // whoever makes the hashes may make the frames
			}
			if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("neither damage nor another format: %v", err)
			}
			if err == nil && result.Bytes > int64(size) {
				t.Fatalf("%d bytes of frames in a log of %d", result.Bytes, size)
			}
		}
	})
}

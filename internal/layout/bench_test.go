package layout

import (
	"encoding/binary"
	"testing"
	"unsafe"
)

// BenchmarkAppend has hand-written code for the same bytes as its rival.
func BenchmarkAppend(b *testing.B) {
	type dense struct{ A, B, C, D uint64 }
	b.Run("type=dense32", func(b *testing.B) { benchmarkAppend(b, dense{1, 2, 3, 4}) })
	b.Run("type=padded12", func(b *testing.B) { benchmarkAppend(b, session{1, 2}) })
	b.Run("type=everything", func(b *testing.B) { benchmarkAppend(b, sample()) })
	b.Run("type=padded12/rival=hand", func(b *testing.B) {
		v, buffer := session{1, 2}, make([]byte, 0, 64)
		for b.Loop() {
			buffer = binary.LittleEndian.AppendUint32(buffer[:0], v.Clicks)
			buffer = binary.LittleEndian.AppendUint64(buffer, uint64(v.Last))
		}
	})
}

func benchmarkAppend[T any](b *testing.B, v T) {
	b.Helper()
	l, buffer := layoutOf[T](b), make([]byte, 0, 1024)
	for b.Loop() {
		buffer = l.Append(buffer[:0], unsafe.Pointer(&v))
	}
	b.SetBytes(int64(len(buffer)))
}

func BenchmarkDecode(b *testing.B) {
	type dense struct{ A, B, C, D uint64 }
	b.Run("type=dense32", func(b *testing.B) { benchmarkDecode(b, dense{1, 2, 3, 4}) })
	b.Run("type=padded12", func(b *testing.B) { benchmarkDecode(b, session{1, 2}) })
	b.Run("type=everything", func(b *testing.B) { benchmarkDecode(b, sample()) })
}

func benchmarkDecode[T any](b *testing.B, v T) {
	b.Helper()
	l := layoutOf[T](b)
	src := l.Append(nil, unsafe.Pointer(&v))
	var back T
	for b.Loop() {
		if err := l.Decode(src, unsafe.Pointer(&back)); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(src)))
}

package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// sampleFile gives a file system with the sample in file "a", and its bytes.
func sampleFile(tb testing.TB) (fsys.FS, []byte) {
	tb.Helper()
	fs := crashfs.New()
	write(tb, fs, "a", testID, []byte("header"), sampleImages())
	return fs, content(tb, fs, "a")
}

// refuse checks that Verify refuses b as damaged, and that what Load gives until it
// meets the damage is what was written.
func refuse(tb testing.TB, what string, b []byte) {
	tb.Helper()
	fs := crashfs.New()
	put(tb, fs, "damaged", b)
	_, err := Verify(fs, "damaged", testID)
	var corrupt *CorruptError
	if !errors.As(err, &corrupt) {
		tb.Fatalf("%s: Verify returned %v", what, err)
	}
	if corrupt.Path != "damaged" || corrupt.Offset < 0 || corrupt.Offset > int64(len(b)) {
		tb.Fatalf("%s: damage outside of the file: %v", what, err)
	}
	images, err := load(fs, "damaged", testID)
	if !errors.As(err, new(*CorruptError)) {
		tb.Fatalf("%s: Load returned %v", what, err)
	}
	for _, m := range images {
		if !isPrefixOfSample(m) {
			tb.Fatalf("%s: partition %d was loaded as something else", what, m.partition)
		}
	}
}

var sample = sampleImages()

// isPrefixOfSample says whether m has the first blocks of a partition of the sample.
func isPrefixOfSample(m image) bool {
	for _, want := range sample {
		if want.partition == m.partition && len(m.items) <= len(want.items) {
			want.items = want.items[:len(m.items)]
			return want.sequence == m.sequence && want.epoch == m.epoch &&
				(len(m.items) == 0 || reflect.DeepEqual(m.items, want.items))
		}
	}
	return false
}

// Goal: no byte of a file can change unnoticed.
// Method: every byte of a small file, xor a random one that is not 0.
// The bytes of the format version may also say that the file is a newer one.
func TestEveryFlippedByteIsRefused(t *testing.T) {
	fs, good := sampleFile(t)
	if len(good) < 8<<10 {
		t.Fatalf("the sample has only %d bytes", len(good))
	}
	seed := seedFor(t)
	r := rand.New(rand.NewPCG(seed, 0))
	for at := range good {
		bad := slices.Clone(good)
		bad[at] ^= byte(1 + r.IntN(255))
		if at != headVersion && at != headVersion+1 {
			refuse(t, "flipped", bad)
			continue
		}
		put(t, fs, "damaged", bad)
		if _, err := Verify(fs, "damaged", testID); err == nil {
			t.Fatalf("version %x was read", bad[headVersion:headReserved])
		}
	}
}

func TestEveryCutIsRefused(t *testing.T) {
	_, good := sampleFile(t)
	for n := range good {
		refuse(t, "cut", good[:n])
		refuse(t, "cut and filled with zeros", append(slices.Clone(good[:n]), make([]byte, len(good)-n)...))
	}
	refuse(t, "with a byte behind it", append(slices.Clone(good), 0))
	refuse(t, "twice", append(slices.Clone(good), good...))
	refuse(t, "with its footer twice", append(slices.Clone(good), good[len(good)-footBytes:]...))
}

// blocksOf finds the blocks of a good file.
func blocksOf(b []byte) (found [][]byte) {
	at := headBytes + int(binary.LittleEndian.Uint32(b[headLength:]))
	for string(b[at:at+blockCodec]) == blockMagic {
		n := blockBytes + int(binary.LittleEndian.Uint32(b[at+blockLength:]))
		found = append(found, b[at:at+n])
		at += n
	}
	return found
}

func TestBlocksInAnotherPlaceAreRefused(t *testing.T) {
	fs := crashfs.New()
	images := []image{
		{partition: 1, items: []item{{1, 1, []byte("one")}, {1, 1, []byte("two")}}},
		{partition: 2, items: []item{{1, 1, []byte("six")}}},
	}
	write(t, fs, "a", testID, nil, images)
	good := content(t, fs, "a")
	for _, pair := range [][2]int{{0, 1}, {1, 2}, {0, 2}} {
		bad := slices.Clone(good)
		blocks, from := blocksOf(bad), blocksOf(good)
		copy(blocks[pair[0]], from[pair[1]])
		copyOnly := slices.Clone(bad)
		copy(blocks[pair[1]], from[pair[0]])
		for _, b := range [][]byte{bad, copyOnly} {
			put(t, fs, "damaged", b)
			if _, err := Verify(fs, "damaged", testID); !errors.As(err, new(*CorruptError)) ||
				!strings.Contains(err.Error(), "it belongs at offset") {
				t.Errorf("block %d in the place of block %d: %v", pair[1], pair[0], err)
			}
		}
	}
}

func TestFilesOfSomethingElseAreRefusedByName(t *testing.T) {
	fs, good := sampleFile(t)
	for _, other := range []ID{
		{Store: [16]byte{9}, Layout: 1, Shard: 2, Number: 7},
		{Store: testID.Store, Layout: 9, Shard: 2, Number: 7},
		{Store: testID.Store, Layout: 1, Shard: 9, Number: 7},
		{Store: testID.Store, Layout: 1, Shard: 2, Number: 9},
	} {
		_, err := Verify(fs, "a", other)
		var foreign *ForeignError
		if !errors.As(err, &foreign) || !errors.Is(err, ErrForeign) || foreign.Have != testID || foreign.Want != other {
			t.Errorf("%v opened as %v: %v", testID, other, err)
		}
		if err == nil || !strings.Contains(err.Error(), testID.String()+", not "+other.String()) {
			t.Errorf("the error does not name both: %v", err)
		}
		relabelled := slices.Clone(good)
		appendID(relabelled[:headID], other)
		put(t, fs, "damaged", relabelled)
		if _, err := Verify(fs, "damaged", other); !errors.As(err, new(*CorruptError)) {
			t.Errorf("relabelled as %v: %v", other, err)
		}
		seal(relabelled[:headBytes], seedOf(other))
		put(t, fs, "damaged", relabelled)
		if _, err := Verify(fs, "damaged", other); !errors.As(err, new(*CorruptError)) {
			t.Errorf("relabelled as %v with a new hash: %v", other, err)
		}
	}
}

func TestNewerFormatIsNamed(t *testing.T) {
	fs, b := sampleFile(t)
	binary.LittleEndian.PutUint16(b[headVersion:], Version+1)
	put(t, fs, "a", b)
	_, err := Open(fs, "a", testID)
	if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "version 2, and this program knows 1") {
		t.Errorf("%v", err)
	}
	if _, err := Open(fs, "missing", testID); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// reseal gives b the hashes that a file with its fields would have, as far as the
// fields make sense, so that what is behind the hashes is reached.
func reseal(b []byte, id ID) {
	if len(b) < headBytes+footBytes {
		return
	}
	seed, size := seedOf(id), uint64(len(b))
	appendID(b[:headID], id)
	length := uint64(binary.LittleEndian.Uint32(b[headLength:]))
	if length <= size-headBytes {
		binary.LittleEndian.PutUint64(b[headBodyHash:], xxh3.HashSeed(b[headBytes:headBytes+length], seed))
	}
	seal(b[:headBytes], seed)
	foot := b[size-footBytes:]
	directory := binary.LittleEndian.Uint64(foot[footDirectory:])
	if directory <= size-footBytes {
		binary.LittleEndian.PutUint64(foot[footDirectoryHash:], xxh3.HashSeed(b[directory:size-footBytes], seed))
	}
	seal(foot, seed)
	for at := headBytes + length; at+blockBytes <= size-footBytes; {
		k := b[at : at+blockBytes]
		n := uint64(binary.LittleEndian.Uint32(k[blockLength:]))
		if string(k[:blockCodec]) != blockMagic || n > size-at-blockBytes {
			return
		}
		binary.LittleEndian.PutUint64(k[blockDataHash:], xxh3.HashSeed(b[at+blockBytes:at+blockBytes+n], seed))
		seal(k, seed)
		at += blockBytes + n
	}
}

// Goal: what a hash vouches for is still checked, so that a mistake of a writer
// does not become a wrong state or a huge allocation.
// Method: fields are changed and every hash is made right again.
func TestFieldsThatDoNotFitAreRefusedWithRightHashes(t *testing.T) {
	_, good := sampleFile(t)
	foot := len(good) - footBytes
	directory := int(binary.LittleEndian.Uint64(good[foot+footDirectory:]))
	first := headBytes + len("header")
	second := directory + itemBytes
	for what, change := range map[string]func(b []byte){
		"reserved bytes in the head":   func(b []byte) { b[headReserved] = 1 },
		"version 0":                    func(b []byte) { b[headVersion] = 0 },
		"header longer than the limit": func(b []byte) { put32(b, headLength, HeaderBytesMax+1) },
		"header longer than the file":  func(b []byte) { put32(b, headLength, uint32(len(b))) },
		"shorter header":               func(b []byte) { b[headLength]-- },
		"unknown codec":                func(b []byte) { b[first+blockCodec] = 1 },
		"reserved byte in a block":     func(b []byte) { b[first+blockCodec+1] = 1 },
		"reserved bytes in a block":    func(b []byte) { b[first+blockReserved] = 1 },
		"block of another partition":   func(b []byte) { put32(b, first+blockPartition, 3) },
		"block of another place":       func(b []byte) { b[first+blockOffset]++ },
		"entries of a block":           func(b []byte) { put32(b, first+blockEntries, 6) },
		"more entries than bytes":      func(b []byte) { put32(b, first+blockEntries, 1<<30) },
		"longer block":                 func(b []byte) { b[first+blockLength]++ },
		"block longer than the limit":  func(b []byte) { put32(b, first+blockLength, BlockBytesMax+1) },
		"block longer than the file":   func(b []byte) { put32(b, first+blockLength, 1<<31) },
		"partition twice":              func(b []byte) { put32(b, second, 9) },
		"blocks of a partition":        func(b []byte) { put32(b, directory+itemBlocks, 2) },
		"many blocks":                  func(b []byte) { put32(b, directory+itemBlocks, 1<<31) },
		"offset of a partition":        func(b []byte) { put64(b, second+itemOffset, 64) },
		"longer partition":             func(b []byte) { b[directory+itemLength]++ },
		"partition beyond the file":    func(b []byte) { put64(b, directory+itemLength, 1<<63) },
		"entries of a partition":       func(b []byte) { b[directory+itemEntries]++ },
		"many entries":                 func(b []byte) { put64(b, directory+itemEntries, 1<<63) },
		"partitions":                   func(b []byte) { b[foot+footPartitions]++ },
		"too many partitions":          func(b []byte) { put32(b, foot+footPartitions, 1<<32-1) },
		"place of the directory":       func(b []byte) { put64(b, foot+footDirectory, uint64(directory+itemBytes)) },
		"directory beyond the file":    func(b []byte) { put64(b, foot+footDirectory, 1<<63) },
		"directory around the end":     func(b []byte) { put64(b, foot+footDirectory, 1<<64-itemBytes) },
		"blocks in all":                func(b []byte) { b[foot+footBlocks]++ },
		"entries in all":               func(b []byte) { b[foot+footEntries]++ },
		"data in all":                  func(b []byte) { b[foot+footData]++ },
		"reserved bytes in the foot":   func(b []byte) { b[foot+footReserved] = 1 },
		"one partition in the header":  func(b []byte) { put32(b, headLength, uint32(second-headBytes)) },
	} {
		bad := slices.Clone(good)
		change(bad)
		reseal(bad, testID)
		fs := crashfs.New()
		put(t, fs, "damaged", bad)
		var err error
		taken := allocated(func() { _, err = Verify(fs, "damaged", testID) })
		if !errors.As(err, new(*CorruptError)) {
			t.Errorf("%s: %v", what, err)
		}
		if taken > 2*chunkBytes {
			t.Errorf("%s: %d bytes were taken for a file of %d", what, taken, len(bad))
		}
	}
	same := slices.Clone(good)
	reseal(same, testID)
	if !bytes.Equal(same, good) {
		t.Error("a good file was resealed as another one")
	}
}

func put32(b []byte, at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }

func put64(b []byte, at int, v uint64) { binary.LittleEndian.PutUint64(b[at:], v) }

// FuzzVerify reads anything as a file, with right hashes or as it is: no panic, no
// more memory than the file explains, and a file that is whole loads as a whole.
func FuzzVerify(f *testing.F) {
	small := crashfs.New()
	write(f, small, "a", testID, []byte("kf"), []image{
		{partition: 5, sequence: 9, epoch: 2, items: []item{{1, 1, []byte("one")}, {2, 0, nil}}}, {partition: 6},
	})
	good := content(f, small, "a")
	f.Add(good, true)
	f.Add(good[:len(good)-1], false)
	f.Fuzz(func(t *testing.T, b []byte, sealed bool) {
		b = slices.Clone(b)
		if sealed {
			reseal(b, testID)
		}
		fs := crashfs.New()
		put(t, fs, "a", b)
		var s Summary
		var err error
		if taken := allocated(func() { s, err = Verify(fs, "a", testID) }); taken > 16*uint64(len(b))+64<<10 {
			t.Fatalf("%d bytes were taken for a file of %d", taken, len(b))
		}
		images, loadErr := load(fs, "a", testID)
		if (err == nil) != (loadErr == nil) {
			t.Fatalf("verified: %v, loaded: %v", err, loadErr)
		}
		if err == nil && (s.Partitions != len(images) || s.FileBytes != uint64(len(b))) {
			t.Fatalf("%+v with %d partitions in %d bytes", s, len(images), len(b))
		}
	})
}

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
		{partition: 1, items: []item{{1, 0, 1, []byte("one")}, {1, 0, 1, []byte("two")}}},
		{partition: 2, items: []item{{1, 0, 1, []byte("six")}}},
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
	put(t, fs, "damaged", b)
	if _, err := Open(fs, "damaged", testID); !errors.As(err, new(*CorruptError)) {
		t.Errorf("a version without its hash is damage, not a newer file: %v", err)
	}
	seal(b[:headBytes], seedOf(testID))
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
		if string(k[:blockCodec]) != blockMagic {
			return
		}
		if n > size-at-blockBytes {
			seal(k, seed)
			return
		}
		binary.LittleEndian.PutUint64(k[blockDataHash:], xxh3.HashSeed(b[at+blockBytes:at+blockBytes+n], seed))
		seal(k, seed)
		at += blockBytes + n
	}
}

// A forgery changes a field of the sample file; what must say so.
type forgery struct {
	what, want string
	change     func(b []byte)
}

// goOn makes a block a piece that goes on.
func goOn(b []byte, at int) {
	put32(b, at+blockEntries, 0)
	b[at+blockMore] = 1
}

// forgeries of the sample file good.
func forgeries(good []byte) []forgery {
	foot := len(good) - footBytes
	directory := int(binary.LittleEndian.Uint64(good[foot+footDirectory:]))
	first := headBytes + len("header")
	second, third := directory+itemBytes, directory+2*itemBytes
	return []forgery{
		{"reserved bytes in the head", "reserved", func(b []byte) { b[headReserved] = 1 }},
		{"version 0", "reserved", func(b []byte) { b[headVersion] = 0 }},
		{"header longer than the limit", "the header has 1048577 bytes, more than 1048576", func(b []byte) { put32(b, headLength, HeaderBytesMax+1) }},
		{"header longer than the file", "does not fit the file", func(b []byte) { put32(b, headLength, uint32(len(b))) }},
		{"shorter header", "partition 9: the directory does not fit", func(b []byte) { b[headLength]-- }},
		{"unknown codec", "codec is not known", func(b []byte) { b[first+blockCodec] = 1 }},
		{"reserved bytes in a block", "reserved", func(b []byte) { b[first+blockMore+1] = 1 }},
		{"block that goes on, with entries", "a piece of 180 bytes, the last of 180, has 9 entries", func(b []byte) { b[first+blockMore] = 1 }},
		{"block that goes on in one of another table", "does not go on", func(b []byte) { goOn(b, first) }},
		{"last block that goes on", "partition 9: the last block is not all there", func(b []byte) { goOn(b, int(get64(b, second+itemOffset))-540-blockBytes) }},
		{"block of another partition", "it belongs to partition 3", func(b []byte) { put32(b, first+blockPartition, 3) }},
		{"block of another place", "it belongs at offset", func(b []byte) { b[first+blockOffset]++ }},
		{"entries of a block", "partition 9 has 3 blocks with", func(b []byte) { put32(b, first+blockEntries, 6) }},
		{"more entries than bytes", "1073741824 entries in 180 bytes", func(b []byte) { put32(b, first+blockEntries, 1<<30) }},
		{"longer block", "does not begin with its magic", func(b []byte) { b[first+blockLength]++ }},
		{"block longer than the limit", "4194305 bytes of data, of which", func(b []byte) { put32(b, first+blockLength, BlockBytesMax+1) }},
		{"block longer than the file", "2147483648 bytes of data, of which", func(b []byte) { put32(b, first+blockLength, 1<<31) }},
		{"partition twice", "partition 9 appears twice", func(b []byte) { put32(b, second, 9) }},
		{"blocks of a partition", "the directory does not fit the file", func(b []byte) { put32(b, directory+itemBlocks, 2) }},
		{"many blocks", "partition 9: the directory does not fit", func(b []byte) { put32(b, directory+itemBlocks, 1<<31) }},
		{"offset of a partition", "partition 3: the directory does not fit", func(b []byte) { put64(b, second+itemOffset, 64) }},
		{"longer partition", "partition 3: the directory does not fit", func(b []byte) { b[directory+itemLength]++ }},
		{"partition beyond the file", "partition 9: the directory does not fit", func(b []byte) { put64(b, directory+itemLength, 1<<63) }},
		{"entries of a partition", "the directory does not fit the file", func(b []byte) { b[directory+itemEntries]++ }},
		{"many entries", "partition 9: the directory does not fit", func(b []byte) { put64(b, directory+itemEntries, 1<<63) }},
		{"partitions", "the directory does not fit the file", func(b []byte) { b[foot+footPartitions]++ }},
		{"too many partitions", "the directory does not fit the file", func(b []byte) { put32(b, foot+footPartitions, 1<<32-1) }},
		{"place of the directory", "the directory does not fit the file", func(b []byte) { put64(b, foot+footDirectory, uint64(directory+itemBytes)) }},
		{"directory beyond the file", "the directory does not fit the file", func(b []byte) { put64(b, foot+footDirectory, 1<<63) }},
		{"directory around the end", "the directory does not fit the file", func(b []byte) {
			put32(b, foot+footPartitions, PartitionsMax)
			put64(b, foot+footDirectory, uint64(len(b)-footBytes)-PartitionsMax*itemBytes)
		}},
		{"blocks in all", "the directory does not fit the file", func(b []byte) { b[foot+footBlocks]++ }},
		{"entries in all", "the directory does not fit the file", func(b []byte) { b[foot+footEntries]++ }},
		{"data in all", "the directory does not fit the file", func(b []byte) { b[foot+footData]++ }},
		{"reserved bytes in the foot", "reserved", func(b []byte) { b[foot+footReserved] = 1 }},
		{"one partition in the header", "partition 9: the directory does not fit", func(b []byte) { put32(b, headLength, uint32(second-headBytes)) }},
		{"last block longer than its partition", "541 bytes of data, of which 540 have room", func(b []byte) {
			put32(b, int(get64(b, second+itemOffset))-540-blockBytes+blockLength, 541)
		}},
		{"partition that ends within a block", "10 bytes are no block", func(b []byte) {
			add64(b, directory+itemLength, 10)
			add64(b, second+itemOffset, 10)
			add64(b, third+itemOffset, 10)
			add64(b, third+itemLength, -10)
		}},
		{"block counted in another partition", "partition 9 has 3 blocks with", func(b []byte) {
			b[directory+itemBlocks]--
			b[third+itemBlocks]++
		}},
		{"gap before the directory", "the directory does not fit the file", func(b []byte) {
			last := foot - itemBytes
			add64(b, foot+footBlocks, -1)
			add64(b, foot+footEntries, -int64(get64(b, last+itemEntries)))
			add64(b, foot+footData, blockBytes-int64(get64(b, last+itemLength)))
			clear(b[last+itemBlocks : last+itemSequence])
			clear(b[last+itemLength : foot])
		}},
	}
}

// Goal: what a hash vouches for is still checked, so that a mistake of a writer
// does not become a wrong state or a huge allocation.
// Method: fields are changed and every hash is made right again.
func TestFieldsThatDoNotFitAreRefusedWithRightHashes(t *testing.T) {
	_, good := sampleFile(t)
	for _, c := range forgeries(good) {
		bad := slices.Clone(good)
		c.change(bad)
		reseal(bad, testID)
		fs := crashfs.New()
		put(t, fs, "damaged", bad)
		var err error
		taken := allocated(func() { _, err = Verify(fs, "damaged", testID) })
		if !errors.As(err, new(*CorruptError)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.what, err, c.want)
		}
		if taken > 2*chunkBytes {
			t.Errorf("%s: %d bytes were taken for a file of %d", c.what, taken, len(bad))
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

func get64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }

func add64(b []byte, at int, v int64) { put64(b, at, get64(b, at)+uint64(v)) }

// Goal: a block that is too long is refused before memory is taken for it, also
// where the file has room for it.
func TestBlocksBeyondTheLimitAreRefusedWithRightHashes(t *testing.T) {
	fs := crashfs.New()
	w, err := Create(fs, "a", testID, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.begin(1); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, BlockBytesMax+1)
	k := block{partition: 1, length: uint32(len(data)), offset: w.offset, hash: xxh3.HashSeed(data, w.seed)}
	k.put(w.scratch[:blockBytes], w.seed)
	w.write(w.scratch[:blockBytes])
	w.write(data)
	w.directory[0].Blocks++
	w.total.data += uint64(len(data))
	if err := w.EndPartition(1, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(); err != nil {
		t.Fatal(err)
	}
	_, err = Verify(fs, "a", testID)
	if err == nil || !strings.Contains(err.Error(), "4194305 bytes of data, of which 4194304 have room") {
		t.Errorf("%v", err)
	}
}

// verifyBytesMax is how much memory a file of so many bytes explains: its directory as it
// lies there, with an item of it and an entry of a map for each 48 bytes, and a window, which
// has not more than the blocks.
func verifyBytesMax(size int) uint64 { return 3*uint64(size) + 64<<10 }

// Goal: memory grows as the directory does, and no faster.
func TestAFileOfPartitionsTakesTheMemoryThatItExplains(t *testing.T) {
	for _, partitions := range []uint32{0, 1, 2000, 60_000} {
		fs := crashfs.New()
		var images []image
		for i := range partitions {
			images = append(images, image{partition: i})
		}
		write(t, fs, "a", testID, nil, images)
		size := len(content(t, fs, "a"))
		var err error
		if taken := allocated(func() { _, err = Verify(fs, "a", testID) }); err != nil || taken > verifyBytesMax(size) {
			t.Errorf("%d partitions in %d bytes: %d bytes were taken, %v", partitions, size, taken, err)
		}
	}
}

// FuzzVerify reads anything as a file, with right hashes or as it is: no panic, no
// more memory than the file explains, and a file that is whole loads as a whole.
func FuzzVerify(f *testing.F) {
	small := crashfs.New()
	write(f, small, "a", testID, []byte("kf"), []image{
		{partition: 5, sequence: 9, epoch: 2, items: []item{{1, 0, 1, []byte("one")}, {2, 1, 0, nil}}}, {partition: 6},
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
		if taken := allocated(func() { s, err = Verify(fs, "a", testID) }); taken > verifyBytesMax(len(b)) {
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

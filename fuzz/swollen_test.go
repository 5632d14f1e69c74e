package fuzz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

type swellingSpec = engine.Spec[string, []byte, int64, int]

// swelling is a table whose states are as large as the last event says.
func swelling() swellingSpec {
	return swellingSpec{Name: "swelling", Apply: func(c *engine.Context[string], s *[]byte, bytes int64) int {
		*s = swollen(c.Key(), bytes)
		return len(*s)
	}}
}

// swollen is a state of so many bytes: any two pieces of it differ.
func swollen(key string, size int64) []byte {
	s := bytes.Repeat([]byte(key+" has grown "), int(size)/(len(key)+11)+1)[:size]
	for at := 0; at+3 < len(s); at += 4096 {
		s[at], s[at+1], s[at+2] = byte(at>>12), byte(at>>20), byte(at>>28)
	}
	return s
}

// openSwelling opens a store of the table in memory.
func openSwelling(t *testing.T, disk *crashfs.FS, shards int, spec swellingSpec) (*engine.Engine, *engine.Table[string, []byte, int64, int], error) {
	t.Helper()
	table := engine.NewTable(spec)
	e, err := engine.Open(t.Context(), "/store", engine.Options{
		Shards: shards, Partitions: 4, Rebalance: engine.RebalanceOff, KeepLog: engine.KeepLog{Bytes: 1 << 30},
		Environment: &seam.Environment{FS: disk, Seed: hashSeed, Now: epoch.UnixNano},
	}, table)
	return e, table, err
}

// Goal: an event whose state was accepted does not leave a store that can take no snapshot,
// move no partition and have no other number of shards, however large the state has grown.
func TestAStateThatHasGrownIsKeptInSnapshotsMovesAndOtherLayouts(t *testing.T) {
	sizes := map[string]int64{"a": 100, "b": 300 << 10, "c": 2<<20 + 1, "d": 4<<20 - 9, "e": 5 << 20, "f": 13<<20 + 77, "g": 0}
	disk := crashfs.New()
	e, table, err := openSwelling(t, disk, 2, swelling())
	if err != nil {
		t.Fatal(err)
	}
	look := func(step string) {
		t.Helper()
		for key, size := range sizes {
			s, found, err := table.Get(t.Context(), key)
			if err != nil || !found || !bytes.Equal(s, swollen(key, size)) {
				t.Fatalf("%s: key %s of %d bytes: %d, %v, %v", step, key, size, len(s), found, err)
			}
		}
	}
	for key, size := range sizes {
		if n, err := table.Do(t.Context(), key, size); err != nil || n != int(size) {
			t.Fatalf("key %s: %d, %v", key, n, err)
		}
	}
	for partition := range 4 {
		if err := errors.Join(e.Snapshot(t.Context()), e.Move(t.Context(), partition, partition&1^1), e.Move(t.Context(), partition, partition&1)); err != nil {
			t.Fatal(err)
		}
	}
	look("moved")
	if err := e.Resize(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	look("resized")
	for _, shards := range []int{3, 1, 2} { // from the log of a move, and from snapshots
		disk = crashed(disk, e)
		if e, table, err = openSwelling(t, disk, shards, swelling()); err != nil {
			t.Fatalf("%d shards: %v", shards, err)
		}
		look("recovered")
		shown := 0
		if _, err := table.States(t.Context(), func(key string, s []byte) error {
			if shown++; !bytes.Equal(s, swollen(key, sizes[key])) {
				return fmt.Errorf("%s has %d bytes, which are not its own", key, len(s))
			}
			return nil
		}); err != nil || shown != len(sizes) {
			t.Fatalf("shown %d: %v", shown, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := engine.Verify(t.Context(), "/store", engine.VerifyOptions{Environment: &seam.Environment{FS: disk}})
	if err != nil || !v.Whole() || v.Tables[0].Keys != uint64(len(sizes)) {
		t.Errorf("verified: %+v, %v", v, err)
	}
}

// crashed is the disk after a crash that leaves what was synced.
func crashed(disk *crashfs.FS, e *engine.Engine) *crashfs.FS {
	left := disk.Crash(crashfs.Model{})
	_ = e.Close() // on the disk that nobody has any more
	return left
}

// Goal: when a state cannot be encoded, who is told knows of which key and table.
func TestASnapshotThatFailsNamesTheKeyAndTheTable(t *testing.T) {
	spec := swelling()
	spec.StateCodec = faultyCodec{}
	e, table, err := openSwelling(t, crashfs.New(), 1, spec)
	if err != nil {
		t.Fatal(err)
	}
	for key, size := range map[string]int64{"good": 5, "bad": 13} {
		if _, err := table.Do(t.Context(), key, size); err != nil {
			t.Fatal(err)
		}
	}
	err = e.Snapshot(t.Context())
	if err == nil || !strings.Contains(err.Error(), `table "swelling": the state of key bad cannot be encoded: 13 bytes`) {
		t.Errorf("the snapshot: %v", err)
	}
	if err := e.Snapshot(context.Background()); err == nil {
		t.Errorf("the second snapshot went well")
	}
}

var errThirteen = errors.New("13 bytes bring bad luck")

// A faultyCodec does not encode states of 13 bytes.
type faultyCodec struct{}

func (faultyCodec) Name() string { return "faulty/1" }

func (faultyCodec) Append(dst []byte, s []byte) ([]byte, error) {
	if len(s) == 13 {
		return nil, errThirteen
	}
	return append(dst, s...), nil
}

func (faultyCodec) Decode(src []byte, s *[]byte) error {
	*s = bytes.Clone(src)
	return nil
}

// A freshCodec forgets what was there before: it returns memory of its own.
type freshCodec struct{ faultyCodec }

func (freshCodec) Append(_ []byte, s []byte) ([]byte, error) { return bytes.Clone(s), nil }

// Goal: a codec that returns its bytes alone, not behind those that it was given, is told
// so, and writes over nothing.
func TestACodecThatForgetsWhatItWasGivenIsRefused(t *testing.T) {
	spec := swelling()
	spec.StateCodec = freshCodec{}
	e, table, err := openSwelling(t, crashfs.New(), 1, spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{1, 1000} { // shorter, and longer, than what it was given
		if _, err := table.Do(t.Context(), "key", size); err == nil {
			err = e.Snapshot(t.Context())
			if err == nil || !strings.Contains(err.Error(), `codec "faulty/1": Append returned`) {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
	}
}

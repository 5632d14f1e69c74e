package fuzz

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
	images "github.com/keyfold/keyfold/snapshot"
	"github.com/keyfold/keyfold/wal"
)

// A full is a store with everything that a snapshot or a log may have, made once: timers
// and deadlines, ids with answers, origins, a partition that has moved to and fro. It was
// killed, and nothing of it is changed.
type full struct {
	*rig
	blocks []sampled // of its snapshots
	bodies [][]byte  // of the frames of its logs
	backup []byte
}

// A sampled is a block of a snapshot.
type sampled struct {
	table   uint16
	form    uint8
	entries uint32
	data    []byte
}

// newTimed is a table with everything.
func newTimed() *engine.Table[string, tally, step, tally] {
	return engine.NewTable(engine.Spec[string, tally, step, tally]{
		Name: "timed", TTL: engine.TTL{Idle: time.Hour, Age: 2 * time.Hour}, Once: engine.Once{IDs: 100, For: time.Hour},
		Apply: func(c *engine.Context[string], s *tally, e step) tally {
			s.fold(c, e)
			c.SetTimer(c.Now().Add(time.Duration(1+e.Number%50) * time.Minute))
			return *s
		},
		OnTimer: func(*engine.Context[string], *tally) {},
	})
}

var (
	sample = sync.OnceValue(func() *full { return newFull(2) })
	single = sync.OnceValue(func() *full { return newFull(1) })
)

// newFull makes one of so many shards; with a single one nothing has moved.
func newFull(shards int) *full {
	s := &full{rig: newRig(small(), hashes["full"])}
	s.options.Shards, s.options.SnapshotBytes = shards, 1<<30
	table := newTimed()
	s.panicIf(s.openWith(table))
	ctx, cancel := patiently()
	defer cancel()
	for round := range 2 {
		for i := range 12 {
			_, err := table.DoOnce(ctx, engine.EventIDOf(fmt.Sprint(round, i)), fmt.Sprint("key-", i), step{Number: uint64(i), Filler: "filler"})
			s.panicIf(err)
		}
		p, err := table.Producer(engine.ProducerOptions[string, step]{Name: "origin"})
		s.panicIf(err)
		s.panicIf(p.SendAt(ctx, uint64(round+1), "key-1", step{Number: 1}))
		s.panicIf(p.Close(ctx))
		s.panicIf(useNames(ctx, s.engine, table))
		s.panicIf(s.engine.Move(ctx, 0, (1-round)%shards))
		s.panicIf(s.engine.Snapshot(ctx))
	}
	s.panicIf(s.engine.Move(ctx, 1, 1%shards))
	_, err := table.Do(ctx, "key-2", step{Number: 3})
	s.panicIf(err)
	var backup bytes.Buffer
	s.panicIf(s.engine.Backup(ctx, &backup))
	s.backup = backup.Bytes()
	s.panicIf(s.crash(crashfs.Model{}))
	s.read()
	return s
}

// useNames uses everything whose position the store keeps under a name: what it keeps is
// read, and written again.
func useNames(ctx context.Context, e *engine.Engine, table *engine.Table[string, tally, step, tally]) error {
	p, err := table.Producer(engine.ProducerOptions[string, step]{Name: "resumed"})
	if err != nil {
		return err
	}
	if _, err := p.Resume(ctx); err != nil {
		return errors.Join(err, p.Close(ctx))
	}
	if err := errors.Join(p.Send(ctx, "key-3", step{Number: 5}), p.Close(ctx)); err != nil {
		return err
	}
	f, err := table.Consume(ctx, &named{}, engine.SourceOptions[string, step]{Name: "named", Partition: 2})
	if err != nil {
		return err
	}
	if err := f.Wait(ctx); err != nil {
		return err
	}
	c, err := e.Cursor(ctx, "reader")
	if err != nil {
		return err
	}
	at, err := table.States(ctx, func(string, tally) error { return nil })
	if err != nil {
		return err
	}
	return c.Commit(ctx, at)
}

// A named source gives one record more than those behind which it is resumed.
type named struct{ offset uint64 }

func (n *named) Resume(offset uint64) error { n.offset = offset; return nil }
func (n *named) Offset(int) uint64          { return n.offset }

func (n *named) Poll(records []engine.Record[string, step]) (int, error) {
	records[0] = engine.Record[string, step]{Key: "key-4", Event: step{Number: 6}}
	return 1, io.EOF
}

func (s *full) panicIf(err error) {
	if err != nil {
		panic(err) // of a sample that a test has made
	}
}

// read collects what is in the files.
func (s *full) read() {
	view := copyOf(s.disk)
	for _, name := range matching(view, "/snapshot/") {
		r, err := images.Open(view, name, s.snapshotID(name))
		s.panicIf(err)
		for _, p := range r.Partitions() {
			s.panicIf(r.Load(p.Partition, func(table uint16, form uint8, entries uint32, data []byte) error {
				s.blocks = append(s.blocks, sampled{table, form, entries, bytes.Clone(data)})
				return nil
			}))
		}
		s.panicIf(r.Close())
	}
	for _, dir := range files(view, "/store") {
		var shard uint32
		var generation uint64
		if n, _ := fmt.Sscanf(dir, "/store/layout-0001/shard-%03d/log/%08d/", &shard, &generation); n != 2 || dir[len(dir)-1] != '/' {
			continue
		}
		_, err := wal.Scan(view, dir[:len(dir)-1], wal.ID{Store: s.store(), Layout: 1, Shard: shard}, generation, wal.ScanOptions{}, func(f wal.FrameView) error {
			if f.Start == nil && len(f.Body) > 0 {
				s.bodies = append(s.bodies, bytes.Clone(f.Body))
			}
			return nil
		})
		s.panicIf(err)
	}
}

func (s *full) store() [16]byte {
	return [16]byte(payload(contents(copyOf(s.disk), "/store/layout-0001/shard-000/CURRENT")))
}

// snapshotID is that of a snapshot by its path.
func (s *full) snapshotID(name string) images.ID {
	id := images.ID{Store: s.store(), Layout: 1}
	_, err := fmt.Sscanf(name, "/store/layout-0001/shard-%03d/snapshot/%08d.snap", &id.Shard, &id.Number)
	s.panicIf(err)
	return id
}

// withBlock makes the newest snapshot of shard 0 hold one block, and nothing else.
func (s *full) withBlock(disk *crashfs.FS, b sampled) error {
	names := matching(disk, "/shard-000/snapshot/")
	name := names[len(names)-1]
	id := s.snapshotID(name)
	old, err := images.Open(disk, name, id)
	if err != nil {
		return err
	}
	header, p := bytes.Clone(old.Header()), old.Partitions()[0]
	if err := old.Close(); err != nil {
		return err
	}
	if err := disk.Remove(name); err != nil {
		return err
	}
	w, err := images.Create(disk, name, id, header)
	if err != nil {
		return err
	}
	if err := w.Block(p.Partition, b.table, b.form, b.entries, b.data); err != nil {
		return err
	}
	if err := w.EndPartition(p.Partition, p.Sequence, p.Epoch); err != nil {
		return err
	}
	_, err = w.Finish()
	return err
}

// opens opens what somebody has made up. It may hold anything; it must end, without a
// panic, and without more memory than openBytesMax.
func (s *full) opens(t *testing.T, disk *crashfs.FS) {
	t.Helper()
	bounded(t, func() {
		c := s.on(disk)
		table := newTimed()
		if c.openWith(table) == nil {
			ctx, cancel := patiently()
			defer cancel()
			for _, err := range table.All(ctx) {
				if err != nil {
					break
				}
			}
			_ = useNames(ctx, c.engine, table) // what is kept under names may be nonsense, too
		}
		disk.StopAfter(0)
		must(t, c.abandon())
	})
}

// FuzzOpenBlocks puts any block into a snapshot whose hashes are right: states, times,
// ids, origins, and forms that nobody knows.
func FuzzOpenBlocks(f *testing.F) {
	for _, b := range sample().blocks {
		f.Add(b.table, b.form, b.entries, b.data)
	}
	f.Fuzz(func(t *testing.T, table uint16, form uint8, entries uint32, data []byte) {
		if len(data) > 1<<20 || uint64(entries) > uint64(len(data)) {
			return // the writer refuses it
		}
		disk := copyOf(sample().disk)
		must(t, sample().withBlock(disk, sampled{table, form, entries, data}))
		sample().opens(t, disk)
	})
}

// FuzzOpaque looks at a store with any block and any records in it as who does not have its
// types: by the layouts that it holds.
func FuzzOpaque(f *testing.F) {
	for i, b := range sample().blocks {
		f.Add(b.table, b.form, b.entries, b.data, sample().bodies[i%len(sample().bodies)])
	}
	f.Fuzz(func(t *testing.T, table uint16, form uint8, entries uint32, data, body []byte) {
		if len(data)+len(body) > 1<<20 || uint64(entries) > uint64(len(data)) {
			return // no writer writes such
		}
		disk := copyOf(sample().disk)
		must(t, sample().withBlock(disk, sampled{table, form, entries, data}))
		if len(body)%2 == 0 {
			must(t, forgeLog(disk, noStarts, body))
		}
		bounded(t, func() { lookThrough(sample().on(disk)) })
	})
}

// lookThrough shows all that Verify and Inspect can. What is damaged, they say; they must end.
func lookThrough(r *rig) {
	_, _ = r.verify()
	i, err := engine.Inspect("/store", engine.VerifyOptions{Environment: &seam.Environment{FS: r.disk, Hash: r.hash}})
	if err != nil {
		return
	}
	defer i.Close()
	ctx, cancel := patiently()
	defer cancel()
	for _, table := range i.Tables() {
		_, _ = i.Keys(ctx, table, "", 100)
		for _, err := range i.Log(ctx, table, "") {
			if err != nil {
				break
			}
		}
	}
}

// Goal: what the fuzzer of frames changes is read to the end: as it was written the store
// opens with it.
func TestForgedFramesAreRead(t *testing.T) {
	for i, body := range single().bodies {
		disk := copyOf(single().disk)
		must(t, forgeLog(disk, noStarts, body))
		r := single().on(disk)
		err := r.openWith(newTimed())
		must(t, r.abandon())
		if err != nil {
			t.Errorf("frame %d: %v", i, err)
		}
	}
}

// FuzzOpenFrames puts any records into a log whose frames are right, beginning with those of
// events with ids and origins, timers, clocks and moves of partitions: that of the only
// shard, or of one of two. Of the latter the other one has partitions that nobody has then.
func FuzzOpenFrames(f *testing.F) {
	for _, body := range sample().bodies {
		f.Add(body, false)
	}
	for _, body := range single().bodies {
		f.Add(body, true)
	}
	f.Fuzz(func(t *testing.T, body []byte, only bool) {
		if len(body) > 1<<20 {
			return
		}
		s := sample()
		if only {
			s = single()
		}
		disk := copyOf(s.disk)
		must(t, forgeLog(disk, noStarts, body))
		s.opens(t, disk)
	})
}

// restitched gives the chunks of a backup hashes that are right, as far as they are there.
func restitched(b []byte) []byte {
	const header = 48
	b = bytes.Clone(b)
	seed := uint64(0)
	for at := 0; at+header <= len(b); {
		h := b[at : at+header]
		binary.LittleEndian.PutUint64(h[8:], uint64(at))
		hash := xxh3.HashSeed(h[:header-8], seed)
		binary.LittleEndian.PutUint64(h[header-8:], hash)
		end := at + header + int(binary.LittleEndian.Uint32(h[16:]))
		if end+8 > len(b) {
			break
		}
		seed = xxh3.HashSeed(b[at+header:end], hash)
		binary.LittleEndian.PutUint64(b[end:], seed)
		at = end + 8
	}
	return b
}

// FuzzRestore restores any bytes, as they are and with hashes that are right. A store that
// comes of it is opened.
func FuzzRestore(f *testing.F) {
	whole := sample().backup
	f.Add(whole, false)
	f.Add(whole, true)
	f.Add(whole[:len(whole)/2], true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, stitch bool) {
		if stitch {
			b = restitched(b)
		}
		disk := crashfs.New()
		var err error
		bounded(t, func() { err = restoreTo(sample().rig, disk, b) })
		if err == nil {
			sample().opens(t, disk)
		}
	})
}

// positionBytesMax is how much the largest position takes: it is short when most of its
// sequences are zero. While it grows, slices are copied.
const positionBytesMax = 4 * 8 << 16

// FuzzPosition reads any bytes as a position of a reader of changes, as they are and with a
// hash that is right. What is accepted is written again.
func FuzzPosition(f *testing.F) {
	r := newRig(small(), hashes["full"])
	table := newTimed()
	if err := r.openWith(table); err != nil {
		f.Fatal(err)
	}
	ctx, cancel := patiently()
	defer cancel()
	for i := range 3 {
		at, err := table.States(ctx, func(string, tally) error { return nil })
		if err != nil {
			f.Fatal(err)
		}
		b, err := at.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, i == 0)
		if _, err := table.Do(ctx, fmt.Sprint(i), step{}); err != nil {
			f.Fatal(err)
		}
	}
	if err := r.abandon(); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal && len(b) >= 8 {
			b = bytes.Clone(b)
			binary.LittleEndian.PutUint64(b[len(b)-8:], xxh3.Hash(b[:len(b)-8]))
		}
		var p engine.Position
		var err error
		if taken := allocated(func() { err = p.UnmarshalBinary(b) }); taken > uint64(2*len(b))+positionBytesMax {
			t.Errorf("%d bytes were taken for %d", taken, len(b))
		}
		if err != nil {
			return
		}
		again, err := p.MarshalBinary()
		must(t, err)
		var q engine.Position
		if must(t, q.UnmarshalBinary(again)); !p.Covers(q) || !q.Covers(p) {
			t.Errorf("%x was read, and %x written", b, again)
		}
	})
}

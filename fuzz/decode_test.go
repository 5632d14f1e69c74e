package fuzz

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/wal"
)

// openBytesMax is how much memory an Open of a tiny store may take in all, whatever
// its files say.
const openBytesMax = 64 << 20

// A tiny is a small store for the fuzzers, made once: a shard with two generations,
// the last one open.
var tiny = sync.OnceValue(func() *specimen {
	o := small()
	o.Shards, o.SnapshotBytes = 1, 1<<30
	r := newRig(o, hashes["full"])
	random := rand.New(rand.NewPCG(1, 1))
	for range 2 {
		if err := r.open(); err != nil {
			panic(err)
		}
		if err := r.load(random, 20, engine.Durable); err != nil {
			panic(err)
		}
		if err := r.crash(crashfs.Model{}); err != nil {
			panic(err)
		}
	}
	s := &specimen{rig: r, view: copyOf(r.disk)}
	s.segments = matching(s.view, "/log/")
	return s
})

const tinyCurrent = "/store/layout-0001/shard-000/CURRENT"

// bounded runs an Open and wants it to take a bounded amount of memory.
func bounded(t *testing.T, open func()) {
	t.Helper()
	if taken := allocated(open); taken > openBytesMax {
		t.Errorf("opening it took %d bytes", taken)
	}
}

// allocated is how much memory do takes in all.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// forged opens a store whose files somebody has made up with hashes that are right.
// It may hold anything; it must not panic, hang or take memory without bounds.
func forged(t *testing.T, disk *crashfs.FS) {
	t.Helper()
	bounded(t, func() {
		c := tiny().on(disk)
		if c.open() == nil {
			_, _ = c.read() // it must end
		}
		must(t, c.abandon())
	})
}

// payload is what lies in a sealed file.
func payload(b []byte) []byte { return b[24 : len(b)-8] }

// FuzzOpenManifest replaces the manifest, by bytes as they are, and by a sealed file
// of each version that holds them.
func FuzzOpenManifest(f *testing.F) {
	whole := contents(tiny().view, "/store/MANIFEST")
	f.Add(whole)
	f.Add(payload(whole))
	f.Add(payload(whole)[:40])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := copyOf(tiny().disk)
		replace(disk, "/store/MANIFEST", b)
		bounded(t, func() { judgeTry(t, disk) })
		for version := range uint32(2) {
			disk = copyOf(tiny().disk)
			must(t, fsys.WriteSealed(disk, "/store/MANIFEST", "KFMANIFE", version+1, b))
			forged(t, disk)
		}
	})
}

func judgeTry(t *testing.T, disk *crashfs.FS) {
	t.Helper()
	if _, err := tiny().try(disk, func(*line) int { return 0 }); err != nil {
		t.Error(err)
	}
}

// FuzzOpenCurrent replaces the CURRENT file in the same two ways.
func FuzzOpenCurrent(f *testing.F) {
	whole := contents(tiny().view, tinyCurrent)
	f.Add(whole)
	f.Add(payload(whole))
	f.Add(payload(whole)[:28])
	f.Add(append(payload(whole)[:24:24], 0xff, 0xff, 0xff, 0x0f, 1)) // more generations than there can be
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := copyOf(tiny().disk)
		replace(disk, tinyCurrent, b)
		bounded(t, func() { judgeTry(t, disk) })
		disk = copyOf(tiny().disk)
		must(t, fsys.WriteSealed(disk, tinyCurrent, "KFCURRNT", 1, b))
		forged(t, disk)
	})
}

// FuzzOpenLog replaces the last segment.
func FuzzOpenLog(f *testing.F) {
	last := tiny().segments[len(tiny().segments)-1]
	whole := contents(tiny().view, last)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(append(whole[:len(whole):len(whole)], make([]byte, 100)...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := copyOf(tiny().disk)
		replace(disk, last, b)
		bounded(t, func() { judgeTry(t, disk) })
	})
}

// FuzzOpenRecords puts any records into a log whose frames are right, and any
// sequences into its header.
func FuzzOpenRecords(f *testing.F) {
	starts := slices.Concat(make([]byte, 8), []byte{1, 0, 0, 0, 3, 0, 0, 0}, make([]byte, 8), []byte{7, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 4)) // partition 3 is at 7
	event := []byte("\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	record := append([]byte{0, 0, 3, 0, byte(len(event)), 0, 0, 0, 'k', 'e', 'y'}, event...)
	mark := append([]byte{0xff, 0xff, 0, 0, 8, 0, 0, 0}, make([]byte, 8)...)
	f.Add(starts, record)
	f.Add(noStarts, append(mark, record...))
	f.Add(bytes.Repeat([]byte{0xff}, 16), mark[:9])
	f.Fuzz(func(t *testing.T, starts, body []byte) {
		if len(starts) > wal.PayloadBytesMax || len(body) > 1<<20 {
			return
		}
		disk := copyOf(tiny().disk)
		must(t, forgeLog(disk, starts, body))
		forged(t, disk)
	})
}

// noStarts is the header of a generation that begins with nothing, as version 1 wrote it.
var noStarts = make([]byte, 16)

// forgeLog makes a store whose only generation holds one frame.
func forgeLog(disk *crashfs.FS, starts, body []byte) error {
	return forgeCounted(disk, starts, body, recordsIn(body))
}

// forgeCounted is forgeLog with a frame that says how many records it holds.
func forgeCounted(disk *crashfs.FS, starts, body []byte, records uint32) error {
	current := payload(contents(disk, tinyCurrent))
	id := wal.ID{Store: [16]byte(current), Layout: 1}
	w, err := wal.Create("/store/layout-0001/shard-000/log/00000099", id,
		wal.Start{Generation: 99, Payload: starts}, wal.Options{FS: disk, Device: wal.Direct})
	if err != nil {
		return err
	}
	var frame wal.Frame
	frame.Reset()
	frame.Bytes, frame.Count = append(frame.Bytes, body...), records
	if _, err := w.Append(&frame); err != nil {
		return err
	}
	if _, err := w.Sync(); err != nil {
		return err
	}
	b := binary.LittleEndian.AppendUint32(current[:24:24], 1)
	b = append(binary.LittleEndian.AppendUint64(b, 99), make([]byte, 24+4)...)
	if err := w.Close(); err != nil {
		return err
	}
	return fsys.WriteSealed(disk, tinyCurrent, "KFCURRNT", 1, b)
}

// recordsIn counts the records of a body that the header of a frame counts, as far as they
// are records.
func recordsIn(body []byte) (count uint32) {
	for len(body) >= 8 {
		table, bytes := binary.LittleEndian.Uint16(body), 8+int(binary.LittleEndian.Uint16(body[2:]))+int(binary.LittleEndian.Uint32(body[4:]))
		if bytes > len(body) {
			break
		}
		if table != 0xffff && table != 0xfffb { // neither a time mark nor a clock
			count++
		}
		body = body[bytes:]
	}
	return count
}

// Goal: a frame that lacks records, or has more than were written, is refused, although its
// hashes are right.
func TestAFrameThatHoldsAnotherNumberOfRecordsIsRefused(t *testing.T) {
	event := []byte("\x00\x00\x03\x00\x0a\x00\x00\x00key\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	mark := append([]byte{0xff, 0xff, 0, 0, 8, 0, 0, 0}, make([]byte, 8)...)
	for said := range uint32(5) {
		disk := copyOf(tiny().disk)
		must(t, forgeCounted(disk, noStarts, slices.Concat(mark, event, mark, event), said))
		c := tiny().on(disk)
		err := c.open()
		must(t, c.abandon())
		if want := fmt.Sprintf("there are 2, and its header says %d", said); said == 2 && err != nil || said != 2 && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("said to hold %d: %v", said, err)
		}
	}
}

// A byteDrawer makes its choices from bytes; when they are used up it chooses 0.
type byteDrawer struct{ rest []byte }

func (d *byteDrawer) draw(n int, _ string) int {
	v := 0
	for span := 1; span < n && len(d.rest) > 0; span <<= 8 {
		v = v<<8 | int(d.rest[0])
		d.rest = d.rest[1:]
	}
	return v % n
}

// FuzzModel plays the operations that the bytes stand for.
func FuzzModel(f *testing.F) {
	random := rand.New(rand.NewPCG(2, 2))
	for range 4 {
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d := &byteDrawer{rest: b}
		o := small()
		o.Shards, o.Sync = 1+d.draw(8, "shards"), engine.SyncMode(d.draw(3, "sync"))
		m := &machine{rig: newRig(o, []hash{hashes["full"], hashes["four-bit"], hashes["constant"]}[d.draw(3, "hash")]), t: d}
		defer m.abandon()
		if err := m.open(); err != nil {
			t.Fatal(err)
		}
		for len(d.rest) > 0 {
			if err := m.act(); err != nil {
				t.Fatal(err)
			}
		}
		must(t, m.attempt("restart", (*machine).restart))
	})
}

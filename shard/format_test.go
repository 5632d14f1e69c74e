package shard

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/wal"
)

var update = flag.Bool("update", false, "write the golden dump anew")

// A dump writes bytes field by field.
type dump struct {
	strings.Builder
	rest []byte
	at   int
}

func (d *dump) section(title string, b []byte) {
	fmt.Fprintf(d, "# %s\n", title)
	d.rest, d.at = b, 0
}

// field writes the next n bytes with a name; numbers are read as order has them.
func (d *dump) field(name string, n int, order binary.ByteOrder) {
	b := d.rest[:n]
	value := any(string(b))
	switch {
	case order == nil:
	case n == 1:
		value = b[0]
	case n == 2:
		value = order.Uint16(b)
	case n == 4:
		value = order.Uint32(b)
	case n == 8:
		value = order.Uint64(b)
	}
	fmt.Fprintf(d, "%04d  %-24x  %-8s  %v\n", d.at, b, name, value)
	d.rest, d.at = d.rest[n:], d.at+n
}

func (d *dump) fields(n int, order binary.ByteOrder, names ...string) {
	for _, name := range names {
		d.field(name, n, order)
	}
}

// times writes the records that timers need.
func (d *dump) times(t *testing.T) {
	little := binary.LittleEndian
	d.section("a clock with which times of table 3 begin, then the timer of a key of it, stamp 3",
		appendFiring(appendClock(nil, Clock{Paused: 5, Opened: 1_000_000}, []uint16{3}), 3, &Firing{Key: []byte("key"), What: FiringTimer}))
	d.fields(2, little, "table", "key")
	d.fields(4, little, "event")
	d.fields(8, little, "paused", "opened")
	d.field("begun", 2, little)
	d.fields(2, little, "table", "key")
	d.fields(4, little, "event")
	d.field("key", 3, nil)
	d.field("what", 1, little)
	d.end(t)
}

// generation writes the header of a generation.
func (d *dump) generation(t *testing.T) {
	little := binary.LittleEndian
	parts := []*Partition{{ID: 1, Sequence: 5}, {ID: 2}, {ID: 3, Epoch: 2, Sequence: 9}}
	eras := []era{{2, schemas{7}}, {eraOpen, schemas{8, 0}}}
	d.section("payload of a generation's header: behind 2 frames that are copied, partition 1 at 5, 2 empty, 3 at epoch 2 and 9; 4 is gone at epoch 1; two eras",
		startsOf(2, parts, nil, map[uint32]uint64{4: 1}, eras).after(5).encode())
	d.fields(4, little, "copied")
	d.fields(2, little, "copied", "format")
	d.fields(4, little, "count")
	for range 2 {
		d.field("number", 4, little)
		d.fields(8, little, "epoch", "sequence")
	}
	d.fields(4, little, "count", "number")
	d.field("epoch", 8, little)
	d.field("count", 4, little)
	for _, e := range eras {
		d.field("last", 8, little)
		d.field("count", 4, little)
		for range e.schemas {
			d.field("number", 4, little)
		}
	}
	d.field("paused", 8, little)
	d.end(t)
}

// end ends a section, which must be used up.
func (d *dump) end(t *testing.T) {
	if len(d.rest) > 0 {
		t.Fatalf("%d bytes are left: %x", len(d.rest), d.rest)
	}
	d.WriteByte('\n')
}

// Goal: what is on disk does not change by accident. Method: one of each thing that
// this package writes, field by field, against a dump that is kept.
func TestFormatsAreThoseOfTheGoldenDump(t *testing.T) {
	little := binary.LittleEndian
	d := &dump{}
	d.section("records of a frame: an event of table 3, then a time mark", appendTimeMark(appendRecord(nil, 3, []byte("key"), []byte("event")), 1_000_000))
	d.fields(2, little, "table", "key")
	d.fields(4, little, "event")
	d.field("key", 3, nil)
	d.field("event", 5, nil)
	d.fields(2, little, "table", "key")
	d.fields(4, little, "event")
	d.fields(8, little, "time")
	d.end(t)

	d.section("an event of table 3 with an id, stamp 1", appendRecord(nil, StampID.On(3), []byte("key"), []byte("0123456789abcdefevent")))
	d.fields(2, little, "table", "key")
	d.fields(4, little, "event")
	d.field("key", 3, nil)
	d.field("id", 16, nil)
	d.field("event", 5, nil)
	d.end(t)

	d.times(t)

	at := holding{epoch: 2, sequence: 9}
	adoption := appendHolding(nil, beginTable, 6, at)
	adoption = appendPart(adoption, 6, 3, 1, 4, []byte("block"))
	adoption = appendHolding(adoption, commitTable, 6, at)
	d.section("an adoption of partition 6 at epoch 2, sequence 9: begin, a part of table 3 in form 1 with 4 entries, commit", adoption)
	for _, holds := range []bool{true, false, true} {
		d.fields(2, little, "table", "key")
		d.fields(4, little, "event", "number")
		if holds {
			d.fields(8, little, "epoch", "sequence")
			continue
		}
		d.fields(2, little, "table", "form")
		d.fields(4, little, "entries")
		d.field("data", 5, nil)
	}
	d.end(t)

	d.generation(t)

	current := Current{
		ID:          wal.ID{Store: [16]byte{0xab, 15: 0xcd}, Layout: 2, Shard: 3},
		Generations: []Generation{{Number: 4, Sealed: true, End: wal.End{Generation: 4, Frame: 7, Chain: 9}, Bytes: 512, Ended: 1000}, {Number: 6}},
		Snapshots:   []uint64{4},
		Kept:        []Generation{{Number: 3, Sealed: true, End: wal.End{Generation: 3, Frame: 5, Chain: 8}, Bytes: 256, Ended: 900}},
	}
	d.section("payload of CURRENT: generation 4 sealed at frame 7 with chain 9, generation 6, snapshot 4, generation 3 kept", current.encode())
	fmt.Fprintf(d, "%04d  %x  store\n", d.at, d.rest[:16])
	d.rest, d.at = d.rest[16:], 16
	d.fields(4, little, "layout", "shard", "count")
	for range 2 {
		d.fields(8, little, "number", "sealed", "frame", "chain", "bytes", "ended")
	}
	d.fields(4, little, "count")
	d.fields(8, little, "number")
	d.fields(4, little, "count")
	d.fields(8, little, "number", "sealed", "frame", "chain", "bytes", "ended")
	d.end(t)
	compareGolden(t, filepath.Join("testdata", "golden", "formats.txt"), d.String())
}

func compareGolden(t *testing.T, path, have string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(have), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if have != string(want) {
		t.Fatalf("the format has changed; it needs a new version number and a reader of the old one.\n%s", have)
	}
}

func TestBlockGivesBackWhatWasPutIn(t *testing.T) {
	key, event := []byte("a key"), []byte("an event")
	block := make([]byte, BlockHeaderBytes)
	to := Address{slot: 8, use: 9}
	PutBlockHeader(block, to, 2, Written)
	for i, kind := range []Kind{KindEvent, KindRead} {
		at := len(block)
		payload := event[:len(event)*(1-i)]
		known, room := AppendOp(block, uint64(77+i), 5, kind, key, len(payload))
		copy(room, payload)
		var eventBytes int
		block, eventBytes = EndOp(append(BeginOp(block, uint64(77+i), 5, kind, key), payload...), at)
		if eventBytes != len(payload) || string(known) != string(block) {
			t.Fatalf("%d bytes of event, and\n%x, but with a known size\n%x", eventBytes, block, known)
		}
		if n := OpBytes(len(key), len(event)*(1-i)); len(block)-at != n || n%8 != 0 {
			t.Fatalf("%d bytes, and OpBytes says %d", len(block)-at, n)
		}
	}
	c := newCursor(block)
	if c.to != to || c.ack != Written || c.count != 2 {
		t.Fatalf("%+v", c)
	}
	var op Operation
	rest := c.rest
	for i, kind := range []Kind{KindEvent, KindRead} {
		rest = rest[op.read(rest):]
		if op.Kind != kind || op.Hash != uint64(77+i) || op.Table != 5 ||
			string(op.Key()) != string(key) || string(op.Event()) != string(event[:len(event)*(1-i)]) {
			t.Fatalf("%+v", op)
		}
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes are left", len(rest))
	}
	i := 0
	EachOp(block, func(hash uint64, op []byte) {
		k, e := OpParts(op)
		if hash != uint64(77+i) || string(k) != string(key) || string(e) != string(event[:len(event)*(1-i)]) {
			t.Fatalf("%d: %q %q", hash, k, e)
		}
		i++
	})
	if i != 2 {
		t.Fatalf("%d operations", i)
	}
}

// Goal: an operation of a known form is the one that AppendOp makes. Method: keys and
// events of all small sizes, put into memory that is not zero.
func TestOpFormMakesTheSameOperation(t *testing.T) {
	bytes := []byte("0123456789abcdefghijklmnopqrstuvwxyz")
	for key := range 20 {
		for event := range 20 {
			want, room := AppendOp(nil, 77, 5, KindEvent, bytes[:key], event)
			copy(room, bytes[10:])
			form := NewOpForm(5, key, event)
			have := []byte(strings.Repeat("?", form.Bytes()))
			form.Put(have, 77, bytes[:key], bytes[10:10+event])
			if string(have) != string(want) {
				t.Fatalf("a key of %d and an event of %d bytes:\n%x, want\n%x", key, event, have, want)
			}
		}
	}
}

// appendRecord appends the record of an event, as an operation of a block holds it.
func appendRecord(dst []byte, table uint16, key, event []byte) []byte {
	block, room := AppendOp(make([]byte, BlockHeaderBytes), 0, table, KindEvent, key, len(event))
	copy(room, event)
	c := newCursor(block)
	var op Operation
	op.read(c.rest)
	return append(dst, op.Record...)
}

package shard

import (
	"errors"
	"testing"
)

// Goal: a stamp goes with its event, and the table does not see it. Method: each stamp on
// the way of an operation and on that of a record.
func TestTableDoesNotSeeTheStamp(t *testing.T) {
	const stamp, payload = "0123456789abcdef", "payload"
	for s := StampNone; s <= StampTimer; s++ {
		front := stamp[:s.bytes()]
		var op Operation
		block, room := AppendOp(make([]byte, BlockHeaderBytes), 77, s.On(TablesMax-1), KindEvent, []byte("key"), len(front+payload))
		copy(room, front+payload)
		op.read(block[BlockHeaderBytes:])
		if op.Table != TablesMax-1 || op.Stamp != s || string(op.Stamped()) != front || string(op.Event()) != payload ||
			string(op.KeyAndStamp()) != "key"+front {
			t.Fatalf("stamp %d: %+v", s, op)
		}
		if _, event := OpParts(block[BlockHeaderBytes:]); string(event) != payload {
			t.Fatalf("stamp %d: %q is handed back", s, event)
		}
		var rec record
		rest, err := takeRecord(op.Record, &rec)
		if err != nil || len(rest) != 0 || rec.table != TablesMax-1 || rec.stamp != s || string(rec.event()) != front+payload {
			t.Fatalf("stamp %d: %+v, %v", s, rec, err)
		}
	}
}

func TestRecordWithAnUnknownStampIsDamage(t *testing.T) {
	var rec record
	for table := range uint16(controlTables >> stampShift) {
		long := appendRecord(nil, table<<stampShift, []byte("key"), make([]byte, StampBytes))
		if _, err := takeRecord(long, &rec); errors.Is(err, errRecord) != (Stamp(table) > StampTimer) {
			t.Errorf("stamp %d: %v", table, err)
		}
		short := appendRecord(nil, table<<stampShift, []byte("key"), make([]byte, StampBytes-1))
		want := Stamp(table) == StampID || Stamp(table) == StampOrigin || Stamp(table) > StampTimer
		if _, err := takeRecord(short, &rec); errors.Is(err, errRecord) != want {
			t.Errorf("stamp %d with 15 bytes: %v", table, err)
		}
	}
}

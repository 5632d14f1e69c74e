package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Sizes and marks of a record, in bytes. The layout is in the package comment.
const (
	recordHeaderBytes = 8
	timeMarkBytes     = recordHeaderBytes + 8
	timeMarkTable     = 0xffff
	clockTable        = 0xfffb
	clockBytes        = recordHeaderBytes + 16 // without tables
	controlTables     = 0xfff0                 // from here on a record is no event
	// TablesMax is how many tables a store can have.
	TablesMax = 1 << 12
)

// appendTimeMark appends a change of the time.
func appendTimeMark(dst []byte, now int64) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, timeMarkTable|8<<32)
	return binary.LittleEndian.AppendUint64(dst, uint64(now))
}

// A record is an event as the log holds it, a time mark, or of an adoption.
type record struct {
	table  uint16
	stamp  Stamp
	keyEnd int32
	bytes  []byte // header, key, event; borrowed
}

func (r *record) key() []byte { return r.bytes[recordHeaderBytes:r.keyEnd] }

func (r *record) event() []byte { return r.bytes[r.keyEnd:] }

// time is what a time mark says.
func (r *record) time() int64 { return int64(binary.LittleEndian.Uint64(r.bytes[recordHeaderBytes:])) }

// errRecord says that a frame whose hash is right does not hold records.
var errRecord = errors.New("records do not fill the frame")

// takeRecord reads the record at the start of body and returns what is behind it.
func takeRecord(body []byte, r *record) ([]byte, error) {
	if len(body) < recordHeaderBytes {
		return nil, errRecord
	}
	head := binary.LittleEndian.Uint64(body)
	keyEnd := recordHeaderBytes + int(head>>16&0xffff)
	end := keyEnd + int(head>>32)
	if end > len(body) {
		return nil, fmt.Errorf("%w: a record of %d bytes with %d left", errRecord, end, len(body))
	}
	r.table, r.stamp, r.keyEnd, r.bytes = uint16(head), StampNone, int32(keyEnd), body[:end]
	switch {
	case r.table < controlTables:
		r.table, r.stamp = r.table&tableMask, Stamp(r.table>>stampShift)
		if r.stamp > StampTimer || end-keyEnd < r.stamp.bytes() {
			return nil, fmt.Errorf("%w: an event of %d bytes with stamp %d", errRecord, end-keyEnd, r.stamp)
		}
	case r.table == timeMarkTable && end != timeMarkBytes:
		return nil, fmt.Errorf("%w: a time mark of %d bytes", errRecord, end)
	case r.table == clockTable && (keyEnd != recordHeaderBytes || end < clockBytes || (end-clockBytes)%2 != 0):
		return nil, fmt.Errorf("%w: a clock of %d bytes", errRecord, end)
	}
	return body[end:], nil
}

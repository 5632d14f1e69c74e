package shard

// A Stamp says what stands in front of the payload of an event. The layout is in the
// package comment.
type Stamp uint8

// The stamps.
const (
	StampNone   Stamp = iota
	StampID           // the id that the caller has given the event
	StampOrigin       // the stream that the event came in, and its sequence there
	StampTimer        // made by the shard, when a timer of the key was due
)

// StampBytes is the size of an id, and of an origin with its sequence.
const StampBytes = 16

// Where the table field of an operation and of a record holds the stamp.
const (
	tableMask  = TablesMax - 1
	stampShift = 12
	stampMask  = 7
)

// On is the table field of events of a table that bear the stamp.
func (s Stamp) On(table uint16) uint16 { return table | uint16(s)<<stampShift }

// kind is what the operation of a record with the stamp does.
func (s Stamp) kind() Kind {
	if s == StampTimer {
		return KindFiring
	}
	return KindEvent
}

// bytes is how many bytes the stamp takes in front of the payload.
func (s Stamp) bytes() int {
	if s == StampID || s == StampOrigin {
		return StampBytes
	}
	return 0
}

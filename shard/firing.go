package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Never is when something is due that is not.
const Never = math.MaxInt64

// A TimedTable is a Table that may have timers or deadlines.
type TimedTable interface {
	Table
	// Timed says whether it has. Its stores are then [Timed].
	Timed() bool
}

// A Timed store keeps when something is due of its keys. All times are nanoseconds of
// Unix time, as they are logged.
type Timed interface {
	Store
	// Due is when the first of its keys is due, or earlier. Never: none ever is.
	Due() int64
	// Next looks at that key. If it is due when Due says so, it is ok, and f says what of
	// it, borrowed until the store is changed. Else Due is later from here on. It must not
	// be called if none is ever due.
	Next() (f Firing, ok bool)
	// Begin begins the times of keys that have none, when the store is opened. It says
	// whether there are any. It is called again in a replay, with what the log says.
	Begin(c Clock) (begun bool)
}

// A Firing is what is due of a key. The shard makes an operation of it, which is logged:
// a replay carries out what the log says, and looks at no clock.
type Firing struct {
	Key  []byte
	What FiringKind
}

// A FiringKind says what is due. It is the event of a record with the stamp 3, one byte.
type FiringKind uint8

// The kinds of firings.
const (
	FiringTimer  FiringKind = 0 // the key's timer
	FiringExpiry FiringKind = 1 // the key itself
	// FiringLapsed is added when the table's function did not return, or could not be called:
	// the firing is over, and the function is left out.
	FiringLapsed FiringKind = 0x80
)

// ErrFiring says that the log holds a firing that cannot be carried out.
var ErrFiring = errors.New("keyfold: the log holds a firing that does not fit")

// FiringOf returns what the operation says is due.
func FiringOf(op *Operation) (what FiringKind, lapsed bool, err error) {
	event := op.Event()
	if len(event) != 1 || FiringKind(event[0])&^FiringLapsed > FiringExpiry {
		return 0, false, fmt.Errorf("%w: its event is %x", ErrFiring, event)
	}
	what = FiringKind(event[0])
	return what &^ FiringLapsed, what&FiringLapsed != 0, nil
}

// appendFiring appends the record of a firing.
func appendFiring(dst []byte, table uint16, f *Firing) []byte {
	word := uint64(StampTimer.On(table)) | uint64(len(f.Key))<<16 | 1<<32
	dst = append(binary.LittleEndian.AppendUint64(dst, word), f.Key...)
	return append(dst, byte(f.What))
}

// A Clock is what a shard knows of time when it begins to run.
type Clock struct {
	// Opened is when the store was opened, in nanoseconds of Unix time.
	Opened int64
	// Paused is how long it was down, in all, as far as tables count that.
	Paused int64
}

// appendClock appends the record of it, with the tables whose times have begun with it.
func appendClock(dst []byte, c Clock, begun []uint16) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, clockTable|uint64(clockBytes-recordHeaderBytes+2*len(begun))<<32)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.Paused))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.Opened))
	for _, table := range begun {
		dst = binary.LittleEndian.AppendUint16(dst, table)
	}
	return dst
}

// clock is what a record of one says.
func (r *record) clock() (c Clock, begun []uint16) {
	b := r.event()
	c = Clock{Paused: int64(binary.LittleEndian.Uint64(b)), Opened: int64(binary.LittleEndian.Uint64(b[8:]))}
	for b = b[16:]; len(b) > 0; b = b[2:] {
		begun = append(begun, binary.LittleEndian.Uint16(b))
	}
	return c, begun
}

// beginTimes begins the times of a table's keys that have none.
func (p *Partition) beginTimes(table uint16, c Clock) (begun bool) {
	if int(table) >= len(p.Stores) {
		return false
	}
	t, ok := p.Stores[table].(Timed)
	return ok && t.Begin(c)
}

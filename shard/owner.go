package shard

import (
	"bytes"
	"runtime"
	"sync/atomic"
	"unsafe"
)

// owner knows which goroutine runs the shard, so that a call into the engine from a
// function of a table can be refused instead of waiting for itself for ever.
//
// Asking the runtime for the goroutine costs most of a microsecond, too much for
// every call. So the shard leaves the address of a variable of its stack, and only a
// caller whose own stack is just below it is asked. The shard keeps its stack larger
// than that (see deep), so that nobody else's lies there. A table function that needs
// more stack than nearBytes makes the runtime move it, and may then go unnoticed.
type owner struct {
	near atomic.Uintptr // an address in the shard's stack; enter's store publishes to Inside
	id   atomic.Pointer[[]byte]
}

const (
	// nearBytes is how far below the shard's own frames a call is looked for.
	nearBytes = 88 << 10
	// deepBytes is a frame so large that two of them make the stack 256 KiB, of which
	// nearBytes are left; and more than a quarter of it, so that the collector does
	// not shrink it.
	deepBytes = 80 << 10
	// aboveBytes is how far a table function's frame may lie above that of enter.
	aboveBytes = 1 << 10
)

// become records the calling goroutine.
func (o *owner) become() {
	id := goroutine()
	o.id.Store(&id)
}

// enter records where the stack is. It is called for each run, and stores only if
// the stack has moved.
func (o *owner) enter() {
	var here byte
	if at := uintptr(unsafe.Pointer(&here)) + aboveBytes; o.near.Load() != at {
		o.near.Store(at)
	}
}

// deep calls f below a frame of deepBytes.
//
//go:noinline
func deep(f func()) byte {
	var room [deepBytes]byte
	f()
	return room[uintptr(unsafe.Pointer(&room))%deepBytes]
}

// Inside says whether the caller is a function of a table that this shard runs.
func (s *Shard) Inside() bool {
	var here byte
	if below := s.owner.near.Load() - uintptr(unsafe.Pointer(&here)); below > nearBytes {
		return false
	}
	id := s.owner.id.Load()
	return id != nil && bytes.Equal(*id, goroutine())
}

// goroutine is the runtime's name for the calling goroutine, the first line of its
// trace up to its number.
func goroutine() []byte {
	line := make([]byte, 32)
	line = line[:runtime.Stack(line, false)]
	if end := bytes.IndexByte(line, '['); end > 0 {
		line = line[:end]
	}
	return line
}

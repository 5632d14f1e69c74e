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
// caller whose own stack is near it is asked. A stack that the runtime has moved in
// mid-run makes the answer no.
type owner struct {
	near atomic.Uintptr // an address in the shard's stack; enter's store publishes to inside
	id   atomic.Pointer[[]byte]
}

// nearBytes is how far below the shard's own frames a table function may be.
const nearBytes = 1 << 20

// become records the calling goroutine.
func (o *owner) become() {
	id := goroutine()
	o.id.Store(&id)
}

// enter records where the stack is. It is called for each run, and stores only if
// the stack has moved.
func (o *owner) enter() {
	var here byte
	if at := uintptr(unsafe.Pointer(&here)); o.near.Load() != at {
		o.near.Store(at)
	}
}

// Inside says whether the caller is a function of a table that this shard runs.
func (s *Shard) Inside() bool {
	var here byte
	distance := s.owner.near.Load() - uintptr(unsafe.Pointer(&here))
	if distance > nearBytes && -distance > nearBytes {
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

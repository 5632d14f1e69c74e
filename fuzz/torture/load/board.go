package load

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Mark is how far a partition is: counts of events since the store was made. The
// child stores before and after each call, the parent loads at any moment, also when
// the child is gone: the memory is that of a file.
type Mark struct {
	Submitted atomic.Uint64 // may be in the store
	Written   atomic.Uint64 // must survive the process
	Durable   atomic.Uint64 // must survive the machine
	Failed    atomic.Uint64 // 1: the sender has stopped because of an error
	Read      atomic.Uint64 // was handed to a reader of changes: must survive the machine, too
}

// The states of a child.
const (
	Opening uint64 = iota
	Ready          // it has written down what the store holds
	Sent           // and has sent all that it was ordered to send
)

// A Board is memory that a child shares with its parent.
type Board struct {
	State      atomic.Uint64 // the child's store publishes what it has written to the parent's load
	Refused    atomic.Uint64 // events that were not done
	Resent     atomic.Uint64 // events of the child before that were sent again, and not done again
	Partitions [Partitions]Mark
}

// boardBytes is the size of the file of a board.
const boardBytes = int(unsafe.Sizeof(Board{}))

// A SharedBoard is a mapping of a board. It must be closed.
type SharedBoard struct {
	*Board
	memory []byte
}

// OpenBoard maps the board in a file, which is made if it is not there.
func OpenBoard(name string) (SharedBoard, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return SharedBoard{}, fmt.Errorf("load: board: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(int64(boardBytes)); err != nil {
		return SharedBoard{}, fmt.Errorf("load: board: %w", err)
	}
	memory, err := unix.Mmap(int(f.Fd()), 0, boardBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return SharedBoard{}, fmt.Errorf("load: board: %w", err)
	}
	return SharedBoard{(*Board)(unsafe.Pointer(&memory[0])), memory}, nil
}

// Close unmaps the board, which must not be used any more.
func (b *SharedBoard) Close() error {
	if b.memory == nil {
		return errors.New("load: the board is closed")
	}
	memory := b.memory
	b.Board, b.memory = nil, nil
	return unix.Munmap(memory)
}

package fsys

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/aio_abi.h and fs/aio.c.
const (
	aioDataSync   = 3 // IOCB_CMD_FDSYNC
	aioEvent      = 1 // IOCB_FLAG_RESFD
	aioRingMagic  = 0xa10a10a1
	aioEventBytes = 32
)

// aioRequest is struct iocb.
type aioRequest struct {
	_       [2]uint64 // data, key, flags of the request
	op      uint16
	_       int16 // priority
	fd      uint32
	_       [4]uint64 // buffer, bytes, offset, reserved
	flags   uint32
	eventFD uint32
}

// aioResult is struct io_event.
type aioResult struct {
	data, request uint64
	res, res2     int64
}

// aioRing is the head of struct aio_ring, which the kernel maps into the process. The
// results lie behind it.
type aioRing struct {
	id, entries                           uint32
	head, tail                            atomic.Uint32 // the kernel's store of tail publishes to done's load
	magic, compatible, incompatible, size uint32
}

// An aio is a context of Linux AIO.
type aio struct {
	context *aioRing // its address is the name of the context
	request aioRequest
	list    [1]*aioRequest
}

func openAIO() (*queue, error) {
	event, fd, err := newEvent()
	if err != nil {
		return nil, err
	}
	a := &aio{request: aioRequest{op: aioDataSync, flags: aioEvent, eventFD: uint32(fd)}}
	a.list[0] = &a.request
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&a.context)), 0); errno != 0 {
		return nil, errors.Join(errno, event.Close())
	}
	if a.context.magic != aioRingMagic || a.context.incompatible != 0 || a.context.entries == 0 {
		return nil, errors.Join(errors.ErrUnsupported, a.close(), event.Close())
	}
	return &queue{kernelQueue: a, event: event}, nil
}

func (a *aio) submit(fd int) error {
	a.request.fd = uint32(fd)
	n, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, a.name(), 1, uintptr(unsafe.Pointer(&a.list)))
	if errno != 0 {
		return errno
	}
	if n != 1 {
		return os.ErrInvalid
	}
	return nil
}

func (a *aio) name() uintptr { return uintptr(unsafe.Pointer(a.context)) }

func (a *aio) done() bool { return a.context.tail.Load() != a.context.head.Load() }

func (a *aio) result() error {
	head := a.context.head.Load()
	off := uintptr(a.context.size) + uintptr(head)*aioEventBytes
	res := (*aioResult)(unsafe.Add(unsafe.Pointer(a.context), off)).res
	a.context.head.Store((head + 1) % a.context.entries)
	return kernelResult(res)
}

func (a *aio) close() error {
	if _, _, errno := unix.Syscall(unix.SYS_IO_DESTROY, a.name(), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

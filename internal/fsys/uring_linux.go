package fsys

import (
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// From linux/io_uring.h.
const (
	uringSingleMap       = 1 << 0 // feature
	uringOpFsync         = 3
	uringFsyncDataOnly   = 1
	uringOffSubmissions  = 0x10000000
	uringRegisterEventfd = 4
	uringSubmissionBytes = 64
	uringCompletionBytes = 16
	uringCompletionRes   = 8 // offset of the result in a completion
)

// uringParams is struct io_uring_params.
type uringParams struct {
	submissionEntries, completionEntries, flags, cpu, idle, features, worker uint32
	_                                                                        [3]uint32
	submission                                                               struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	completion struct {
		head, tail, mask, entries, overflow, entry, flags, _ uint32
		_                                                    uint64
	}
}

// uringSubmission is struct io_uring_sqe.
type uringSubmission struct {
	op, flags  uint8
	priority   uint16
	fd         int32
	off, addr  uint64
	length     uint32
	fsyncFlags uint32
	_          [4]uint64
}

// A uring is an io_uring of one entry. The kernel runs the sync on a thread of its
// own, which need not run on the CPU of the one that asks.
type uring struct {
	fd          int
	params      uringParams
	shared      []byte // heads, tails and completions
	submissions []byte
}

func openURing() (*queue, error) {
	u := &uring{}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&u.params)), 0)
	if errno != 0 {
		return nil, errno
	}
	u.fd = int(fd)
	q, err := u.open()
	if err != nil {
		return nil, errors.Join(err, u.close())
	}
	return q, nil
}

func (u *uring) open() (q *queue, err error) {
	unix.CloseOnExec(u.fd)
	p := &u.params
	if p.features&uringSingleMap == 0 {
		return nil, errors.ErrUnsupported // before Linux 5.4
	}
	bytes := max(p.submission.array+4*p.submissionEntries, p.completion.entry+uringCompletionBytes*p.completionEntries)
	if u.shared, err = mapShared(u.fd, 0, int(bytes)); err != nil {
		return nil, err
	}
	if u.submissions, err = mapShared(u.fd, uringOffSubmissions, int(p.submissionEntries)*uringSubmissionBytes); err != nil {
		return nil, err
	}
	event, eventFD, err := newEvent()
	if err != nil {
		return nil, err
	}
	register := int32(eventFD)
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(u.fd), uringRegisterEventfd, uintptr(unsafe.Pointer(&register)), 1, 0, 0)
	if errno != 0 {
		return nil, errors.Join(errno, event.Close())
	}
	return &queue{kernelQueue: u, event: event}, nil
}

func mapShared(fd int, off int64, bytes int) ([]byte, error) {
	return unix.Mmap(fd, off, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
}

// word is a number that the kernel stores to or loads from.
func (u *uring) word(off uint32) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&u.shared[off]))
}

func (u *uring) submit(fd int) error {
	*(*uringSubmission)(unsafe.Pointer(&u.submissions[0])) = uringSubmission{
		op: uringOpFsync, fd: int32(fd), fsyncFlags: uringFsyncDataOnly,
	}
	// There is one entry, so that every index is 0 under its mask. The store publishes
	// it to the kernel.
	tail := u.word(u.params.submission.tail)
	tail.Store(tail.Load() + 1)
	n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(u.fd), 1, 0, 0, 0, 0)
	if errno == 0 && n == 1 {
		return nil
	}
	tail.Store(tail.Load() - 1) // the kernel has not taken it
	if errno == 0 {
		return os.ErrInvalid
	}
	return errno
}

// done loads the tail of the completions, which the kernel's store publishes.
func (u *uring) done() bool {
	completion := &u.params.completion
	return u.word(completion.tail).Load() != u.word(completion.head).Load()
}

func (u *uring) result() error {
	completion := &u.params.completion
	head := u.word(completion.head)
	index := head.Load() & u.word(completion.mask).Load()
	res := int32(u.word(completion.entry + index*uringCompletionBytes + uringCompletionRes).Load())
	head.Store(head.Load() + 1)
	return kernelResult(int64(res))
}

// kernelResult makes an error of what the kernel calls a result.
func kernelResult(res int64) error {
	if res < 0 {
		return unix.Errno(-res)
	}
	return nil
}

func (u *uring) close() error {
	var errs []error
	for _, m := range [][]byte{u.shared, u.submissions} {
		if m != nil {
			errs = append(errs, unix.Munmap(m))
		}
	}
	return errors.Join(append(errs, unix.Close(u.fd))...)
}

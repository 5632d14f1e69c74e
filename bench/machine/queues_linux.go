package machine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// queues says which interfaces of the kernel take a sync without keeping the thread.
// Containers often refuse them.
func queues() []Sign {
	return []Sign{
		allowance("AIO", setUpAIO(), "syncs keep a thread each, and hold their share of GOMAXPROCS for a while"),
		allowance("io_uring", setUpURing(), ""),
	}
}

// allowance is the sign of something that the kernel allows or refuses.
func allowance(name string, errno unix.Errno, advice string) Sign {
	if errno == 0 {
		return Sign{Name: name, Text: "allowed"}
	}
	return Sign{Name: name, Text: "refused: " + errno.Error(), Advice: advice}
}

func setUpAIO() unix.Errno {
	var id uintptr
	_, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&id)), 0)
	if errno == 0 {
		_, _, errno = unix.Syscall(unix.SYS_IO_DESTROY, id, 0, 0)
	}
	return errno
}

// uringParamsBytes is the size of struct io_uring_params.
const uringParamsBytes = 120

func setUpURing() unix.Errno {
	var params [uringParamsBytes / 8]uint64
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno == 0 {
		_ = unix.Close(int(fd))
	}
	return errno
}

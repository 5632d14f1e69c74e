package fsys

// A SyncWay says how File.Sync waits for the disk. All ways promise the same; they
// differ in what the goroutine that waits takes from the others.
type SyncWay uint8

// The ways of syncing.
const (
	// Blocking is a system call that returns when the disk is done: fdatasync on
	// Linux. Meanwhile it keeps its thread, and for the first tens of microseconds
	// also its share of GOMAXPROCS.
	Blocking SyncWay = iota
	// AIO hands the sync to the kernel by io_submit and parks the goroutine until an
	// eventfd says that it is done. The kernel does the work on the CPU that asked, so
	// that a thread which goes on running there holds it up.
	AIO
	// URing does the same by io_uring, whose threads run on any CPU.
	URing
)

// String is the name of the system call, or of the interface.
func (w SyncWay) String() string {
	switch w {
	case AIO:
		return "aio"
	case URing:
		return "io_uring"
	}
	return blockingName
}

// SyncWays lists the ways that work in this process, the best first. Blocking is
// always the last one. The answer is found out once, by a sync of a file in memory:
// kernels and containers may refuse the others.
func SyncWays() []SyncWay { return append(probed(), Blocking) }

// SyncWayOf is the way that the files of fs sync. It is Blocking for a file system
// that is not that of the operating system.
func SyncWayOf(fs FS) SyncWay {
	if o, ok := fs.(osFS); ok && o.queues != nil {
		return o.queues.way
	}
	return Blocking
}

// OSBy is [OS] with a way of syncing of the caller's choice. If that does not work
// here it syncs as Blocking does.
func OSBy(way SyncWay) FS {
	for _, w := range probed() {
		if w == way {
			return osFS{queues: queuesOf(way)}
		}
	}
	return osFS{}
}

// QueuedOS is [OS], but hands syncs to the kernel's queues by the first of [SyncWays],
// if one works here that does not block.
func QueuedOS() FS { return OSBy(SyncWays()[0]) }

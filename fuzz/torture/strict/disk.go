// Package strict serves a file system that keeps nothing that was not synced, through the
// kernel, by FUSE: programs and libraries that call the operating system themselves get to
// it as well. What they do is written down, so that the power can be cut behind each of
// their operations, afterwards.
//
// The rules are those of internal/crashfs, which it serves: bytes are durable when their
// file was synced, entries when their directory was.
package strict

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// A Disk is a file system that is served. It is safe for concurrent use; operations go
// one after the other.
type Disk struct {
	mountpoint string
	server     *fuse.Server

	mu     sync.Mutex // guards what is below
	fs     *crashfs.FS
	before func(n int)
	trace  []change
}

// Serve serves a file system at a directory. before, if it is not nil, is called before
// each operation that changes something, with the number of those before it; the
// operation waits for it.
func Serve(from *crashfs.FS, mountpoint string, before func(n int)) (*Disk, error) {
	d := &Disk{mountpoint: mountpoint, fs: from, before: before}
	nothing := time.Duration(0)
	server, err := fs.Mount(mountpoint, &node{disk: d}, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "strict", Name: "strict", MaxWrite: 1 << 20},
		AttrTimeout:  &nothing, EntryTimeout: &nothing, NegativeTimeout: &nothing,
	})
	if err != nil {
		return nil, fmt.Errorf("strict: %w", err)
	}
	d.server = server
	return d, nil
}

// unmountPatience is how long an unmount waits for those who use the file system.
const unmountPatience = 20 * time.Second

// Unmount ends the serving, when nobody uses the file system any more.
func (d *Disk) Unmount() error {
	began := time.Now()
	for {
		err := syscall.Unmount(d.mountpoint, 0)
		if err == nil {
			d.server.Wait()
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Since(began) > unmountPatience {
			return fmt.Errorf("strict: unmount: %w", err)
		}
		<-time.After(time.Millisecond) // a process that was killed gives up its files a moment later
	}
}

// Missing says what is missing on this machine to serve a file system; "" if nothing is.
func Missing() string {
	if os.Getuid() != 0 {
		return "mounting needs root"
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return "there is no /dev/fuse"
	}
	_ = f.Close() // nothing was written
	return ""
}

// FS is the file system as it is. Whoever uses it does so beside the kernel.
func (d *Disk) FS() *crashfs.FS { return d.fs }

// Changes is how many operations have changed something.
func (d *Disk) Changes() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.trace)
}

// do runs an operation, and writes it down if it has changed something.
func (d *Disk) do(c change) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.before != nil {
		d.before(len(d.trace))
	}
	err := c.run(d.fs)
	if err == nil {
		d.trace = append(d.trace, c)
	}
	return errno(err)
}

// errno is what the kernel is told.
func errno(err error) syscall.Errno {
	if err == nil {
		return fs.OK
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e
	}
	for target, e := range map[error]syscall.Errno{
		os.ErrNotExist: syscall.ENOENT, os.ErrExist: syscall.EEXIST, fsys.ErrNoSpace: syscall.ENOSPC, os.ErrInvalid: syscall.EINVAL,
	} {
		if errors.Is(err, target) {
			return e
		}
	}
	return syscall.EIO
}

// open opens a file. Only those that make one are changes.
func (d *Disk) open(name string, flag int, mode uint32) (*handle, syscall.Errno) {
	h := &handle{disk: d}
	c := &opening{name: name, flag: flag, perm: os.FileMode(mode).Perm(), handle: h}
	return h, d.do(c)
}

// A Player repeats what was done to a disk, step by step, on a disk of its own, from
// which any number of others can be cut. It must be used by one goroutine at a time.
type Player struct {
	FS    *crashfs.FS
	trace []change
	files map[*handle]fsys.File
	next  int
}

// Play returns a player of everything that was done so far. from must be as the disk was
// when it was first served.
func (d *Disk) Play(from *crashfs.FS) *Player {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Player{FS: from, trace: d.trace, files: map[*handle]fsys.File{}}
}

// Step repeats the next operation, and says what it was; false if there is none.
func (p *Player) Step() (string, bool, error) {
	if p.next == len(p.trace) {
		return "", false, nil
	}
	c := p.trace[p.next]
	p.next++
	err := c.again(p)
	return c.String(), true, err
}

// Next is the number of the next operation.
func (p *Player) Next() int { return p.next }

// Len is how many operations there are.
func (p *Player) Len() int { return len(p.trace) }

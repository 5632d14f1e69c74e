// Package disk makes real file systems in files, mounts them over loop devices, and cuts
// their power: FS_IOC_SHUTDOWN stops a file system at once, and what it had not written
// is gone. It needs root, and belongs into a mount namespace of its own.
package disk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Kind is a file system that can be cut.
type Kind string

// The kinds.
const (
	Ext4 Kind = "ext4"
	XFS  Kind = "xfs"
)

// imageBytes is the size of an image, which is sparse. XFS is not made smaller.
var imageBytes = map[Kind]int64{Ext4: 64 << 20, XFS: 320 << 20}

// makeCommand makes a file system in a file.
var makeCommand = map[Kind][]string{
	Ext4: {"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard"},
	XFS:  {"mkfs.xfs", "-q", "-f", "-K"},
}

// A Cut is what a cut of the power leaves of what was under way.
type Cut uint32

// The cuts. Their numbers are the kernel's.
const (
	LogFlushed Cut = 1 // what the journal has in memory is written, without the data: torn files, and zeros
	Plain      Cut = 2 // nothing more is written
)

// shutdownRequest is FS_IOC_SHUTDOWN.
const shutdownRequest = 0x8004587d

// An Image is a file system in a file. It must be used by one goroutine at a time, and
// must be removed.
type Image struct {
	kind       Kind
	file       string
	mountpoint string
	mounted    bool
}

// Make makes a file system below dir, and mounts it.
func Make(kind Kind, dir string) (*Image, error) {
	i := &Image{kind: kind, file: filepath.Join(dir, "image"), mountpoint: filepath.Join(dir, "mount")}
	f, err := os.OpenFile(i.file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	err = errors.Join(f.Truncate(imageBytes[kind]), f.Close(), os.Mkdir(i.mountpoint, 0o700))
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	command := append(makeCommand[kind], i.file)
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("disk: %s: %w: %s", command[0], err, out)
	}
	if err := i.Mount(); err != nil {
		return nil, err
	}
	return i, nil
}

// Dir is where the file system is mounted.
func (i *Image) Dir() string { return i.mountpoint }

// patience is how long an unmount waits for those who use the file system.
const patience = 20 * time.Second

// Mount mounts the file system, which recovers from its journal what the last cut left.
func (i *Image) Mount() error {
	loop, err := i.attach()
	if err != nil {
		return err
	}
	defer loop.Close() // the mount holds the device, which ends with it
	if err := unix.Mount(loop.Name(), i.mountpoint, string(i.kind), unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("disk: mount %s: %w", i.kind, err)
	}
	i.mounted = true
	return nil
}

// attach gives the image a loop device that is free when its last user is gone.
func (i *Image) attach() (*os.File, error) {
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	defer control.Close()
	image, err := os.OpenFile(i.file, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	defer image.Close()
	for began := time.Now(); ; {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("disk: no loop device is free: %w", err)
		}
		loop, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("disk: %w", err)
		}
		config := unix.LoopConfig{Fd: uint32(image.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		if err = unix.IoctlLoopConfigure(int(loop.Fd()), &config); err == nil {
			return loop, nil
		}
		_ = loop.Close() // nothing was done with it
		if !errors.Is(err, unix.EBUSY) || time.Since(began) > patience {
			return nil, fmt.Errorf("disk: loop device: %w", err)
		}
		// Somebody else was faster; the next one is ours.
	}
}

// Shutdown cuts the power: from now on nothing reaches the image.
func (i *Image) Shutdown(c Cut) error {
	fd, err := unix.Open(i.mountpoint, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), shutdownRequest, uintptr(unsafe.Pointer(&c)))
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	if errno != 0 {
		return fmt.Errorf("disk: shutdown: %w", errno)
	}
	return nil
}

// Unmount unmounts the file system, when nobody uses it any more.
func (i *Image) Unmount() error {
	if !i.mounted {
		return nil
	}
	began := time.Now()
	err := unix.Unmount(i.mountpoint, 0)
	for errors.Is(err, unix.EBUSY) && time.Since(began) < patience {
		<-time.After(2 * time.Millisecond) // a process that was killed gives up its files a moment later
		err = unix.Unmount(i.mountpoint, 0)
	}
	if err != nil {
		return fmt.Errorf("disk: unmount: %w", err)
	}
	i.mounted = false
	return nil
}

// Remove unmounts the file system, whoever uses it, and removes it.
func (i *Image) Remove() error {
	if i.mounted {
		if err := unix.Unmount(i.mountpoint, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("disk: unmount: %w", err)
		}
		i.mounted = false
	}
	return errors.Join(os.Remove(i.mountpoint), os.Remove(i.file))
}

// Missing says what is missing on this machine to make and cut a file system; "" if
// nothing is.
func Missing(kind Kind) string {
	if os.Getuid() != 0 {
		return "mounting needs root"
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return "there are no loop devices"
	}
	if _, err := exec.LookPath(makeCommand[kind][0]); err != nil {
		return "there is no " + makeCommand[kind][0]
	}
	return ""
}

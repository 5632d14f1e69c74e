package strict

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/keyfold/keyfold/internal/fsys"
)

// A node is a name in the tree as the kernel knows it. All that is behind the name is the
// disk's.
type node struct {
	fs.Inode
	disk *Disk
}

// A handle is an open file.
type handle struct {
	disk *Disk
	name string
	file fsys.File
}

var (
	_ fs.NodeLookuper       = (*node)(nil)
	_ fs.NodeGetattrer      = (*node)(nil)
	_ fs.NodeSetattrer      = (*node)(nil)
	_ fs.NodeOpener         = (*node)(nil)
	_ fs.NodeCreater        = (*node)(nil)
	_ fs.NodeMkdirer        = (*node)(nil)
	_ fs.NodeUnlinker       = (*node)(nil)
	_ fs.NodeRmdirer        = (*node)(nil)
	_ fs.NodeRenamer        = (*node)(nil)
	_ fs.NodeStatfser       = (*node)(nil)
	_ fs.NodeFsyncer        = (*node)(nil)
	_ fs.NodeOpendirHandler = (*node)(nil)
	_ fs.FileReader         = (*handle)(nil)
	_ fs.FileWriter         = (*handle)(nil)
	_ fs.FileFsyncer        = (*handle)(nil)
	_ fs.FileAllocater      = (*handle)(nil)
	_ fs.FileReleaser       = (*handle)(nil)
	_ fs.FileFlusher        = (*handle)(nil)
	_ fs.FileFsyncdirer     = (*dirHandle)(nil)
	_ fs.FileReaddirenter   = (*dirHandle)(nil)
)

func (n *node) name() string             { return "/" + n.Path(nil) }
func (n *node) child(name string) string { return path.Join(n.name(), name) }

// inode is the node of a name that is there.
func (n *node) inode(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	info, err := n.disk.fs.Lstat(n.child(name))
	if err != nil {
		return nil, errno(err)
	}
	fill(info, &out.Attr)
	if known := n.GetChild(name); known != nil {
		return known, fs.OK
	}
	return n.NewInode(ctx, &node{disk: n.disk}, fs.StableAttr{Mode: out.Attr.Mode & syscall.S_IFMT}), fs.OK
}

func fill(info os.FileInfo, out *fuse.Attr) {
	out.Size, out.Nlink = uint64(info.Size()), 1
	out.Mode = syscall.S_IFREG | uint32(info.Mode().Perm())
	if info.IsDir() {
		out.Mode = syscall.S_IFDIR | uint32(info.Mode().Perm())
	}
}

// Lookup finds a name.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.inode(ctx, name, out)
}

// Getattr describes an open file, or a name.
func (n *node) Getattr(_ context.Context, open fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	info, err := n.disk.fs.Lstat(n.name())
	if h, ok := open.(*handle); ok && err != nil {
		// The name is gone, the file is not.
		size, err := h.file.Size()
		out.Size, out.Mode = uint64(size), syscall.S_IFREG|0o600
		return errno(err)
	}
	if err != nil {
		return errno(err)
	}
	fill(info, &out.Attr)
	return fs.OK
}

// Setattr changes the size. Modes and times are not kept.
func (n *node) Setattr(ctx context.Context, open fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		c := truncate(n.name(), int64(size))
		if h, ok := open.(*handle); ok {
			c = h.truncating(int64(size))
		}
		if e := n.disk.do(c); e != fs.OK {
			return e
		}
	}
	return n.Getattr(ctx, open, out)
}

// accessOf is what the file is opened for; the kernel sees to appending by itself.
func accessOf(flags uint32) int { return int(flags) & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR) }

// Open opens a file that is there.
func (n *node) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	h, e := n.disk.open(n.name(), accessOf(flags), 0)
	return h, fuse.FOPEN_DIRECT_IO, e
}

// Create makes a file.
func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	h, e := n.disk.open(n.child(name), accessOf(flags)|os.O_CREATE|int(flags)&os.O_EXCL, mode)
	if e != fs.OK {
		return nil, nil, 0, e
	}
	i, e := n.inode(ctx, name, out)
	return i, h, fuse.FOPEN_DIRECT_IO, e
}

// Mkdir makes a directory.
func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if e := n.disk.do(mkdir(n.child(name), os.FileMode(mode).Perm())); e != fs.OK {
		return nil, e
	}
	return n.inode(ctx, name, out)
}

// Unlink removes a file.
func (n *node) Unlink(_ context.Context, name string) syscall.Errno {
	return n.disk.do(remove(n.child(name)))
}

// Rmdir removes an empty directory.
func (n *node) Rmdir(_ context.Context, name string) syscall.Errno {
	return n.disk.do(remove(n.child(name)))
}

// Rename renames.
func (n *node) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags != 0 {
		return syscall.EINVAL
	}
	return n.disk.do(rename(n.child(name), to.(*node).child(newName)))
}

// blockBytes is the unit of Statfs.
const blockBytes = 4096

// Statfs says how much room there is.
func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	left, err := n.disk.fs.Free("/")
	out.Bsize, out.Frsize, out.NameLen = blockBytes, blockBytes, 255
	out.Bfree, out.Bavail, out.Blocks = left/blockBytes, left/blockBytes, 1<<30
	return errno(err)
}

// Fsync syncs a file or a directory.
func (n *node) Fsync(ctx context.Context, open fs.FileHandle, flags uint32) syscall.Errno {
	switch h := open.(type) {
	case *handle:
		return h.Fsync(ctx, flags)
	case *dirHandle:
		return h.Fsyncdir(ctx, flags)
	}
	return syscall.EBADF
}

// OpendirHandle opens a directory.
func (n *node) OpendirHandle(_ context.Context, _ uint32) (fs.FileHandle, uint32, syscall.Errno) {
	entries, err := n.disk.fs.ReadDir(n.name())
	d := &dirHandle{node: n}
	for _, e := range entries {
		mode := uint32(syscall.S_IFREG)
		if e.IsDir() {
			mode = syscall.S_IFDIR
		}
		d.entries = append(d.entries, fuse.DirEntry{Name: e.Name(), Mode: mode, Off: uint64(len(d.entries) + 1)})
	}
	return d, 0, errno(err)
}

// A dirHandle is an open directory, with the entries that it had when it was opened.
type dirHandle struct {
	node    *node
	entries []fuse.DirEntry
	next    int
}

// Readdirent gives the next entry.
func (d *dirHandle) Readdirent(context.Context) (*fuse.DirEntry, syscall.Errno) {
	if d.next == len(d.entries) {
		return nil, fs.OK
	}
	d.next++
	return &d.entries[d.next-1], fs.OK
}

// Fsyncdir makes the entries durable.
func (d *dirHandle) Fsyncdir(context.Context, uint32) syscall.Errno {
	return d.node.disk.do(syncDir(d.node.name()))
}

// Read reads.
func (h *handle) Read(_ context.Context, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	n, err := h.file.ReadAt(dest, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return fuse.ReadResultData(dest[:n]), errno(err)
}

// Write writes all, or fails.
func (h *handle) Write(_ context.Context, data []byte, off int64) (uint32, syscall.Errno) {
	if e := h.disk.do(h.writing(data, off)); e != fs.OK {
		return 0, e
	}
	return uint32(len(data)), fs.OK
}

// Fsync makes the bytes durable.
func (h *handle) Fsync(context.Context, uint32) syscall.Errno { return h.disk.do(h.syncing()) }

// Allocate reserves room, without changing the size.
func (h *handle) Allocate(_ context.Context, off, size uint64, mode uint32) syscall.Errno {
	const keepSize = 1
	if mode != keepSize {
		return syscall.EOPNOTSUPP
	}
	return h.disk.do(h.reserving(int64(off + size)))
}

// Flush does nothing: closing a file makes nothing durable.
func (h *handle) Flush(context.Context) syscall.Errno { return fs.OK }

// Release closes the file.
func (h *handle) Release(context.Context) syscall.Errno { return h.disk.do(h.closing()) }

package strict

import (
	"fmt"
	"os"
	"slices"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// A change is an operation that may change something. run carries it out on the disk that
// is served, again on that of a player.
type change interface {
	fmt.Stringer
	run(on *crashfs.FS) error
	again(p *Player) error
}

// A naming changes or syncs entries: it is about names alone.
type naming struct {
	what string
	name string
	do   func(on *crashfs.FS) error
}

func (c *naming) String() string           { return c.what + " " + c.name }
func (c *naming) run(on *crashfs.FS) error { return c.do(on) }
func (c *naming) again(p *Player) error    { return c.do(p.FS) }

func mkdir(name string, perm os.FileMode) change {
	return &naming{"mkdir", name, func(on *crashfs.FS) error { return on.Mkdir(name, perm) }}
}

func remove(name string) change {
	return &naming{"remove", name, func(on *crashfs.FS) error { return on.Remove(name) }}
}

func rename(from, to string) change {
	return &naming{"rename", from + " to " + to, func(on *crashfs.FS) error { return on.Rename(from, to) }}
}

func syncDir(name string) change {
	return &naming{"sync directory", name, func(on *crashfs.FS) error { return on.SyncDir(name) }}
}

func truncate(name string, size int64) change {
	return &naming{"truncate", name, func(on *crashfs.FS) error {
		f, err := on.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Truncate(size)
	}}
}

// An opening opens a file, and makes it if its flags say so.
type opening struct {
	name   string
	flag   int
	perm   os.FileMode
	handle *handle
}

func (c *opening) String() string { return "open " + c.name }

func (c *opening) run(on *crashfs.FS) (err error) {
	c.handle.name = c.name
	c.handle.file, err = on.OpenFile(c.name, c.flag, c.perm)
	return err
}

func (c *opening) again(p *Player) error {
	f, err := p.FS.OpenFile(c.name, c.flag, c.perm)
	p.files[c.handle] = f
	return err
}

// A filing changes or syncs an open file.
type filing struct {
	what   string
	handle *handle
	do     func(f fsys.File) error
}

func (c *filing) String() string          { return c.what + " " + c.handle.name }
func (c *filing) run(_ *crashfs.FS) error { return c.do(c.handle.file) }
func (c *filing) again(p *Player) error   { return c.do(p.files[c.handle]) }

func (h *handle) writing(data []byte, off int64) change {
	data = slices.Clone(data)
	return &filing{fmt.Sprintf("write %d bytes at %d of", len(data), off), h, func(f fsys.File) error {
		_, err := f.WriteAt(data, off)
		return err
	}}
}

func (h *handle) syncing() change { return &filing{"sync", h, fsys.File.Sync} }

func (h *handle) truncating(size int64) change {
	return &filing{"truncate", h, func(f fsys.File) error { return f.Truncate(size) }}
}

func (h *handle) reserving(size int64) change {
	return &filing{"reserve", h, func(f fsys.File) error { return f.Reserve(size) }}
}

func (h *handle) closing() change { return &filing{"close", h, fsys.File.Close} }

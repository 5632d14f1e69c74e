package crashfs

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// node is a file or a directory.
type node struct {
	perm    os.FileMode
	changed uint64 // the count of operations when it changed, which stands for a time
	dir     *directory
	file    *regular
}

type regular struct {
	data
	// taken is how much of the capacity the file takes: the furthest that it was
	// written or reserved to since the last truncation.
	taken int64
	names int // present entries that lead here
	opens int // open files
	// failures counts syncs that have dropped what was not durable, failure is what the
	// last one said.
	failures int
	failure  error
}

// directory has the entries that are visible now, those that are durable, and the
// steps in between.
type directory struct {
	now     map[string]*node
	durable map[string]*node
	steps   []step
	first   uint64 // the number of steps[0]
}

// step is one change of a directory; all its entries change at once.
type step struct{ sets []set }

// set gives name a node, or takes it away.
type set struct {
	name string
	node *node
}

func newDir(perm os.FileMode) *node {
	return &node{perm: perm, dir: &directory{now: map[string]*node{}, durable: map[string]*node{}}}
}

func newFile(perm os.FileMode) *node {
	return &node{perm: perm, file: &regular{}}
}

func (d *directory) change(sets ...set) {
	d.steps = append(d.steps, step{sets})
	step{sets}.apply(d.now)
}

func (s step) apply(entries map[string]*node) {
	for _, e := range s.sets {
		if e.node == nil {
			delete(entries, e.name)
		} else {
			entries[e.name] = e.node
		}
	}
}

func (d *directory) next() uint64 { return d.first + uint64(len(d.steps)) }

// endSync makes all steps below mark durable.
func (d *directory) endSync(mark uint64) {
	for d.first < mark && len(d.steps) > 0 {
		d.steps[0].apply(d.durable)
		d.steps[0] = step{} // what was removed must not live on in the array
		d.steps = d.steps[1:]
		d.first++
	}
}

func (d *directory) names() []string { return slices.Sorted(maps.Keys(d.now)) }

// elements splits a path below the root. There is one root: a relative path
// begins there as well.
func elements(name string) []string {
	name = filepath.ToSlash(strings.TrimPrefix(name, filepath.VolumeName(name)))
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

func (n *node) find(elements []string) (*node, error) {
	for _, e := range elements {
		if n.dir == nil {
			return nil, syscall.ENOTDIR
		}
		next := n.dir.now[e]
		if next == nil {
			return nil, os.ErrNotExist
		}
		n = next
	}
	return n, nil
}

// place is the directory of a name, and what has that name now, if anything.
type place struct {
	parent *node
	name   string
	node   *node
}

func (n *node) locate(name string) (place, error) {
	es := elements(name)
	if len(es) == 0 {
		return place{}, os.ErrInvalid
	}
	parent, err := n.find(es[:len(es)-1])
	if err != nil {
		return place{}, err
	}
	if parent.dir == nil {
		return place{}, syscall.ENOTDIR
	}
	last := es[len(es)-1]
	return place{parent, last, parent.dir.now[last]}, nil
}

// info is what a node looks like from outside.
type info struct {
	name    string
	size    int64
	mode    os.FileMode
	changed uint64
}

func (n *node) info(name string) fs.FileInfo {
	i := info{name: path.Base(filepath.ToSlash(name)), mode: n.perm, changed: n.changed}
	if n.dir != nil {
		i.mode |= os.ModeDir
	} else {
		i.size = n.file.size
	}
	return i
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() os.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Unix(int64(i.changed), 0) }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

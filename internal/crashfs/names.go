package crashfs

import (
	"os"
	"syscall"
)

// Mkdir makes a directory.
func (f *FS) Mkdir(name string, perm os.FileMode) error {
	return f.do(Mkdir, name, func() error {
		if len(elements(name)) == 0 {
			return os.ErrExist
		}
		p, err := f.root.locate(name)
		if err != nil {
			return err
		}
		if p.node != nil {
			return os.ErrExist
		}
		if f.room() < nameBytes {
			return ErrFull
		}
		f.change(p.parent, set{p.name, newDir(perm.Perm())})
		return nil
	})
}

// Remove removes a file, which stays readable for those who have it open, or an
// empty directory.
func (f *FS) Remove(name string) error {
	return f.do(Remove, name, func() error {
		p, err := f.root.locate(name)
		if err != nil {
			return err
		}
		if p.node == nil {
			return os.ErrNotExist
		}
		if p.node.dir != nil && len(p.node.dir.now) > 0 {
			return syscall.ENOTEMPTY
		}
		f.change(p.parent, set{p.name, nil})
		f.unnamed(p.node)
		return nil
	})
}

// unnamed takes a name from a file that has lost one.
func (f *FS) unnamed(n *node) {
	if n.file != nil {
		n.file.names--
		f.release(n)
	}
}

// release gives back the space of a file that nobody can reach any more.
func (f *FS) release(n *node) {
	if n.file.names == 0 && n.file.opens == 0 {
		f.used -= n.file.taken
		n.file.taken = 0
	}
}

// Rename moves a file or a directory, over a file or an empty directory that is
// there.
func (f *FS) Rename(oldName, newName string) error {
	return f.do(Rename, oldName, func() error {
		from, err := f.root.locate(oldName)
		if err != nil {
			return err
		}
		if from.node == nil {
			return os.ErrNotExist
		}
		to, err := f.root.locate(newName)
		if err != nil {
			return err
		}
		if from.node == to.node {
			return nil
		}
		if err := checkRename(from, oldName, to, newName); err != nil {
			return err
		}
		f.rename(from, to)
		return nil
	})
}

func checkRename(from place, oldName string, to place, newName string) error {
	if from.node.dir != nil && below(elements(newName), elements(oldName)) {
		return os.ErrInvalid
	}
	switch {
	case to.node == nil:
		return nil
	case to.node.dir == nil && from.node.dir != nil:
		return syscall.ENOTDIR
	case to.node.dir != nil && from.node.dir == nil:
		return syscall.EISDIR
	case to.node.dir != nil && len(to.node.dir.now) > 0:
		return syscall.ENOTEMPTY
	}
	return nil
}

func below(name, dir []string) bool {
	if len(name) < len(dir) {
		return false
	}
	for i := range dir {
		if name[i] != dir[i] {
			return false
		}
	}
	return true
}

func (f *FS) rename(from, to place) {
	if from.parent == to.parent {
		f.change(from.parent, set{from.name, nil}, set{to.name, from.node})
	} else {
		f.change(to.parent, set{to.name, from.node})
		f.change(from.parent, set{from.name, nil})
	}
	if to.node != nil {
		f.unnamed(to.node)
	}
}

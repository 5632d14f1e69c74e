package machine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unsafe"

	"github.com/keyfold/keyfold/internal/fsys"
)

// A Way is a way of making 4 KiB durable.
type Way struct {
	Name string
	Took Probe
	// Err says why it does not work here.
	Err error
}

// way is how a Way is tried.
type way struct {
	name  string
	fs    fsys.FS
	flag  int                      // of the file, besides the usual ones
	ahead func(fsys.File) error    // before the first write; nil is nothing
	at    func(i int64) (at int64) // the place of block i
}

// waysBytes is the size of a file that is written ahead or reserved.
const waysBytes = 1 << 20

// blockBytes is what is made durable at a time.
const blockBytes = 4096

// ProbeWays tries every way that this program knows, each for about d, with files in
// dir that it removes.
func ProbeWays(dir string, d time.Duration) []Way {
	behind := func(i int64) int64 { return i * blockBytes }
	over := func(i int64) int64 { return i * blockBytes % waysBytes }
	reserve := func(f fsys.File) error { return f.Reserve(probeSyncsMax * blockBytes) }
	ways := []way{
		{"file that grows", fsys.OS(), 0, nil, behind},
		{"reserved space", fsys.OS(), 0, reserve, behind},
		{"written over", fsys.OS(), 0, fill, over},
	}
	if directFlag != 0 {
		ways = append(ways, way{"written over, O_DIRECT", fsys.OS(), directFlag, fill, over})
	}
	var list []Way
	for _, w := range ways {
		took, err := w.probe(dir, d)
		list = append(list, Way{w.name, took, err})
	}
	return list
}

// fill writes a file ahead.
func fill(f fsys.File) error {
	for at := int64(0); at < waysBytes; at += blockBytes {
		if _, err := f.WriteAt(aligned(), at); err != nil {
			return err
		}
	}
	return f.Sync()
}

// aligned is a block of memory that O_DIRECT takes.
func aligned() []byte {
	b := make([]byte, 2*blockBytes)
	from := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (blockBytes - 1)
	return b[from : from+blockBytes]
}

// probe tries a way.
func (w *way) probe(dir string, d time.Duration) (p Probe, err error) {
	name := filepath.Join(dir, fmt.Sprintf("way-probe-%d", os.Getpid()))
	f, err := w.fs.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR|w.flag, 0o600)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, f.Close(), w.fs.Remove(name)) }()
	if w.ahead != nil {
		if err := w.ahead(f); err != nil {
			return p, err
		}
	}
	return probe(d, func(i int64) error {
		if _, err := f.WriteAt(aligned(), w.at(i)); err != nil {
			return err
		}
		return f.Sync()
	})
}

// probe calls fn again and again for about d, and says how long it took.
func probe(d time.Duration, fn func(i int64) error) (p Probe, err error) {
	var took []int64
	for start := time.Now(); len(took) < probeSyncsMin || len(took) < probeSyncsMax && time.Since(start) < d; {
		began := time.Now()
		if err := fn(int64(len(took))); err != nil {
			return p, err
		}
		took = append(took, int64(time.Since(began)))
	}
	slices.Sort(took)
	return Probe{P50: took[len(took)/2], P99: took[len(took)*99/100]}, nil
}

package engine

import (
	"testing"
	"unsafe"

	"github.com/keyfold/keyfold/internal/slab"
)

func TestStoresBeginAtCacheLines(t *testing.T) {
	b := &binding[string, int64, int64, int64]{engine: &Engine{memory: slab.NewArena()}}
	p := &program[string, int64, int64, int64]{binding: b}
	for range 100 {
		st := p.NewStore().(*store[string, int64, int64, int64])
		if uintptr(unsafe.Pointer(st))%64 != 0 || unsafe.Sizeof(*st) != 192 {
			t.Fatalf("a store of %d bytes at %p", unsafe.Sizeof(*st), st)
		}
	}
}

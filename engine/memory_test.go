package engine

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/keyfold/keyfold/internal/slab"
)

func TestStoresBeginAtCacheLines(t *testing.T) {
	p := &program{binding: &binding{engine: &Engine{memory: slab.NewArena()}, state: codec{typ: reflect.TypeFor[int64]()}}}
	for range 100 {
		st := p.NewStore().(*store)
		if uintptr(unsafe.Pointer(st))%64 != 0 || unsafe.Sizeof(*st) != 192 {
			t.Fatalf("a store of %d bytes at %p", unsafe.Sizeof(*st), st)
		}
	}
}

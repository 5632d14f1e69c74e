package machine

import (
	"runtime"
	"testing"
)

// sink keeps what a test allocates on the heap.
var sink [][]byte

func TestUsageCountsWhatWasAllocated(t *testing.T) {
	defer func() { sink = nil }()
	w := BeginWatch()
	for range 1000 {
		sink = append(sink, make([]byte, 4096))
	}
	runtime.GC()
	u := w.Usage()
	if u.Mallocs < 1000 || u.HeapBytes < 1000*4096 {
		t.Errorf("%+v", u)
	}
	if u.GCPart <= 0 || u.GCPart > 1 {
		t.Errorf("a collection took a part of %v", u.GCPart)
	}
	if runtime.GOOS == "linux" && u.RSSBytes < u.HeapBytes {
		t.Errorf("%d bytes resident, %d on the heap", u.RSSBytes, u.HeapBytes)
	}
}

package drive

import (
	"os"
	"runtime"
	"testing"
	"time"
)

func TestBatchesAreSettledWholeAndInOrder(t *testing.T) {
	var w batches
	for i := range 100 {
		w.add(waitingBatch{since: time.Duration(i), end: uint64(10 * (i + 1))})
		if i%3 != 0 {
			continue
		}
		total, last := uint64(0), time.Duration(-1)
		before := w.settled
		w.settle(uint64(10*i+5), func(b waitingBatch, events uint64) {
			if b.since <= last || events != 10 {
				t.Errorf("batch of %d events since %v after that of %v", events, b.since, last)
			}
			total, last = total+events, b.since
		})
		if w.settled != uint64(10*i) || total != w.settled-before {
			t.Errorf("%d events settled, %d of them told", w.settled, total)
		}
	}
}

func TestUsageIsThatOfThisProcess(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no /proc")
	}
	before := usageOf(nil)
	const bytes = 3 << 20
	if err := os.WriteFile(t.TempDir()+"/f", make([]byte, bytes), 0o600); err != nil {
		t.Fatal(err)
	}
	u := usageOf(nil).since(before, 1)
	if u.Written < bytes || u.Written > 2*bytes || u.RSSBytes == 0 || u.Cores < 0 {
		t.Errorf("%+v", u)
	}
	if s := cpuSeconds(os.Getpid()); s < 0 || s > 3600 {
		t.Errorf("%v CPU seconds", s)
	}
}

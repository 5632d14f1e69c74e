package machine

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestSignsOfTheMachineItself(t *testing.T) {
	quiet := Machine{CPUs: []int{0, 1}, GOMAXPROCS: 2, FileSystem: "ext4"}
	for _, s := range []Sign{processors(&quiet), build(&quiet), fileSystemSign(&quiet)} {
		if s.Advice != "" || s.Text == "" {
			t.Errorf("%+v", s)
		}
	}
	for advice, s := range map[string]Sign{
		"quota":           processors(&Machine{CPUs: []int{0, 1}, GOMAXPROCS: 2, CPUQuota: 1.5}),
		"GOMAXPROCS":      processors(&Machine{CPUs: []int{0}, GOMAXPROCS: 2}),
		"share":           processors(&Machine{CPUs: []int{0}, GOMAXPROCS: 1}),
		"race":            build(&Machine{Race: true}),
		"on a disk":       fileSystemSign(&Machine{FileSystem: "tmpfs"}),
		"on a volume":     fileSystemSign(&Machine{FileSystem: "overlay"}),
		"on a local disk": fileSystemSign(&Machine{FileSystem: "nfs"}),
	} {
		if !strings.Contains(s.Advice, advice) {
			t.Errorf("no %q in %+v", advice, s)
		}
	}
}

// Goal: the ways that every file system has work, each says how long it took, and no
// file is left.
func TestWaysWorkAndLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	ways := ProbeWays(dir, time.Millisecond)
	for i, w := range ways {
		if i < 3 && w.Err != nil || w.Err == nil && (w.Took.P50 <= 0 || w.Took.P99 < w.Took.P50) {
			t.Errorf("%+v", w)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 || len(ways) < 3 {
		t.Errorf("%d ways, %v is left, %v", len(ways), left, err)
	}
	for _, w := range ProbeWays(dir+"/none", time.Millisecond) {
		if w.Err == nil {
			t.Errorf("%s works where nothing can be written", w.Name)
		}
	}
}

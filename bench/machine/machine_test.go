package machine

import (
	"encoding/json"
	"os"
	"runtime"
	"strings"
	"testing"
)

func TestLookFindsOutAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	m, err := Look(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m.GOMAXPROCS < 1 || len(m.CPUs) < 1 || m.Go == "" || m.Sync.P50 <= 0 || m.Sync.P99 < m.Sync.P50 {
		t.Errorf("%+v", m)
	}
	if runtime.GOOS == "linux" && (m.MemBytes == 0 || m.Kernel == "" || m.FileSystem == "") {
		t.Errorf("%+v", m)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%v left behind, %v", left, err)
	}
	if _, err := json.Marshal(m); err != nil {
		t.Error(err)
	}
	t.Log("\n" + strings.Join(m.Lines(), "\n"))
}

func TestLookFailsWhereNothingCanBeWritten(t *testing.T) {
	if _, err := Look(t.TempDir() + "/none"); err == nil {
		t.Error("no error")
	}
}

func TestRangesAreShort(t *testing.T) {
	for want, cpus := range map[string][]int{"": nil, "3": {3}, "0-3,6,8-9": {6, 0, 1, 2, 3, 8, 9}} {
		if got := ranges(cpus); got != want {
			t.Errorf("%v: %q, want %q", cpus, got, want)
		}
	}
}

func TestRevisionThatNobodyToldIsUnknown(t *testing.T) {
	for want, m := range map[string]Machine{"revision unknown": {}, "revision 1234": {Revision: "1234"}} {
		if words := strings.Join(m.Lines(), "\n"); !strings.Contains(words, want) {
			t.Errorf("no %q in\n%s", want, words)
		}
	}
}

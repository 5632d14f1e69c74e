package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestDoctorTellsAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	r := loadgen(t, "", "doctor", dir, "--watch=20ms", "--probe=5ms")
	if r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	want := []string{"machine", "GOMAXPROCS", "reserved space", "written over", "processors", "file system"}
	if runtime.GOOS == "linux" {
		want = append(want, "load average", "other programs", "O_DIRECT", "huge pages", "swap", "governor")
	}
	for _, text := range want {
		if !strings.Contains(r.out, text) {
			t.Errorf("no %q in\n%s", text, r.out)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestDoctorIsToldWhereToLook(t *testing.T) {
	wrong{[]string{"doctor", filepath.Join(t.TempDir(), "none")}, exitUsage, "none"}.check(t, "no directory")
	wrong{[]string{"doctor", "--watch=0s"}, exitUsage, "--watch"}.check(t, "no time")
}

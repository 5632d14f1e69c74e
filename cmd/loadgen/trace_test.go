package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSlowCallLeavesItsTrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slow.trace")
	r := loadgen(t, "", "run", "--events=2k", "--keys=1k", "--quiet", "--trace-slow=1ns", "--trace-file", file)
	if r.code != exitFine || !strings.Contains(r.out, "go tool trace "+file) {
		t.Fatalf("%+v", r)
	}
	if text, err := os.ReadFile(file); err != nil || !bytes.HasPrefix(text, []byte("go 1.")) {
		t.Errorf("%.20q, %v", text, err)
	}
}

func TestFastCallsLeaveNoTrace(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slow.trace")
	r := loadgen(t, "", "run", "--events=2k", "--keys=1k", "--quiet", "--trace-slow=1h", "--trace-file", file)
	if r.code != exitFine || !strings.Contains(r.out, "nothing took longer than 1h") {
		t.Fatalf("%+v", r)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Error(err)
	}
}

func TestWrongTracesAreToldInOneSentence(t *testing.T) {
	dir := t.TempDir()
	wrong{[]string{"run", "--trace-slow=-1s"}, exitUsage, "--trace-slow"}.check(t, "negative")
	wrong{[]string{"run", "--trace-slow=soon"}, exitUsage, "soon"}.check(t, "no time")
	wrong{[]string{"run", "--trace-slow=1s", "--trace-file", dir}, exitUsage, "--trace-file"}.check(t, "directory")
}

package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Goal: what is refused has made nothing.
func TestWrongRestartsLeaveNothing(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	for name, c := range map[string]wrong{
		"small events": {[]string{"restart", "--size=3"}, exitUsage, "16"},
		"no keys":      {[]string{"restart", "--keys=0"}, exitUsage, "keys"},
		"wrong dist":   {[]string{"restart", "--dist=normal"}, exitUsage, "zipf:0.99"},
		"no window":    {[]string{"restart", "--window=0"}, exitUsage, "window"},
		"no life":      {[]string{"restart", "--live=-1s"}, exitUsage, "--live"},
		"no JSON":      {[]string{"restart", "--json", tmp}, exitUsage, "--json"},
	} {
		c.check(t, name)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

// Goal: an interrupt leaves no temporary store, and says where the one is that was asked
// for.
func TestInterruptedRestartLeavesOnlyWhatWasAskedFor(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no interrupts between processes")
	}
	for _, dir := range []string{"", filepath.Join(t.TempDir(), "kept")} {
		tmp := t.TempDir()
		cmd := program(t.Context(), "restart", "--keys=1k", "--events=1G", "--dir", dir)
		if dir == "" {
			cmd.Args = cmd.Args[:len(cmd.Args)-2]
		}
		cmd.Env = append(cmd.Env, "TMPDIR="+tmp)
		status, err := cmd.StderrPipe()
		if err = errors.Join(err, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		waitFor(t, status, "a child is killed")
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code != exitFailed {
			t.Errorf("code %d, %v", code, err)
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("%v is left, %v", left, err)
		}
		if _, err := os.Stat(dir); dir != "" && err != nil {
			t.Error(err)
		}
	}
}

// Goal: a child that is killed under load leaves a store that is opened, timed and
// verified key by key, from the page cache and without it. Method: few keys and little
// log for a snapshot, so that rounds are under way when the kill comes.
func TestRestartTimesAndVerifiesWhatAKillHasLeft(t *testing.T) {
	for _, how := range []string{"--door=producer", "--door=source", "--cold"} {
		result := filepath.Join(t.TempDir(), "r.json")
		r := loadgen(t, "", "restart", "--keys=2k", "--events=50k", "--live=1ms", "--snapshot-bytes=256KiB", "--seed=5", "--json", result, how)
		if r.code != exitFine || !strings.Contains(r.out, "OK: ") || !strings.Contains(r.out, "events were acknowledged") {
			t.Fatalf("%s: %+v", how, r)
		}
		var got struct {
			Verify   struct{ OK bool }
			Recovery struct {
				Keys uint64
				Cold bool
				Live float64
			}
		}
		text, err := os.ReadFile(result)
		if err != nil || json.Unmarshal(text, &got) != nil || !got.Verify.OK || got.Recovery.Keys != 2000 || got.Recovery.Cold != (how == "--cold") {
			t.Errorf("%s: %v, %s", how, err, text)
		}
	}
}

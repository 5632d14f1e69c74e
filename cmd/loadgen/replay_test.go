package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// Goal: what a run has kept of its log comes to the same states in another store, whatever
// layers the run had.
func TestKeptLogIsReplayedIntoAnotherStore(t *testing.T) {
	flights := []string{"--in", flightsFile(t), flightKey, flightValue}
	generated := []string{"--keys=200", "--events=5k", "--snapshot-bytes=64KiB"}
	for name, args := range map[string][]string{
		"plain":    append([]string{"--keep-log=1GiB", "--shards=2"}, flights...),
		"ids":      append([]string{"--keep-log=1h", "--door=batch", "--once=10k", "--resend=10%", "--window=500"}, generated...),
		"timers":   append([]string{"--keep-log=1GiB", "--timer=5ms", "--size=80"}, generated...),
		"no lives": append([]string{"--keep-log=1GiB", "--ttl=idle=3ms", "--rate=50k"}, generated...),
	} {
		dir, into := filepath.Join(t.TempDir(), "d"), filepath.Join(t.TempDir(), "e")
		if r := loadgen(t, "", append([]string{"run", "--quiet", "--dir", dir}, args...)...); r.code != exitFine {
			t.Fatalf("%s: %+v", name, r)
		}
		r := loadgen(t, "", "replay", dir, "--into", into, "--workers=3", "--shards=3")
		if r.code != exitFine || !strings.Contains(r.out, "times as fast") || !strings.Contains(r.out, "verify    OK") {
			t.Errorf("%s: %+v", name, r)
		}
		if r := loadgen(t, "", "recover", into); r.code != exitFine || !strings.Contains(r.out, "verify    OK") {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestReplaysThatCannotBeAreToldInOneSentence(t *testing.T) {
	dir, used := filepath.Join(t.TempDir(), "d"), t.TempDir()
	if r := loadgen(t, "", "run", "--quiet", "--keys=100", "--events=100k", "--snapshot-bytes=64KiB", "--dir", dir); r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	wrong{[]string{"replay", dir}, exitFailed, "--keep-log"}.check(t, "trimmed")
	wrong{[]string{"replay", dir, "--workers=-1"}, exitUsage, "--workers"}.check(t, "workers")
	wrong{[]string{"replay", dir, "--sync=soon"}, exitUsage, "10ms"}.check(t, "sync")
	wrong{[]string{"replay", dir, "--into", dir}, exitUsage, "not empty"}.check(t, "into")
	wrong{[]string{"replay", used}, exitUsage, "workload.json"}.check(t, "no run")
}

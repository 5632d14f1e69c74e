package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

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

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/testdata"
)

// Goal: whatever layers a table has, every event is folded once, however it was sent, and
// a recovery finds the same. Method: real events and generated ones.
func TestLoadsWithLayersAreVerified(t *testing.T) {
	flights := []string{"--in", flightsFile(t), flightKey, flightValue}
	generated := []string{"--keys=300", "--events=4k", "--dist=zipf:0.9"}
	for name, args := range map[string][]string{
		"calls with ids":       {"--door=do", "--producers=8", "--once=10k", "--resend=20%", "--ack=written"},
		"batches with ids":     {"--door=batch", "--window=100", "--once=10k", "--resend=20%", "--shards=2"},
		"batches":              {"--door=batch", "--window=100", "--producers=2"},
		"long events with ids": {"--door=batch", "--size=100", "--once=10k", "--resend=1"},
		"named producers":      {"--name=p", "--producers=2", "--warmup=500"},
		"named sources":        {"--door=source", "--name=s", "--producers=2", "--shards=2", "--warmup=500"},
		"timers":               {"--timer=20ms", "--producers=2"},
		"timers and ids":       {"--timer=5ms", "--once=10k", "--resend=5%", "--door=do", "--producers=8", "--ack=applied"},
		"changes":              {"--keep-log=1GiB", "--changes", "--shards=2", "--snapshot-bytes=64KiB", "--ack=written", "--sync=5ms"},
		"changes with states":  {"--keep-log=1GiB", "--changes", "--states", "--shards=2", "--snapshot-bytes=64KiB", "--ack=written", "--sync=5ms", "--door=batch", "--once=10k", "--resend=5%"},
		"all":                  {"--timer=1ms", "--keep-log=10m", "--changes", "--once=10k", "--resend=5%", "--door=batch", "--window=200", "--size=50"},
	} {
		for what, events := range map[string][]string{"flights": flights, "generated": generated} {
			dir := filepath.Join(t.TempDir(), "d")
			args := append(append([]string{"run", "--quiet", "--verify", "--dir", dir}, events...), args...)
			if r := loadgen(t, "", args...); r.code != exitFine || !strings.Contains(r.out, "verify    OK") {
				t.Errorf("%s, %s: %+v", name, what, r)
			}
			if r := loadgen(t, "", "recover", dir); r.code != exitFine || !strings.Contains(r.out, "verify    OK") {
				t.Errorf("%s, %s: recover: %+v", name, what, r)
			}
		}
	}
}

// Goal: keys that come to an end in the middle of a load hold the events of their last life,
// and had those of the lives before. They are gone when the store is opened again.
func TestLivesOfKeysAreVerified(t *testing.T) {
	for name, args := range map[string][]string{
		"idle":        {"--ttl=idle=4ms"},
		"age":         {"--ttl=age=8ms", "--door=batch", "--window=50", "--once=1k", "--resend=10%"},
		"with timers": {"--ttl=idle=9ms,age=20ms", "--timer=3ms", "--shards=2", "--keep-log=1GiB", "--changes"},
	} {
		dir := filepath.Join(t.TempDir(), "d")
		args := append([]string{"run", "--quiet", "--verify", "--keys=100", "--dist=zipf:0.9", "--events=4k", "--rate=20k", "--dir", dir}, args...)
		r := loadgen(t, "", args...)
		if r.code != exitFine || !strings.Contains(r.out, "with 4,000 events") || !strings.Contains(r.out, "come to their end") {
			t.Errorf("%s: %+v", name, r)
		}
		if r := loadgen(t, "", "recover", dir); r.code != exitFine || !strings.Contains(r.out, "not verified") {
			t.Errorf("%s: recover: %+v", name, r)
		}
	}
}

func TestPipesAreVerifiedWithLayers(t *testing.T) {
	r := loadgen(t, testdata.Flights, "run", "--quiet", "--verify", "--in=-", flightKey, flightValue, "--keep-log=1GiB", "--changes", "--timer=2ms")
	if r.code != exitFine || !strings.Contains(r.out, "fired, 0 pending") || !strings.Contains(r.out, "verify    OK: 1,411 keys") {
		t.Errorf("%+v", r)
	}
	wrong{[]string{"run", "--quiet", "--verify", "--in=-", flightKey, "--ttl=idle=1h"}, exitUsage, "not a pipe"}.check(t, "lives of a pipe")
}

// Goal: an event that is done twice is found. Method: a partition that remembers one id
// has forgotten most of them before they are sent again.
func TestEventThatIsDoneTwiceFailsTheVerification(t *testing.T) {
	args := []string{"run", "--quiet", "--verify", "--keys=10", "--events=2k", "--door=batch", "--window=500", "--resend=100%"}
	wrong{append(args, "--once=1"), exitVerify, "keys wrong"}.check(t, "forgotten")
	if r := loadgen(t, "", append(args, "--once=10k")...); r.code != exitFine {
		t.Errorf("remembered: %+v", r)
	}
}

func TestResultsSayWhatWasSentAgain(t *testing.T) {
	result := filepath.Join(t.TempDir(), "r.json")
	r := loadgen(t, "", "run", "--quiet", "--door=batch", "--keys=100", "--events=2k", "--window=300", "--once=10k", "--resend=0.5", "--json", result)
	text, err := os.ReadFile(result)
	var got struct {
		Layers struct {
			Once struct {
				Resent, Skipped   uint64
				ResentUnanswered  uint64 `json:"resent_unanswered"`
				AnsweredOtherwise uint64 `json:"answered_otherwise"`
			}
		}
	}
	if err != nil || json.Unmarshal(text, &got) != nil {
		t.Fatalf("%+v, %v, %s", r, err, text)
	}
	o := got.Layers.Once
	if o.Resent < 900 || o.Resent > 1100 || o.Skipped != o.Resent || o.ResentUnanswered < 400 || o.ResentUnanswered > 600 || o.AnsweredOtherwise != 0 {
		t.Errorf("%+v", o)
	}
	if !strings.Contains(r.out, "sent again") {
		t.Errorf("%+v", r)
	}
}

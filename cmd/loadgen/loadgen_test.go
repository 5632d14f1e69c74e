package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/testdata"
)

// childVariable makes the test binary the program itself.
const childVariable = "KEYFOLD_LOADGEN"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		main()
	}
	os.Exit(m.Run())
}

// outcome is what a command line came to.
type outcome struct {
	code     int
	out, err string
}

// loadgen runs a command line in this process; its children are real ones.
func loadgen(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var out, errs bytes.Buffer
	code := start(&process{
		ctx: t.Context(), stdin: strings.NewReader(stdin), stdout: &out, stderr: &errs, args: args, open: store.Open,
		child: func(ctx context.Context, orders string) *exec.Cmd {
			cmd := exec.CommandContext(ctx, os.Args[0], "child", orders)
			cmd.Env = append(os.Environ(), childVariable+"=1")
			return cmd
		},
	})
	return outcome{code, out.String(), errs.String()}
}

func flightsFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "flights.ndjson")
	if err := os.WriteFile(name, []byte(testdata.Flights), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const flightKey, flightValue = "--key=.origin,.destination", "--value=.delay"

func TestRunLeavesWhatRecoverVerifies(t *testing.T) {
	in, dir := flightsFile(t), filepath.Join(t.TempDir(), "d")
	result := filepath.Join(t.TempDir(), "r.json")
	r := loadgen(t, "", "run", "--in", in, flightKey, flightValue, "--dir", dir, "--verify", "--producers=2", "--shards=2", "--json", result)
	if r.code != exitFine || !strings.Contains(r.out, "OK: 1,411 keys with 2,000 events") {
		t.Fatalf("%+v", r)
	}
	text, err := os.ReadFile(result)
	var got struct {
		Events uint64
		Verify struct{ OK bool }
		Ack    string
	}
	if err != nil || json.Unmarshal(text, &got) != nil || got.Events != 2000 || !got.Verify.OK || got.Ack != "durable" {
		t.Errorf("%v, %s", err, text)
	}
	for _, shards := range []string{"1", "3"} {
		if r := loadgen(t, "", "recover", dir, "--shards", shards); r.code != exitFine || !strings.Contains(r.out, "OK: 1,411 keys") || !strings.Contains(r.out, "keys/s a core, together") {
			t.Errorf("%s shards: %+v", shards, r)
		}
	}
	page := filepath.Join(t.TempDir(), "B.md")
	if r := loadgen(t, "", "report", result, "-o", page); r.code != exitFine {
		t.Errorf("%+v", r)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "--in flights.ndjson") || strings.Contains(string(text), dir) {
		t.Errorf("%v, %s", err, text)
	}
}

func TestRecoverFindsAStateThatIsNotThatOfTheFile(t *testing.T) {
	in, dir := flightsFile(t), filepath.Join(t.TempDir(), "d")
	if r := loadgen(t, "", "run", "--in", in, flightKey, flightValue, "--dir", dir, "--quiet"); r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	other := strings.Replace(testdata.Flights, `"delay":33`, `"delay":34`, 1)
	if err := os.WriteFile(in, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := loadgen(t, "", "recover", dir); r.code != exitVerify || !strings.Contains(r.err, "LAS,PHL") {
		t.Errorf("%+v", r)
	}
}

func TestStandardInputIsVerifiedAndRecoveredFromAFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if r := loadgen(t, testdata.Flights, "run", "--in", "-", flightKey, flightValue, "--dir", dir, "--verify"); r.code != exitFine || !strings.Contains(r.out, "OK: 1,411") {
		t.Fatalf("%+v", r)
	}
	if r := loadgen(t, "", "recover", dir); r.code != exitUsage || !strings.Contains(r.err, "--in") {
		t.Errorf("%+v", r)
	}
	if r := loadgen(t, "", "recover", dir, "--in", flightsFile(t)); r.code != exitFine {
		t.Errorf("%+v", r)
	}
}

func TestGeneratedEventsOfEveryKindAreVerified(t *testing.T) {
	for _, args := range [][]string{
		{"--keys=1k", "--dist=zipf:0.99", "--events=20k", "--size=100"},
		{"--keys=10k", "--events=20k", "--ack=applied", "--sync=never", "--producers=3"},
		{"--keys=1k", "--events=2k", "--ack=written", "--door=do", "--producers=50"},
		{"--keys=1k", "--events=5k", "--rate=50k", "--sync=5ms"},
		{"--keys=1k", "--duration=50ms", "--device=direct"},
	} {
		dir := filepath.Join(t.TempDir(), "d")
		if r := loadgen(t, "", append([]string{"run", "--verify", "--dir", dir}, args...)...); r.code != exitFine || !strings.Contains(r.out, "verify    OK") {
			t.Errorf("%v: %+v", args, r)
		}
		if r := loadgen(t, "", "recover", dir); r.code != exitFine {
			t.Errorf("recover after %v: %+v", args, r)
		}
	}
}

func TestHelpIsNoError(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"run", "--help"}, {"crash", "--help"}} {
		if r := loadgen(t, "", args...); r.code != exitFine || !strings.Contains(r.out, "Usage: loadgen") || r.err != "" {
			t.Errorf("%v: %+v", args, r)
		}
	}
}

func TestDemoTellsAndChecks(t *testing.T) {
	if testing.Short() {
		t.Skip("two seconds and a kill")
	}
	r := loadgen(t, "", "demo")
	if r.code != exitFine || strings.Count(r.out, "checked.") != 3 || !strings.Contains(r.out, "kill -9") {
		t.Errorf("%+v", r)
	}
}

func TestCrashPassesAndRemovesItsFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	for _, ack := range []string{"durable", "written", "applied"} {
		r := loadgen(t, "", "crash", "--kills=3", "--keys=1k", "--live=100ms", "--seed=5", "--snapshot-bytes=128KiB", "--ack", ack)
		if r.code != exitFine || !strings.Contains(r.out, "verify    OK") || !strings.Contains(r.out, "seed 5") {
			t.Errorf("%s: %+v", ack, r)
		}
	}
}

// Goal: what a kill has left unknown is settled by sending it again, and timers that were
// pending fire once.
func TestCrashSettlesWhatIsUnknownAndFiresWhatWasPending(t *testing.T) {
	if testing.Short() {
		t.Skip("kills processes")
	}
	r := loadgen(t, "", "crash", "--kills=3", "--keys=500", "--live=100ms", "--seed=5", "--snapshot-bytes=128KiB", "--once=10k", "--timer=20ms")
	if r.code != exitFine || !strings.Contains(r.out, "after a retry") || !strings.Contains(r.err, "batch") {
		t.Errorf("%+v", r)
	}
	r = loadgen(t, "", "crash", "--kills=3", "--keys=500", "--live=100ms", "--seed=5", "--snapshot-bytes=128KiB", "--name=p")
	if r.code != exitFine || !strings.Contains(r.out, "after their producers went on") || strings.Contains(r.err, "source") {
		t.Errorf("%+v", r)
	}
	wrong{[]string{"crash", "--name=p", "--ack=written"}, exitUsage, "durable"}.check(t, "names of what may be lost")
	wrong{[]string{"crash", "--resend=1%"}, exitUsage, "with ids"}.check(t, "again without ids")
	wrong{[]string{"crash", "--once=10k", "--ack=applied"}, exitUsage, "durable or written"}.check(t, "ids that may be lost")
	wrong{[]string{"crash", "--once=9M"}, exitUsage, "4194304"}.check(t, "too many ids")
	wrong{[]string{"crash", "--timer=-1s"}, exitUsage, "not negative"}.check(t, "timer")
}

func TestCountsAndSizesAreReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]uint64{"0": 0, "10M": 10e6, "200k": 200e3, "1_000": 1000, "1.5M": 1_500_000, "200k/s": 200e3, "1G": 1e9} {
		var c count
		if err := c.UnmarshalText([]byte(text)); err != nil || uint64(c) != want {
			t.Errorf("%s: %d, %v", text, c, err)
		}
	}
	for text, want := range map[string]int64{"16": 16, "64KiB": 65536, "1MB": 1e6, "16B": 16} {
		var s size
		if err := s.UnmarshalText([]byte(text)); err != nil || int64(s) != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "-1", "1.5", "x", "10Q", "NaN", "1e300", "Inf"} {
		var c count
		if err := c.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: %d", text, c)
		}
	}
}

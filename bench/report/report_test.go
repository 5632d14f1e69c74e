package report

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/profile"
	"github.com/keyfold/keyfold/bench/trace"
	"github.com/keyfold/keyfold/bench/workload"
)

func result() *Result {
	r := &Result{
		Schema: Schema, Started: time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC), Command: "loadgen run --keys 1M",
		Load:     Load{Seed: 42, Input: "1,000,000 keys, zipf:0.99", EventBytes: 16, Producers: 2, Window: 1024},
		Store:    Store{Ack: "durable", Sync: "commit", Shards: 2},
		Verify:   VerifyOf(workload.Finding{Keys: 3399, Events: 3_000_000}),
		Recovery: &bench.Recovery{Seconds: 0.5, Events: 1_000_000, Keys: 3399, LogBytes: 5 << 20, TornBytes: 12},
		Profile:  &profile.Summary{Seconds: 2, ShardStages: []profile.Share{{Name: "shard-00 apply", Seconds: 1.2, Part: 0.6}}, File: "p/cpu.pb.gz"},
		Machine:  machine.Machine{CPU: "EPYC", CPUs: []int{0, 1}, FileSystem: "ext4", Sync: machine.Probe{P50: 196_000, P99: 309_000}},
	}
	r.SetMeasured(bench.Measured{Events: 3_000_000, Elapsed: 2 * time.Second, Latency: bench.Latency{P50: 1_234_567, P99: 9_876_543, P999: 12_000_000, Max: 34_567_890}})
	return r
}

func TestResultHasTheFieldsThatReadersRelyOn(t *testing.T) {
	name := filepath.Join(t.TempDir(), "r.json")
	if err := result().WriteFile(name); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"schema", "command", "seed", "events", "seconds", "events_per_second", "ack", "sync", "shards",
		"latency_ns.p50", "latency_ns.p90", "latency_ns.p99", "latency_ns.p999", "latency_ns.max",
		"verify.ok", "verify.keys", "recovery.seconds", "recovery.events", "recovery.keys", "machine.cpu", "machine.race",
	} {
		var at any = got
		for name := range strings.SplitSeq(path, ".") {
			m, _ := at.(map[string]any)
			at = m[name]
		}
		if at == nil {
			t.Errorf("no %s", path)
		}
	}
}

func TestResultIsReadBackAsItWasWritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "r.json")
	want := result()
	if err := want.WriteFile(name); err != nil {
		t.Fatal(err)
	}
	got, err := ReadFile(name)
	if err != nil || got.Events != want.Events || got.Latency != want.Latency || fmt.Sprint(*got.Recovery) != fmt.Sprint(*want.Recovery) || got.Ack != "durable" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestStoredResultsDoNotSayWhereFilesWere(t *testing.T) {
	name := filepath.Join(t.TempDir(), "r.json")
	r := result()
	r.Profile.File, r.Profile.Flame = "/home/me/p/cpu.pb.gz", "/home/me/p/flame.html"
	r.Slow = &trace.Slow{File: "/home/me/slow.trace"}
	if err := r.WriteFile(name); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil || strings.Contains(string(text), "/home") || !strings.Contains(string(text), `"cpu.pb.gz"`) {
		t.Errorf("%s, %v", text, err)
	}
	if r.Slow.File != "/home/me/slow.trace" {
		t.Error("the result itself was changed")
	}
}

func TestOtherFilesAreNoResults(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"other.json": `{"schema":0}`, "text": "hello", "empty": ""} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadFile(file); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := ReadFile(filepath.Join(dir, "none")); err == nil {
		t.Error("a missing file was accepted")
	}
}

func TestEmptyResultHasNoNumbersThatJSONLacks(t *testing.T) {
	var r Result
	r.SetMeasured(bench.Measured{})
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestScreensSayWhatMatters(t *testing.T) {
	var b strings.Builder
	r := result()
	r.Start(&b)
	r.End(&b)
	StatusHead(&b)
	Status(&b, bench.Progress{Elapsed: 3 * time.Second, Sent: 2500, Acked: 1500, Rate: 500.4})
	for _, want := range []string{
		"seed 42", "durable", "196µs", "1,500,000 events/s", "p99 9.88ms", "60.0 %     1.20 s  shard-00 apply", "3,399 keys",
		"OK", "12 B of a torn end", "2,000,000 events/s", "1,000",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	b.Reset()
	r.Verify = VerifyOf(workload.Finding{Lost: 1, Examples: []string{"event 5"}})
	r.End(&b)
	if !strings.Contains(b.String(), "FAILED: 1 acknowledged event lost, 0 keys wrong: event 5") {
		t.Error(b.String())
	}
}

func TestNumbersAreWrittenForReading(t *testing.T) {
	for want, got := range map[string]string{
		"0": Count(0), "999": Count(999), "1,000": Count(1000), "-1,234,567": Count(-1234567), "-123": Count(-123),
		"999ns": Nanos(999), "1.23µs": Nanos(1234), "12.3ms": Nanos(12_345_678), "1.23s": Nanos(1_234_567_890),
		"1.5 KiB": Bytes(1536), "12 B": Bytes(12), "1 key": plural(1, "key"), "2 keys": plural(2, "key"),
	} {
		if got != want {
			t.Errorf("%q instead of %q", got, want)
		}
	}
}

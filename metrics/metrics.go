// Package metrics names the figures of an engine for monitoring systems, and writes them
// in the text format of Prometheus without linking anything of it.
//
// Names and units follow the conventions of Prometheus: base units, which the name ends
// with, and _total behind what only grows. Labels are shards, tables and activities, whose
// number is bounded; never a key, and no partition either, of which there are thousands.
//
// A server of its own needs no more than
//
//	http.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
//		stats, err := eng.Stats(r.Context())
//		if err != nil {
//			http.Error(w, err.Error(), http.StatusServiceUnavailable)
//			return
//		}
//		w.Header().Set("Content-Type", metrics.ContentType)
//		_ = metrics.Write(w, metrics.Of(stats))
//	})
//
// For programs that use the client library of Prometheus there is the module
// contrib/prometheus.
package metrics

import (
	"strconv"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/histogram"
)

// A Kind says how a metric behaves.
type Kind string

// The kinds.
const (
	Counter   Kind = "counter"   // only grows, from 0 at Open
	Gauge     Kind = "gauge"     // goes up and down
	Histogram Kind = "histogram" // counts durations, in buckets
)

// A Family is the values of one metric.
type Family struct {
	Name    string
	Help    string
	Kind    Kind
	Labels  []string // their names
	Samples []Sample
}

// A Sample is one value of a metric.
type Sample struct {
	Labels  []string // values, in the order of the names
	Value   float64  // of a counter or a gauge
	Buckets *Buckets // of a histogram
}

// Buckets are the counts of a histogram.
type Buckets struct {
	Count uint64
	Sum   float64  // seconds
	Below []uint64 // by bucket: how many are shorter than its Bounds
}

// Families by shard or by table.
type (
	shardFamily struct {
		name, help string
		kind       Kind
		value      func(*engine.ShardStats) float64
	}
	tableFamily struct {
		name, help string
		kind       Kind
		value      func(*engine.TableStats) float64
	}
	histogramFamily struct {
		name, help string
		value      func(*engine.ShardStats) *histogram.Histogram
	}
)

var ofShards = []shardFamily{
	{"keyfold_events_total", "Events that the shard has accepted.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Events) }},
	{"keyfold_refused_total", "Operations that were not done, for whatever reason.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Refused) }},
	{"keyfold_skipped_total", "Events that were not done again, because they were done before: retries, and what was sent again.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Skipped) }},
	{"keyfold_reads_total", "Reads of single keys.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Reads) }},
	{"keyfold_timers_total", "Timers of keys that were due and fired.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Fired.Timers) }},
	{"keyfold_expired_total", "Keys that have come to the end of their TTL.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Fired.Expired) }},
	{"keyfold_lapsed_total", "Timers and expired keys whose function did not return, or could not be called.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Fired.Lapsed) }},
	{"keyfold_runs_total", "Runs: operations that were touched and applied together.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Runs) }},
	{"keyfold_parks_total", "How often the shard went to sleep.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Parks) }},
	{"keyfold_partitions", "Partitions that the shard owns.", Gauge,
		func(s *engine.ShardStats) float64 { return float64(s.Partitions) }},
	{"keyfold_moves_in_total", "Partitions that came from another shard.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Moves.In) }},
	{"keyfold_moves_out_total", "Partitions that went to another shard.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Moves.Out) }},
	{"keyfold_inbox_bytes", "Bytes that wait in the inbox of the shard.", Gauge,
		func(s *engine.ShardStats) float64 { return float64(s.Inbox.Bytes) }},
	{"keyfold_log_frames_total", "Frames that were written to the log, one for each group commit.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Log.Frames) }},
	{"keyfold_log_written_bytes_total", "Bytes that were written to the log.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Log.Bytes) }},
	{"keyfold_log_replay_bytes", "Bytes of log since the last snapshot, which a recovery would replay.", Gauge,
		func(s *engine.ShardStats) float64 { return float64(s.Log.ReplayBytes) }},
	{"keyfold_read_only", "1 if there was no room on the disk for the last event, so that it was refused.", Gauge,
		func(s *engine.ShardStats) float64 { return bit(s.Log.ReadOnly) }},
	{"keyfold_snapshots_total", "Snapshots that were published.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Snapshots.Published) }},
	{"keyfold_snapshot_failures_total", "Snapshots that failed.", Counter,
		func(s *engine.ShardStats) float64 { return float64(s.Snapshots.Failed) }},
	{"keyfold_snapshot_bytes", "Size of the last snapshot.", Gauge,
		func(s *engine.ShardStats) float64 { return float64(s.Snapshots.Bytes) }},
	{"keyfold_snapshot_timestamp_seconds", "When the last snapshot was published, in Unix time; 0 if there is none.", Gauge,
		func(s *engine.ShardStats) float64 { return unix(s.Snapshots.At) }},
	{"keyfold_recovery_estimate_seconds", "What an open would take after a crash now, roughly.", Gauge,
		func(s *engine.ShardStats) float64 { return s.RecoveryTime.Seconds() }},
}

var ofTables = []tableFamily{
	{"keyfold_table_operations_total", "Events, refused ones included, and reads of the table.", Counter,
		func(t *engine.TableStats) float64 { return float64(t.Operations) }},
	{"keyfold_table_keys", "Keys in the table.", Gauge,
		func(t *engine.TableStats) float64 { return float64(t.Keys) }},
	{"keyfold_table_state_bytes", "Memory of the keys and states of the table, their index included.", Gauge,
		func(t *engine.TableStats) float64 { return float64(t.StateBytes) }},
}

var histograms = []histogramFamily{
	{"keyfold_sync_duration_seconds", "How long syncs of the log take.",
		func(s *engine.ShardStats) *histogram.Histogram { return &s.Log.SyncTime }},
	{"keyfold_inbox_delay_seconds", "How long an event waits in the inbox until it is carried out, sampled.",
		func(s *engine.ShardStats) *histogram.Histogram { return &s.Inbox.Delay }},
}

// activities are what keyfold_busy_seconds_total is split by. Prometheus has another use
// for a label called job.
var activities = []struct {
	name  string
	value func(*engine.ShardStats) time.Duration
}{
	{"apply", func(s *engine.ShardStats) time.Duration { return s.Busy.Apply }},
	{"log", func(s *engine.ShardStats) time.Duration { return s.Busy.Log }},
	{"snapshot", func(s *engine.ShardStats) time.Duration { return s.Busy.Snapshot }},
	{"view", func(s *engine.ShardStats) time.Duration { return s.Busy.View }},
	{"move", func(s *engine.ShardStats) time.Duration { return s.Busy.Move }},
}

// Of returns the metrics of an engine. Of the zero Stats they have no samples, but for
// those of the whole engine.
func Of(s engine.Stats) []Family {
	var all []Family
	for _, of := range ofShards {
		f := Family{Name: of.name, Help: of.help, Kind: of.kind, Labels: []string{"shard"}}
		for i := range s.Shards {
			f.Samples = append(f.Samples, Sample{Labels: []string{strconv.Itoa(i)}, Value: of.value(&s.Shards[i])})
		}
		all = append(all, f)
	}
	for _, of := range ofTables {
		f := Family{Name: of.name, Help: of.help, Kind: of.kind, Labels: []string{"table"}}
		for i := range s.Tables {
			f.Samples = append(f.Samples, Sample{Labels: []string{s.Tables[i].Name}, Value: of.value(&s.Tables[i])})
		}
		all = append(all, f)
	}
	for _, of := range histograms {
		f := Family{Name: of.name, Help: of.help, Kind: Histogram, Labels: []string{"shard"}}
		for i := range s.Shards {
			f.Samples = append(f.Samples, Sample{Labels: []string{strconv.Itoa(i)}, Buckets: bucketsOf(of.value(&s.Shards[i]))})
		}
		all = append(all, f)
	}
	return append(all, busy(s), failed(s), hottest(s),
		one("keyfold_torn_bytes", "Bytes of the logs that were dropped as torn when the store was opened.", float64(s.TornBytes)),
		one("keyfold_advised_moves", "Moves of partitions that would relieve the busiest shard.", float64(len(s.Advice.Moves))),
		one("keyfold_advised_gain_ratio", "How much more the engine could take after these moves, as a share of what it takes.", s.Advice.Gain()),
		one("keyfold_too_hot_partition_ratio", "Load of a partition that is too hot for a shard, as a share of the time of one; no move helps it. 0 if there is none.", s.Advice.TooHot),
	)
}

// one is a metric of the whole engine.
func one(name, help string, value float64) Family {
	return Family{Name: name, Help: help, Kind: Gauge, Samples: []Sample{{Value: value}}}
}

// busy is the time that shards have worked, by what on.
func busy(s engine.Stats) Family {
	f := Family{
		Name: "keyfold_busy_seconds_total", Help: "Time that the goroutine of the shard has worked, by what on; apply is an estimate.",
		Kind: Counter, Labels: []string{"shard", "activity"},
	}
	for i := range s.Shards {
		for _, activity := range activities {
			f.Samples = append(f.Samples, Sample{Labels: []string{strconv.Itoa(i), activity.name}, Value: activity.value(&s.Shards[i]).Seconds()})
		}
	}
	return f
}

func failed(s engine.Stats) Family {
	f := Family{Name: "keyfold_failed", Help: "1 if the shard has failed, and is out of service until the store is opened again.", Kind: Gauge, Labels: []string{"shard"}}
	for i, err := range s.Failed {
		f.Samples = append(f.Samples, Sample{Labels: []string{strconv.Itoa(i)}, Value: bit(err != nil)})
	}
	return f
}

// hottest is the share of the hottest key of each shard, without its name.
func hottest(s engine.Stats) Family {
	f := Family{Name: "keyfold_hottest_key_ratio", Help: "Share of the operations of the shard that go to its hottest key, at most. No move helps one that is hotter than a shard.", Kind: Gauge, Labels: []string{"shard"}}
	shares := make([]float64, len(s.Shards))
	for _, k := range s.Hot {
		shares[k.Shard] = max(shares[k.Shard], k.Share)
	}
	for i, share := range shares {
		f.Samples = append(f.Samples, Sample{Labels: []string{strconv.Itoa(i)}, Value: share})
	}
	return f
}

func bit(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1e3
}

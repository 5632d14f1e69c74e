package report

import (
	"strings"
	"testing"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/stats"
)

// peerAt is a peer's rates in some rounds.
func peerAt(name, door string, window int, rates ...float64) *Result {
	r := result()
	r.Recovery, r.Command, r.Door, r.Window, r.EventBytes = nil, "peers", door, window, 32
	r.Peer = &Peer{Name: name}
	r.Input = "1,000,000 keys, zipf:0.99, 32 B"
	r.EventsPerSecond = stats.SpreadOf(rates).Median
	r.Samples = []Sample{{Name: "rate", Rounds: rates}}
	return r
}

// limitAt is a contest of a door.
func limitAt(door, row, input string, ratio float64) *Result {
	r := result()
	r.Recovery, r.Command, r.Door, r.Input = nil, "limit "+door+input, door, input
	r.LimitRows = []LimitRow{{Name: row, Ratio: stats.Spread{Median: ratio}}}
	return r
}

// Goal: each goal is judged by the median of paired ratios, case by case, and what nobody
// has measured is not called reached or missed.
func TestGoalsAreJudgedByWhatWasMeasured(t *testing.T) {
	killed := peerAt("keyfold", "killed", 0)
	killed.Input, killed.Recovery, killed.Samples = "10,000,000 keys, uniform, 32 B", &bench.Recovery{Seconds: 2.5}, nil
	applied := result()
	applied.Recovery, applied.Door, applied.Producers, applied.Ack, applied.Command = nil, string(bench.Single), 1, "applied", "applied"
	applied.Latency.P50 = 900
	snapshot := result()
	snapshot.Recovery, snapshot.Command, snapshot.Input = nil, "snapshot", "10,000,000 keys, uniform"
	snapshot.Imaging = &Imaging{Throughput: stats.Spread{Median: 0.85}, P999: stats.Spread{Median: 1.5}, RSSBytes: 100, AddedBytes: 4}
	p := &Page{Results: []*Result{
		limitAt("source", "L4b", "1,000,000 keys, uniform", 0.6), limitAt("source", "L4b", "10,000,000 keys, uniform", 0.4),
		limitAt("source", "L4b", "100,000 keys, uniform", 0.2), limitAt("producer", "L5", "1,000,000 keys, uniform", 0.6),
		peerAt("keyfold", "stream", 0, 10, 30, 20), peerAt("keyfold-source", "stream", 0, 40, 90, 60), peerAt("handa", "stream", 0, 1, 1, 1),
		peerAt("handb", "stream", 0, 10, 30, 10), peerAt("pebble", "stream", 0, 2, 3, 3),
		peerAt("null", "callers", 1024, 100), peerAt("keyfold", "callers", 1024, 40), peerAt("redis-hincrby", "callers", 1024, 20), peerAt("handb", "callers", 1024, 10),
		killed, applied, snapshot,
	}}
	page := markdown(t, *p, "")
	for _, want := range []string{
		"| Source, of the limit row L4b | at least 0.5 | **0.6** (1 M uniform), **0.4** (10 M uniform) | in 1 of 2 | 1, 2 |",
		"| Source, of the limit row L4b, all in cache | at least 0.5 | **0.2** (100 k uniform) | missed | 3 |",
		"| Source, times the best rival made by hand | at least 4 | **4** (1 M zipf) | reached |",
		"| Source, times Pebble | at least 20 | **20** (1 M zipf) | reached |",
		"| Source, times Redis, pipelined | at least 20 | - | not measured | - |",
		"| Producer, of the limit row L5 | at least 0.6 | **0.6** (1 M uniform) | reached |",
		"| Producer, times the best rival made by hand | see the case | **1** (1 M zipf, keyfold, goal 2) | missed |",
		"| durable callers, times the best rival | see the case | **2** (1,024 callers, redis-hincrby, goal 1.8) | reached |",
		"| durable callers, of the null row | at least 0.5 | **0.4** (1,024 callers) | missed |",
		"| one caller, applied, p50 | at most 1 µs | **0.9** µs",
		"| open after a kill, 10 M keys | at most 2 s | **2.5** s (keyfold) | missed |",
		"| throughput while a snapshot is taken, of that without | at least 0.9 | **0.85** (10 M uniform) | missed |",
		"| p99.9 of calls while a snapshot is taken, over that without | at most 2 | **1.5** (10 M uniform) | reached |",
		"| memory that a snapshot takes, of that of the store | at most 5 % | **4** % (10 M uniform) | reached |",
		"| memory beside key and state, 10 M keys | at most 24 B a key | - | not measured | - |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("no row %s in\n%s", want, page[:strings.Index(page, "## How to read")])
		}
	}
}

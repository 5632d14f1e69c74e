package report

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/stats"
)

// A goal is something that the engine is to reach, and the results tell whether it does.
type goal struct {
	what string
	// bound is what is to be reached, most says that it is the most rather than the least.
	bound float64
	most  bool
	unit  string
	find  func(entries []entry) []figure
}

// A figure is what one result says about a goal.
type figure struct {
	of     string // which case of the goal it is
	value  float64
	number int // of the command
	bound  float64
}

// goalTable is the summary at the top of the page: a row for each goal.
func goalTable(entries []entry) []*table {
	t := &table{head: []string{"goal", "at", "reached", "verdict", "#"}}
	for _, g := range goals() {
		t.rows = append(t.rows, g.row(entries))
	}
	return []*table{t}
}

// row says what was reached of a goal, and in how many of its cases.
func (g *goal) row(entries []entry) []string {
	relation := "at least "
	if g.most {
		relation = "at most "
	}
	row := []string{g.what, relation + number(g.bound) + g.unit, "-", "not measured", "-"}
	if g.bound == 0 {
		row[1] = "see the case"
	}
	var reached, numbers []string
	good := 0
	list := g.find(entries)
	for _, f := range list {
		bound, words := g.bound, f.of
		if bound == 0 {
			bound, words = f.bound, fmt.Sprintf("%s, goal %s", f.of, number(f.bound))
		}
		if (f.value <= bound) == g.most || f.value == bound {
			good++
		}
		reached = append(reached, fmt.Sprintf("**%s**%s (%s)", number(f.value), g.unit, words))
		if n := strconv.Itoa(f.number); !slices.Contains(numbers, n) {
			numbers = append(numbers, n)
		}
	}
	if len(list) == 0 {
		return row
	}
	row[2], row[4] = strings.Join(reached, ", "), strings.Join(numbers, ", ")
	switch good {
	case len(list):
		row[3] = "reached"
	case 0:
		row[3] = "missed"
	default:
		row[3] = fmt.Sprintf("in %d of %d", good, len(list))
	}
	return row
}

// number writes three digits, and large ones in full.
func number(f float64) string {
	if f >= 1000 {
		return Count(int64(f))
	}
	return strconv.FormatFloat(f, 'g', 3, 64)
}

const million = 1_000_000

// goals are those of the project, in the order of what they are about.
func goals() []goal {
	return []goal{
		{"Source, of the limit row L4b", 0.5, false, "", limitRatios("source", "L4b", million)},
		{"Source, of the limit row L4b, all in cache", 0.5, false, "", limitRatios("source", "L4b", 0)},
		{"Source, times the best rival made by hand", 4, false, "", overHand("keyfold-source")},
		{"Source, times Pebble", 20, false, "", over("keyfold-source", "pebble")},
		{"Source, times Redis, pipelined", 20, false, "", over("keyfold-source", "redis")},
		{"Source, Zipf, above FASTER without a log on other machines", 19.7, false, " M/s", sourceRates},
		{"Producer, of the limit row L5", 0.6, false, "", limitRatios("producer", "L5", million)},
		{"Producer, of the limit row L5, all in cache", 0.5, false, "", limitRatios("producer", "L5", 0)},
		{"Producer, times the best rival made by hand", 0, false, "", producerOverHand},
		{"durable at every group commit, of itself at an interval", 0.8, false, "", durableRatios},
		{"net/http handler, p99 with the engine over without", 1.5, true, "", guestRatios},
		{"hot partitions on one shard, from 2 s on, of the balanced load", 0.85, false, "", skewRates},
		{"hot partitions on one shard, p99 while they move over that before", 2, true, "", skewTimes},
		{"one durable caller, p50 over a raw append and sync", 1.3, true, "", callOverSync(func(l bench.Latency) int64 { return l.P50 }, func(e *entry) int64 { return e.Machine.Sync.P50 })},
		{"one durable caller, p99 over that of the raw", 2, true, "", callOverSync(func(l bench.Latency) int64 { return l.P99 }, func(e *entry) int64 { return e.Machine.Sync.P99 })},
		{"durable callers, times the best rival", 0, false, "", callersOverRivals},
		{"durable callers, of the null row", 0.5, false, "", callersOverNull},
		{"durable callers, p99 over 1.5 times the null row's and two syncs", 1, true, "", callersLate},
		{"durable acks without a goroutine each, 1,024 in flight", 5, false, " M/s", acksRate},
		{"one caller, applied, p50", 1, true, " µs", appliedCall},
		{"snapshot loaded, keys a core", 10, false, " M/s", snapshotLoaded},
		{"log replayed, times the live rate a core", 2, false, "", replayed},
		{"open after a kill, 10 M keys", 2, true, " s", openAfterKill},
		{"throughput while a snapshot is taken, of that without", 0.9, false, "", ofSnapshots(func(m *Imaging) float64 { return m.Throughput.Median })},
		{"p99.9 of calls while a snapshot is taken, over that without", 2, true, "", ofSnapshots(func(m *Imaging) float64 { return m.P999.Median })},
		{"memory that a snapshot takes, of that of the store", 5, true, " %", ofSnapshots(func(m *Imaging) float64 { return 100 * m.Added() })},
		{"memory beside key and state, 10 M keys", 24, true, " B a key", memoryOver},
		{"garbage collector, 10 M keys", 1, true, " % of the CPU", collectorPart},
	}
}

// keys is how many keys the input names; 0 for files.
func (r *Result) keys() uint64 {
	digits, _, ok := strings.Cut(r.Input, " keys")
	n, err := strconv.ParseUint(strings.ReplaceAll(digits, ",", ""), 10, 64)
	if !ok || err != nil {
		return 0
	}
	return n
}

// short is the input in few words.
func (r *Result) short() string {
	s := strings.TrimSuffix(r.Input, fmt.Sprintf(", %d B", r.EventBytes))
	s = strings.Replace(s, ",000,000 keys", " M", 1)
	s = strings.Replace(s, ",000 keys", " k", 1)
	return strings.Replace(strings.Replace(s, ", zipf:0.99", " zipf", 1), ", uniform", " uniform", 1)
}

// those are the figures of the results of a kind.
func those(k kind, fn func(e *entry) []figure) func([]entry) []figure {
	return func(entries []entry) (list []figure) {
		for i := range entries {
			if entries[i].kind() == k {
				for _, f := range fn(&entries[i]) {
					f.number = entries[i].number
					list = append(list, f)
				}
			}
		}
		return list
	}
}

// limitRatios are those of a door to its row, of so many keys or, with 0, of fewer than a
// million.
func limitRatios(door, row string, least uint64) func([]entry) []figure {
	return those(ofLimit, func(e *entry) []figure {
		if e.Door != door || (e.keys() >= million) != (least > 0) || e.LimitRows[0].Name != row {
			return nil
		}
		return []figure{{of: e.short(), value: e.LimitRows[0].Ratio.Median}}
	})
}

var sourceRates = those(ofLimit, func(e *entry) []figure {
	if e.Door != "source" || e.keys() < million || !strings.Contains(e.Input, "zipf") {
		return nil
	}
	return []figure{{of: e.short(), value: e.EventsPerSecond / million}}
})

var durableRatios = those(ofLimit, func(e *entry) []figure {
	if e.Durable == nil {
		return nil
	}
	return []figure{{of: e.Door + ", " + e.short(), value: e.Durable.Ratio.Median}}
})

var guestRatios = those(ofGuest, func(e *entry) []figure {
	return []figure{{of: plural(e.Shards, "shard"), value: e.Guest.P99.Median}}
})

// callOverSync is a percentile of a single durable caller over that of the disk's probe.
func callOverSync(call func(bench.Latency) int64, sync func(*entry) int64) func([]entry) []figure {
	return those(ofCalls, func(e *entry) []figure {
		if e.Producers != 1 || e.Ack != "durable" || sync(e) == 0 {
			return nil
		}
		return []figure{{of: e.short(), value: float64(call(e.Latency)) / float64(sync(e))}}
	})
}

var appliedCall = those(ofCalls, func(e *entry) []figure {
	if e.Producers != 1 || e.Ack != "applied" {
		return nil
	}
	return []figure{{of: e.short(), value: float64(e.Latency.P50) / 1e3}}
})

var snapshotLoaded = those(ofRecovery, func(e *entry) []figure {
	p := e.Recovery.Parts
	if p == nil || e.Recovery.SnapshotKeys == 0 || p.Read+p.Build == 0 {
		return nil
	}
	return []figure{{of: e.short(), value: float64(e.Recovery.SnapshotKeys) / (p.Read + p.Build) / million}}
})

// replayed compares with the fastest stream of the same keys.
func replayed(entries []entry) []figure {
	return those(ofRecovery, func(e *entry) []figure {
		p, live := e.Recovery.Parts, 0.0
		for i := range entries {
			if r := &entries[i]; r.kind() == ofStream && r.Input == e.Input {
				live = max(live, r.EventsPerSecond/float64(max(1, r.Shards)))
			}
		}
		if p == nil || live == 0 || e.Recovery.Events == 0 || p.Scan+p.Apply == 0 {
			return nil
		}
		return []figure{{of: e.short(), value: float64(e.Recovery.Events) / (p.Scan + p.Apply) / live}}
	})(entries)
}

var openAfterKill = those(ofKilled, func(e *entry) []figure {
	if !e.ours() || e.keys() < 10*million || e.Verify == nil {
		return nil
	}
	return []figure{{of: e.Peer.Name, value: e.Recovery.Seconds}}
})

// keyAndState is the size of what a peer's store must hold of a key.
const keyAndState = 16 + 32

var memoryOver = those(ofPeers, func(e *entry) []figure {
	if e.Peer.Name != "keyfold" || e.keys() < 10*million {
		return nil
	}
	return []figure{{of: e.short(), value: float64(e.Peer.RSSBytes)/float64(e.keys()) - keyAndState}}
})

var collectorPart = those(ofStream, func(e *entry) []figure {
	if e.Usage == nil || e.keys() < 10*million {
		return nil
	}
	return []figure{{of: e.short(), value: 100 * e.Usage.GCPart}}
})

// ours says that a peer is Keyfold.
func (r *Result) ours() bool { return r.Peer != nil && strings.HasPrefix(r.Peer.Name, "keyfold") }

// times is the median of the ratios of the rates of two results in the same rounds.
func times(a, b *entry) float64 {
	if len(a.Samples) == 0 || len(b.Samples) == 0 {
		return 0
	}
	return stats.SpreadOf(stats.Ratios(a.Samples[0].Rounds, b.Samples[0].Rounds)).Median
}

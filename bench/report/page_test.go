package report

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/profile"
	"github.com/keyfold/keyfold/bench/stats"
)

// measured is a load with all that a run stores.
func measured(door bench.Door, rate float64) *Result {
	r := result()
	r.Recovery, r.Door, r.Rate = nil, string(door), rate
	r.Command += " --door " + string(door)
	if door == bench.Single {
		r.Window = 0
	}
	r.Usage = &machine.Usage{RSSBytes: 1 << 30, HeapBytes: 1 << 20, GCPart: 0.01, Mallocs: 3000}
	r.Series = []Second{{Seconds: 1, EventsPerSecond: 1.4e6, P50: 1e6, P99: 9e6, Max: 2e7}, {Seconds: 2, EventsPerSecond: 1.6e6}}
	h := hdrOf(1e6, 2e6, 3e6, 9e6)
	r.LatencyHDR = encode(h)
	r.Profile = &profile.Summary{Seconds: 2, ShardStages: []profile.Share{
		{Name: "shard-00 apply", Seconds: 1.2, Part: 0.6}, {Name: "(other)", Seconds: 0.7, Part: 0.35}, {Name: "shard-00 sync", Seconds: 0.1, Part: 0.05},
	}, Functions: []profile.Share{{Name: "example.org/k.(*Shard).apply", Seconds: 1, Part: 0.5}}}
	return r
}

// several are results of every kind.
func several() []*Result {
	limit, sweep, knee, peer, recovery, guest := result(), result(), result(), result(), result(), result()
	recovery.Events, recovery.Command = 0, "loadgen recover d"
	for r, command := range map[*Result]string{limit: "loadgen limit", sweep: "loadgen sweep --vary keys=100k,1M", knee: "loadgen find-max", peer: "peers --rounds 3", guest: "loadgen guest"} {
		r.Recovery, r.Command = nil, command
	}
	limit.LimitRows = []LimitRow{{Name: "L5", EventsPerSecond: stats.Spread{Median: 2e6}, Ratio: stats.Spread{Median: 0.75, Min: 0.7, Max: 0.8}}}
	limit.Durable = &Variant{EventsPerSecond: stats.Spread{Median: 1e6}, Ratio: stats.Spread{Median: 0.9}}
	guest.Guest = &Guest{RequestsPerSecond: 2000, Peak: 3e6, P99: stats.Spread{Median: 1.4, Min: 1.2, Max: 1.6}, With: GuestTimes{Response: bench.Latency{P99: 4e5}}}
	guest.Rate = 9e5
	limit.Samples = []Sample{{Name: "engine", Rounds: []float64{1, 2, 3}}}
	half := stats.Spread{Median: 0.5}
	sweep.Curve = []Point{{"100k", stats.Spread{Median: 60, Min: 55, Max: 70}, &half}, {"1M", stats.Spread{Median: 120}, &half}}
	sweep.Samples = []Sample{{Name: "keys=100k", Rounds: []float64{60}}}
	knee.Steps = []Step{{Rate: 1e6, EventsPerSecond: 9e5, P99: 3e6, Broken: []string{"p99<2ms"}}}
	peer.Peer = &Peer{Name: "pebble", About: "Get and Set in a batch", RatioToKeyfold: 0.04, Cores: 1.9, RSSBytes: 600 << 20}
	prices := result()
	prices.Recovery, prices.Command = nil, "loadgen prices"
	prices.Samples = []Sample{{Name: "producer", Rounds: []float64{100, 110}}}
	prices.Prices = []Price{
		{Name: "batch", Nanos: stats.Spread{Median: 100}, Bytes: 60, Of: "key"},
		{Name: "ids", Beside: "batch", Nanos: stats.Spread{Median: 150}, MoreNanos: stats.Spread{Median: 50, Min: 40, Max: 60}, Bytes: 41, Of: "id"},
	}
	snapshot := result()
	snapshot.Recovery, snapshot.Command = nil, "loadgen snapshot"
	snapshot.Imaging = &Imaging{
		Throughput: stats.Spread{Median: 0.93}, P999: stats.Spread{Median: 1.7}, Seconds: stats.Spread{Median: 2.5},
		RSSBytes: 700 << 20, AddedBytes: 28 << 20,
	}
	killed := result()
	killed.Command, killed.Events, killed.Peer = "peers --rounds 3", 0, &Peer{Name: "handb", PerKey: true, DiskBytes: 3 << 20}
	rate := measured(bench.Batched, 5000)
	rate.Command, rate.Service, rate.Late = rate.Command+" --rate 5000", &bench.Latency{P99: 7e6}, &bench.Latency{P99: 2e6}
	return []*Result{measured(bench.Batched, 0), measured(bench.Single, 0), recovery, limit, sweep, knee, peer, killed, guest, rate, skewed(), prices, snapshot}
}

func markdown(t *testing.T, p Page, old string) string {
	t.Helper()
	text, err := p.Markdown(old)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestPageHasASectionForEveryKindOfResult(t *testing.T) {
	page := markdown(t, Page{Results: several()}, "")
	at := 0
	for _, want := range []string{
		"# Benchmarks", "## Goals, and what was reached", "| Source, of the limit row L4b | at least 0.5 | - | not measured | - |",
		"| net/http handler, p99 with the engine over without | at most 1.5 | **1.4** (2 shards) | reached | 8 |", "## How to read this page",
		"## Against the limit", "durable · verified: every key · seed 42 · machine A · sync 196µs · revision unknown · 2026-11-22**",
		"| L5 | 2,000,000 | 0.75 | 0.70 | 0.80 |", "| itself, durable (its rate over the engine's) | 1,000,000 | 0.90 |",
		"## Against rivals", "verified: sum of all keys", "| pebble |", "| 0.04 |", "<summary>What the rows are</summary>", "- pebble: Get and Set in a batch",
		"## Streaming", "| 1,500,000 |", "## At a rate", "5,000/s", "| response |", "| service |", "| 7ms |", "| lag |", "| 2ms |",
		"## The highest rate at a bounded latency", "no: p99<2ms", "## Calls", "2 calling",
		"## A service in the same process", "| with, response |", "| 400µs |", "| 1.40 |",
		"## Load that moves", "Apply takes 500ns longer than it must, the busiest key has 5.5 % of the events", "| balanced |", "| automatic | 200 | 3", "| 180 | 0.90 | 0.3 s | 2 |", "| 2.00 |", "- advised, at 1.0 s: 3 moves would gain 50 %",
		"## Recovery", "| 0.500 | 3,399 |", "## Recovery beside rivals", "| handb |", "| 3.0 MiB |",
		"## Cost as work grows", "| keys |", "| 1M | 120.0 |", "| 2.00 |",
		"## Prices of the layers", "| batch | 10,000,000 | 100.0 |", "| ids, beside batch |", "| +50.0 (+40.0 to +60.0) |", "| 41.0 B an id |",
		"## Memory", "| 1.0 GiB |", "| 0.001 |", "## Where the time goes", "go test ./bench", "`shard-00 apply` | 60.0 % | 0.60 | `example.org/k.(*Shard).apply` | 50.0 % |",
		"## Where it loses, and why", "## How to repeat them", "make results", "## Commands", "1. `loadgen run --keys 1M --door producer`", "7. `peers --rounds 3`",
		"## Machines", "A. EPYC · CPUs 0-1",
	} {
		next := strings.Index(page[at:], want)
		if next < 0 {
			t.Fatalf("%q is missing behind\n%s", want, page[:at])
		}
		at += next
	}
}

func TestPageSaysHowToMakeWhatIsMissing(t *testing.T) {
	page := markdown(t, Page{}, "")
	for _, command := range []string{"limit", "peers", "run", "recover", "sweep"} {
		if !regexp.MustCompile("Nothing is stored. What makes it: `.*loadgen " + command).MatchString(page) {
			t.Errorf("nothing says how to get a result of loadgen %s", command)
		}
	}
}

func TestPageKeepsWhatIsOutsideItsMarkers(t *testing.T) {
	fresh := markdown(t, Page{Results: several()}, "")
	again := markdown(t, Page{Results: several()[:1]}, "mine\n"+fresh+"also mine\n")
	if !strings.HasPrefix(again, "mine\n") || !strings.HasSuffix(again, "also mine\n") || strings.Contains(again, "pebble |") {
		t.Error(again)
	}
	if _, err := new(Page).Markdown("x" + markEnd); err == nil {
		t.Error("a page with half the markers was accepted")
	}
}

// Goal: what all rows of a table say stands above it, and what only some say stays in the
// rows: nothing that a row must say is lost.
func TestWhatAllRowsSayStandsAboveThem(t *testing.T) {
	a, b := &entry{number: 1, Result: result(), machine: "A"}, &entry{number: 2, Result: result(), machine: "A"}
	b.Seed = 43
	rows := newTable("input", "events/s")
	rows.row(a, "the same", "5")
	rows.row(b, "the same", "5")
	f := rows.folded()
	if !slices.Equal(f.head, []string{"#", "events/s", "seed"}) || !slices.Equal(f.rows[1], []string{"2", "5", "43"}) {
		t.Errorf("%q, %q", f.head, f.rows)
	}
	for _, want := range []string{"the same", "durable", "every key", "machine A", "sync 196", "revision", "2026-11-22"} {
		if !strings.Contains(f.caption, want) {
			t.Errorf("%q is not in %q", want, f.caption)
		}
	}
	single := newTable("input", "events/s")
	single.row(a, "only one", "5")
	if f := single.folded(); !slices.Equal(f.head, []string{"#", "input", "events/s"}) {
		t.Errorf("a single row lost what it is about: %q", f.head)
	}
}

func TestRowsOfATableHaveTheSameCells(t *testing.T) {
	cells := 0
	for line := range strings.Lines(markdown(t, Page{Results: several()}, "")) {
		if !strings.HasPrefix(line, "|") {
			cells = 0
			continue
		}
		n := strings.Count(line, "|")
		if cells != 0 && n != cells {
			t.Errorf("%d cells instead of %d: %s", n, cells, line)
		}
		cells = n
	}
}

func TestChartsBelongToTheirSections(t *testing.T) {
	charts, err := Charts(several())
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, c := range charts {
		files = append(files, c.File)
	}
	want := []string{
		"streaming-latency.svg", "streaming-throughput.svg", "at-a-rate-latency.svg", "at-a-rate-throughput.svg", "calls-latency.svg", "calls-throughput.svg",
		"load-that-moves-over-time.svg", "cost-as-work-grows-keys.svg", "where-the-time-goes-shards.svg",
	}
	if !slices.Equal(files, want) {
		t.Errorf("%v instead of %v", files, want)
	}
	page := markdown(t, Page{Results: several(), Charts: charts, Folder: "pictures"}, "")
	if !strings.Contains(page, "![Streaming: latency](pictures/streaming-latency.svg)") {
		t.Error("the page shows no charts")
	}
}

func TestChartsOfManyResultsAreSeveral(t *testing.T) {
	var many []*Result
	for range 9 {
		many = append(many, measured(bench.Batched, 0))
	}
	if parts := evenly(many, 8); len(parts) != 2 || len(parts[0]) != 5 || len(parts[1]) != 4 || evenly(many[:0], 8) != nil {
		t.Errorf("nine lines are split into %d charts, the first with %d", len(parts), len(parts[0]))
	}
	charts, err := Charts(many)
	if err != nil || !slices.ContainsFunc(charts, func(c Chart) bool { return c.File == "streaming-latency-2.svg" }) {
		t.Errorf("%d charts, %v", len(charts), err)
	}
}

func TestLatenciesThatAreNoHistogramAreAnError(t *testing.T) {
	r := measured(bench.Batched, 0)
	r.LatencyHDR = "hello"
	if _, err := Charts([]*Result{r}); err == nil {
		t.Error("they were drawn")
	}
}

// reference is what would make a browser ask for another file.
var reference = regexp.MustCompile(`<link|<script|<img|<iframe|@import|url\(|src=|https?://[^" ]*`)

func TestHTMLNeedsNothingButItself(t *testing.T) {
	results := several()
	results[0].Input = "<b>keys</b>"
	charts, err := Charts(results)
	if err != nil {
		t.Fatal(err)
	}
	page := &Page{Results: results, Charts: charts}
	text, err := page.HTML()
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range reference.FindAllString(string(text), -1) {
		if !strings.HasPrefix(found, "http://www.w3.org/") {
			t.Errorf("the page refers to %s", found)
		}
	}
	for _, want := range []string{"<!DOCTYPE html>", "Latency by percentile", "Throughput over time", "CPU time by shard and stage", "50 %", "pebble", "sum of all keys", "</html>"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing", want)
		}
	}
	if strings.Count(string(text), "<svg") != len(charts) || strings.Contains(string(text), "<b>keys") || strings.Contains(string(text), "<?xml") {
		t.Error("charts are missing, or text is taken for HTML")
	}
}

func TestPeersAreReadFromTheirFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "peers.json")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"schema":1,"rows":[{"schema":1,"peer":"bbolt","about":"one file","events_per_second":5,"cores":1.5,"rss_bytes":7,"started":"2026-11-22T01:02:03Z"},{"schema":1,"peer":"b"}]}`)
	got, err := ReadFiles([]string{file})
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if r := got[0]; r.Peer.Name != "bbolt" || r.Peer.RSSBytes != 7 || r.EventsPerSecond != 5 || r.kind() != ofPeers || r.Started != time.Date(2026, 11, 22, 1, 2, 3, 0, time.UTC) {
		t.Errorf("%+v, %+v", r, r.Peer)
	}
	for _, text := range []string{`{"schema":9,"rows":[{"schema":1}]}`, `{"schema":1,"rows":[{"schema":0}]}`, `{"rows":7}`} {
		write(text)
		if _, err := ReadFiles([]string{file}); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

// Goal: BENCHMARKS.md is what loadgen report writes from the stored results: nobody has
// changed a figure by hand, and nobody has stored a result without writing the page.
func TestBenchmarksPageIsWhatTheResultsSay(t *testing.T) {
	files, err := filepath.Glob("../results/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	results, err := ReadFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	charts, err := Charts(results)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../BENCHMARKS.md")
	if err != nil {
		t.Fatal(err)
	}
	want := markdown(t, Page{Results: results, Charts: charts, Folder: "bench/results"}, string(page))
	if want != string(page) {
		t.Error("run: go run ./cmd/loadgen report bench/results/*.json --out BENCHMARKS.md --svg bench/results")
	}
}

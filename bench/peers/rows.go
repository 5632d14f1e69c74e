package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/peers/drive"
	"github.com/keyfold/keyfold/bench/peers/rival"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/stats"
	"github.com/keyfold/keyfold/bench/workload"
)

// schema is the version of the file of rows.
const schema = 1

// A rowFile is what --json writes.
type rowFile struct {
	Schema int    `json:"schema"`
	Rows   []*row `json:"rows"`
}

// A row is one cell of one peer: a report.Result, whose figures are medians over the
// rounds, and what only peers have.
type row struct {
	Peer  string `json:"peer"`
	About string `json:"about"`
	report.Result
	// RatioToKeyfold is the rate over that of the peer "keyfold" in the same round, the
	// median; 0 if there was none.
	RatioToKeyfold float64 `json:"ratio_to_keyfold,omitempty"`
	// RatioToHand is the rate over that of the fastest of those made by hand, in the same
	// round, the median; 0 if there was none.
	RatioToHand float64 `json:"ratio_to_hand,omitempty"`
	// Cores is CPU seconds per second of peer and driver, ServerCores the part of a server.
	Cores       float64 `json:"cores"`
	ServerCores float64 `json:"server_cores,omitempty"`
	RSSBytes    uint64  `json:"rss_bytes"`
	// WrittenPerEvent is bytes through calls that write, DevicePerEvent bytes charged to
	// the disk; drive.Usage says what that leaves out.
	WrittenPerEvent float64 `json:"written_bytes_per_event"`
	DevicePerEvent  float64 `json:"device_bytes_per_event"`
	// DiskBytes is the length of the files of a store that was killed.
	DiskBytes uint64 `json:"disk_bytes,omitempty"`
	// PerKey says that each state was compared, and not only the sum of all counts.
	PerKey bool `json:"verified_per_key"`

	cell         drive.Cell
	ours, byHand bool
}

// origin is what all rows of a run have in common.
type origin struct {
	command string
	started time.Time
	machine machine.Machine
}

// rows are those of all cells, each with all peers that came through it.
func (p *plan) rows(rounds []round, from origin) (rows []*row) {
	for _, cell := range p.cells {
		begin := len(rows)
		for i, r := range p.peers {
			if one := p.row(r, i, cell, rounds, from); one != nil {
				rows = append(rows, one)
			}
		}
		relate(rows[begin:])
	}
	return rows
}

// row is one cell of a peer, or nil if it was measured in no round.
func (p *plan) row(r *rival.Rival, index int, cell drive.Cell, rounds []round, from origin) *row {
	var all []drive.Measured
	var failed error
	for _, rd := range rounds {
		o := &rd[index]
		failed = firstError(failed, o.err())
		for _, m := range o.Measured {
			if m.Cell == cell {
				all = append(all, m)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	one := &row{Peer: r.Name, About: r.About, cell: cell, ours: r.Ours, byHand: r.ByHand, Result: report.Result{
		Schema: report.Schema, Started: from.started, Command: from.command, Machine: from.machine,
		Load: report.Load{
			Seed: p.job.Seed, Input: p.input(), EventBytes: limit.EventBytes, Producers: producers(r, cell),
			Door: string(cell.Door), Window: cell.InFlight, Warmup: p.job.Keys,
		},
		Store: storeOf(cell.Sync),
	}}
	one.measured(all)
	one.checked(index, rounds)
	if failed != nil {
		one.Failed = failed.Error()
	}
	return one
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// producers is how many goroutines sent.
func producers(r *rival.Rival, c drive.Cell) int {
	switch c.Door {
	case rival.Callers:
		return c.InFlight
	case rival.Window:
		return min(r.Lanes(c.Sync), c.InFlight)
	}
	return r.Lanes(c.Sync)
}

// storeOf says what a Sync is in the words of results.
func storeOf(s rival.Sync) report.Store {
	switch s {
	case rival.Always:
		return report.Store{Ack: "durable", Sync: "commit"}
	case rival.Second:
		return report.Store{Ack: "written", Sync: "1s"}
	}
	return report.Store{Ack: "written", Sync: "never"}
}

// measured takes over the medians of the rounds, and each round's rate.
func (r *row) measured(all []drive.Measured) {
	of := func(fn func(m *drive.Measured) float64) float64 {
		values := make([]float64, len(all))
		for i := range all {
			values[i] = fn(&all[i])
		}
		return stats.SpreadOf(values).Median
	}
	nanos := func(fn func(l *bench.Latency) int64) int64 {
		return int64(of(func(m *drive.Measured) float64 { return float64(fn(&m.Latency)) }))
	}
	perEvent := func(fn func(u *drive.Usage) uint64) float64 {
		return of(func(m *drive.Measured) float64 { return float64(fn(&m.Usage)) / float64(max(1, m.Events)) })
	}
	rates := report.Sample{Name: "rate", Unit: "events/s"}
	for i := range all {
		r.Events += all[i].Events
		r.Seconds += all[i].Seconds
		rates.Rounds = append(rates.Rounds, all[i].PerSecond())
	}
	r.Samples = []report.Sample{rates}
	r.EventsPerSecond = of((*drive.Measured).PerSecond)
	r.Latency = bench.Latency{
		P50: nanos(func(l *bench.Latency) int64 { return l.P50 }), P90: nanos(func(l *bench.Latency) int64 { return l.P90 }),
		P99: nanos(func(l *bench.Latency) int64 { return l.P99 }), P999: nanos(func(l *bench.Latency) int64 { return l.P999 }),
		Max: nanos(func(l *bench.Latency) int64 { return l.Max }),
	}
	r.Cores = of(func(m *drive.Measured) float64 { return m.Usage.Cores })
	r.ServerCores = of(func(m *drive.Measured) float64 { return m.Usage.ServerCores })
	r.RSSBytes = uint64(of(func(m *drive.Measured) float64 { return float64(m.Usage.RSSBytes) }))
	r.WrittenPerEvent = perEvent(func(u *drive.Usage) uint64 { return u.Written })
	r.DevicePerEvent = perEvent(func(u *drive.Usage) uint64 { return u.Device })
}

// checked takes over what came of the checks of all rounds; nothing if there were none.
func (r *row) checked(index int, rounds []round) {
	var found workload.Finding
	ok, checks := true, 0
	for _, rd := range rounds {
		for _, c := range rd[index].Checks {
			checks++
			ok = ok && c.OK
			r.PerKey = c.PerKey
			found.Keys, found.Events = c.Keys, found.Events+uint64(max(0, c.Events))
			found.Lost += uint64(max(0, c.Want-c.Events))
			found.Wrong += c.Wrong
			if c.Example != "" && len(found.Examples) == 0 {
				found.Examples = []string{c.Example}
			}
		}
	}
	if checks > 0 {
		r.Verify = &report.Verify{OK: ok, Finding: found}
	}
}

// killRows are those of the peers that were killed, all of one cell.
func (p *plan) killRows(kills [][]outcome, from origin) (rows []*row) {
	for i, r := range p.peers {
		if one := p.killRow(r, i, kills, from); one != nil {
			rows = append(rows, one)
		}
	}
	return rows
}

// killDoor is the door of rows of stores that were killed.
const killDoor = "killed"

// killRow has the medians of a peer over all kills, or is nil if it was never killed.
func (p *plan) killRow(r *rival.Rival, index int, kills [][]outcome, from origin) *row {
	seconds := report.Sample{Name: "recovery", Unit: "s", LessIsBetter: true}
	var rss, disk, logged []float64
	var failed string
	var found workload.Finding
	ok := true
	for _, kill := range kills {
		o := &kill[index]
		failed = cmp.Or(failed, o.Failed)
		if o.Opened == nil {
			continue
		}
		seconds.Rounds = append(seconds.Rounds, o.Opened.Seconds)
		rss, disk = append(rss, float64(o.Opened.RSSBytes)), append(disk, float64(o.Opened.DiskBytes))
		s := &o.Opened.Survey
		logged = append(logged, float64(s.Want)-float64(p.job.Keys))
		ok = ok && s.OK && s.Lost == 0
		found.Keys, found.Events = s.Keys, found.Events+uint64(max(0, s.Events))
		found.Lost, found.Wrong = found.Lost+s.Lost, found.Wrong+s.Wrong
		if s.Example != "" && len(found.Examples) == 0 {
			found.Examples = []string{s.Example}
		}
	}
	if len(seconds.Rounds) == 0 && failed == "" {
		return nil
	}
	median := func(of []float64) float64 { return stats.SpreadOf(of).Median }
	one := &row{
		Peer: r.Name, About: r.About, RSSBytes: uint64(median(rss)), DiskBytes: uint64(median(disk)), PerKey: true,
		cell: drive.Cell{Door: killDoor}, Result: report.Result{
			Schema: report.Schema, Started: from.started, Command: from.command, Machine: from.machine, Failed: failed,
			Load: report.Load{
				Seed: p.job.Seed, Input: p.input(), EventBytes: limit.EventBytes, Producers: r.Lanes(killedSync), Door: killDoor, Warmup: p.job.Keys,
			},
			Store:    storeOf(killedSync),
			Rounds:   report.Rounds{Samples: []report.Sample{seconds}},
			Recovery: &bench.Recovery{Seconds: median(seconds.Rounds), Keys: found.Keys, Events: uint64(max(0, median(logged)))},
		},
	}
	if len(seconds.Rounds) > 0 {
		one.Verify = &report.Verify{OK: ok, Finding: found}
	}
	return one
}

// relate sets the ratios of the rows of one cell.
func relate(rows []*row) {
	limit, engine, hand := named(rows, rival.Limit), named(rows, rival.Engine), bestByHand(rows)
	for _, r := range rows {
		r.RatioToLimit, r.RatioToKeyfold, r.RatioToHand = times(r, limit), times(r, engine), times(r, hand)
	}
}

// named is the row of a peer, or nil.
func named(rows []*row, peer string) *row {
	if i := slices.IndexFunc(rows, func(r *row) bool { return r.Peer == peer }); i >= 0 {
		return rows[i]
	}
	return nil
}

// bestByHand is the fastest of the rows of those made by hand, or nil.
func bestByHand(rows []*row) (best *row) {
	for _, r := range rows {
		if r.byHand && (best == nil || r.EventsPerSecond > best.EventsPerSecond) {
			best = r
		}
	}
	return best
}

// times is the median of the ratios of two rows of a cell in the same rounds; 0 if there
// is no other.
func times(r, other *row) float64 {
	if other == nil {
		return 0
	}
	return stats.SpreadOf(stats.Ratios(r.Samples[0].Rounds, other.Samples[0].Rounds)).Median
}

// writeRows writes the file of rows.
func writeRows(name string, rows []*row) error {
	text, err := json.MarshalIndent(rowFile{schema, rows}, "", " ")
	if err != nil {
		return fmt.Errorf("rows: %w", err)
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

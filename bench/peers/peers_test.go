package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/drive"
	"github.com/keyfold/keyfold/bench/peers/job"
	"github.com/keyfold/keyfold/bench/peers/rival"
	"github.com/keyfold/keyfold/bench/report"
)

// TestMain is also the child that a turn runs in.
func TestMain(m *testing.M) {
	if os.Getenv(childMark) != "" {
		os.Exit(start(context.Background(), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// small is a turn of a few events through every door.
func small(t *testing.T) *turn {
	t.Helper()
	cell := func(s rival.Sync, d rival.Door, n int) drive.Cell {
		return drive.Cell{Sync: s, Door: d, InFlight: n, Events: 300, Duration: time.Hour}
	}
	return &turn{
		Job: job.Spec{Keys: 200, Dist: "zipf:0.99", Seed: 7, Events: 700},
		Dir: filepath.Join(t.TempDir(), "store"),
		Cells: []drive.Cell{
			cell(rival.Always, rival.Window, 1), cell(rival.Always, rival.Window, 32), cell(rival.Always, rival.Callers, 32),
			cell(rival.Second, rival.Stream, 0), cell(rival.None, rival.Stream, 0),
		},
	}
}

// Goal: each peer folds the same events to the same states, whatever door they come
// through, and finds them again when it is opened another way.
func TestEveryPeerDoesTheJob(t *testing.T) {
	for _, r := range rival.Rivals() {
		t.Run(r.Name, func(t *testing.T) {
			if why := missing(r); why != "" {
				t.Skip(why)
			}
			turn := small(t)
			turn.Cells = (&plan{cells: turn.Cells}).cellsOf(r)
			o := turn.takeWith(r)
			if err := o.err(); err != nil {
				t.Fatal(err)
			}
			if len(o.Measured) != len(turn.Cells) {
				t.Errorf("%d of %d cells were measured", len(o.Measured), len(turn.Cells))
			}
			for _, m := range o.Measured {
				if m.Events < 300 || m.Latency.Max == 0 {
					t.Errorf("%+v", m)
				}
			}
			for _, c := range o.Checks {
				if !c.PerKey || c.Events < c.Want || c.Want == 0 {
					t.Errorf("%+v", c)
				}
			}
			if len(o.Checks) == 0 && !r.Forgets {
				t.Error("nothing was checked")
			}
		})
	}
}

// spoiled is a peer that is not what it says.
type spoiled struct {
	rival.Store
	spoil func(batch limit.Stream) limit.Stream
}

func (s spoiled) Lane(index int) (rival.Lane, error) {
	l, err := s.Store.Lane(index)
	return spoiledLane{l, s.spoil}, err
}

type spoiledLane struct {
	rival.Lane
	spoil func(batch limit.Stream) limit.Stream
}

func (l spoiledLane) Apply(batch limit.Stream) error { return l.Lane.Apply(l.spoil(batch)) }

func TestAPeerThatMiscountsIsCaught(t *testing.T) {
	handA, _ := rival.Find([]string{"handa"})
	for name, c := range map[string]struct {
		keys  uint64
		spoil func(batch limit.Stream) limit.Stream
	}{
		"loses an event":              {200, func(b limit.Stream) limit.Stream { return limit.Stream{Keys: b.Keys[1:], Events: b.Events[1:]} }},
		"loses one of very many keys": {job.PerKeyMax + 1, func(b limit.Stream) limit.Stream { return limit.Stream{Keys: b.Keys[1:], Events: b.Events[1:]} }},
		"doubles an event": {200, func(b limit.Stream) limit.Stream {
			return limit.Stream{Keys: append(slices.Clone(b.Keys), b.Keys[0]), Events: append(slices.Clone(b.Events), b.Events[0])}
		}},
		"takes a key for another": {200, func(b limit.Stream) limit.Stream {
			keys := slices.Clone(b.Keys)
			keys[0] = keys[len(keys)-1]
			return limit.Stream{Keys: keys, Events: b.Events}
		}},
		"exchanges events": {200, func(b limit.Stream) limit.Stream {
			events := slices.Clone(b.Events)
			slices.Reverse(events)
			return limit.Stream{Keys: b.Keys, Events: events}
		}},
	} {
		r := *handA[0]
		open := r.Open
		r.Open = func(conf rival.Config) (rival.Store, error) {
			s, err := open(conf)
			return spoiled{s, c.spoil}, err
		}
		turn := small(t)
		turn.Job.Keys, turn.Cells = c.keys, turn.Cells[3:]
		if o := turn.takeWith(&r); o.Failed != "" || o.err() == nil {
			t.Errorf("a peer that %s came through: %+v", name, o)
		}
	}
}

func TestATurnTakesPlaceInAChild(t *testing.T) {
	turn := small(t)
	turn.Rival, turn.Cells = "keyfold", turn.Cells[4:]
	o, err := inChild(t.Context(), turn, time.Minute)
	if err != nil || o.err() != nil || len(o.Measured) != 1 || len(o.Checks) != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	turn.Rival = "nobody"
	if o, err = inChild(t.Context(), turn, time.Minute); err != nil || o.err() == nil {
		t.Errorf("a peer that is not there took its turn: %+v, %v", o, err)
	}
}

// Goal: every peer that keeps its states is killed under load and opened again, and what
// Keyfold and the stores that write through the page cache had acknowledged is there.
func TestEveryPeerIsKilledAndOpenedAgain(t *testing.T) {
	p, err := (&flags{Keys: 500, Dist: "zipf:0.99", Seed: 7, Events: 3000, Rounds: 1, Duration: 50 * time.Millisecond, Kills: 1}).plan()
	if err != nil {
		t.Fatal(err)
	}
	kills, err := p.kills(t.Context(), t.TempDir(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range p.killRows(kills, origin{}) {
		if r.Failed != "" || r.Recovery.Keys != 500 || r.Recovery.Events == 0 || r.Verify.Wrong > 0 || r.DiskBytes == 0 {
			t.Errorf("%s: %q, %+v, %+v", r.Peer, r.Failed, r.Recovery, r.Verify)
		}
		if strings.HasPrefix(r.Peer, "keyfold") && !r.Verify.OK {
			t.Errorf("%s: %+v", r.Peer, r.Verify)
		}
	}
	var b strings.Builder
	table(&b, p.killRows(kills, origin{}))
	for _, want := range []string{"of them lost", "keyfold", "pebble", "handc"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "limit") || strings.Contains(b.String(), "keyfold-batch") {
		t.Errorf("killed what has nothing to recover, or something twice:\n%s", b.String())
	}
	t.Log(b.String())
}

// Goal: a peer that takes too long is named and left out, and nothing else fails.
func TestAPeerThatTakesTooLongIsNamedAndLeftOut(t *testing.T) {
	p, err := (&flags{Keys: 10, Rounds: 2, Duration: time.Hour, Ack: []string{"none"}, Peers: []string{"handa"}, Patience: 200 * time.Millisecond}).plan()
	if err != nil {
		t.Fatal(err)
	}
	rounds, err := p.rounds(t.Context(), t.TempDir())
	if err != nil || len(p.rows(rounds, origin{})) != 0 || len(p.skipped) != 1 || !strings.Contains(p.skipped[0], "--patience") {
		t.Errorf("%v, %v", p.skipped, err)
	}
}

func TestWhatIsMissingIsSkippedInWords(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	p, err := (&flags{Keys: 10, Rounds: 1, Duration: time.Second}).plan()
	if err != nil {
		t.Fatal(err)
	}
	if len(p.skipped) != 2 || !strings.Contains(p.skipped[0], "apt-get install redis-server") {
		t.Errorf("%q", p.skipped)
	}
	for _, r := range p.peers {
		if strings.HasPrefix(r.Name, "redis") {
			t.Errorf("%s is not skipped", r.Name)
		}
	}
}

func TestFlagsAreRefusedInWords(t *testing.T) {
	for want, args := range map[string][]string{
		"--list":             {"--peers", "nobody"},
		"100000000":          {"--keys", "200M"},
		"rounds":             {"--rounds", "0", "--kills", "0"},
		"distribution":       {"--dist", "normal"},
		"none, second or":    {"--ack", "maybe"},
		"window or callers":  {"--doors", "stream"},
		"--in-flight must":   {"--in-flight", "0"},
		"more than":          {"--duration", "0s"},
		"--kills must":       {"--kills=-1"},
		"--patience must":    {"--patience=-1s"},
		"not a number such ": {"--keys", "many"},
	} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		stderr := os.Stderr
		os.Stderr = write
		code := start(t.Context(), args)
		os.Stderr = stderr
		said := make([]byte, 4096)
		_ = write.Close() // a pipe
		n, _ := read.Read(said)
		_ = read.Close() // the same
		if code != exitUsage || !strings.Contains(string(said[:n]), want) {
			t.Errorf("%q: code %d, %q", args, code, said[:n])
		}
	}
}

// Goal: rows have medians over the rounds, and ratios of what was measured in the same
// round.
func TestRowsHaveMediansAndPairedRatios(t *testing.T) {
	cell := drive.Cell{Sync: rival.None, Door: rival.Stream}
	peers, _ := rival.Find([]string{rival.Limit, rival.Engine})
	p := &plan{job: job.Spec{Keys: 10, Dist: "uniform", Seed: 3}, peers: peers, cells: []drive.Cell{cell}, count: 3}
	one := func(events uint64) outcome {
		m := drive.Measured{Cell: cell, Events: events, Seconds: 1, Usage: drive.Usage{Cores: 2, Device: 10 * events}}
		m.Latency.P99 = int64(events)
		return outcome{Measured: []drive.Measured{m}, Checks: []job.Check{{OK: true, PerKey: true, Keys: 10, Events: 5, Want: 5}}}
	}
	rows := p.rows([]round{{one(100), one(50)}, {one(1000), one(300)}, {one(40), one(30)}}, origin{command: "peers"})
	if len(rows) != 2 {
		t.Fatalf("%d rows", len(rows))
	}
	r := rows[1]
	if r.EventsPerSecond != 50 || r.RatioToLimit != 0.5 || r.RatioToKeyfold != 1 || r.Latency.P99 != 50 || r.DevicePerEvent != 10 || r.Events != 380 {
		t.Errorf("%+v", r)
	}
	if !r.Verify.OK || r.Seed != 3 || r.Durability() == "" || r.Command == "" {
		t.Errorf("%+v", r)
	}
	name := filepath.Join(t.TempDir(), "rows.json")
	if err := writeRows(name, rows); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var read struct{ Rows []report.Result }
	if err := json.Unmarshal(text, &read); err != nil || len(read.Rows) != 2 || read.Rows[1].EventsPerSecond != 50 {
		t.Errorf("%v\n%s", err, text)
	}
	var b strings.Builder
	table(&b, rows)
	for _, want := range []string{"keyfold", "of limit", "every key", "streamed"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestARowSaysWhatFailed(t *testing.T) {
	cell := drive.Cell{Sync: rival.None, Door: rival.Stream}
	peers, _ := rival.Find([]string{rival.Limit})
	p := &plan{peers: peers, cells: []drive.Cell{cell}}
	o := outcome{
		Measured: []drive.Measured{{Cell: cell, Events: 5, Seconds: 1}},
		Checks:   []job.Check{{Keys: 1, Events: 4, Want: 5, Wrong: 1, Example: "key x"}},
	}
	rows := p.rows([]round{{o}}, origin{})
	if len(rows) != 1 || rows[0].Verify.OK || rows[0].Verify.Lost != 1 || rows[0].Failed == "" || rows[0].checkWords() != "FAILED" {
		t.Errorf("%+v", rows)
	}
}

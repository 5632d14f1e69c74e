package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/drive"
	"github.com/keyfold/keyfold/bench/peers/job"
	"github.com/keyfold/keyfold/bench/peers/rival"
	"github.com/keyfold/keyfold/bench/report"
)

// A plan is what the flags come to on this machine.
type plan struct {
	job     job.Spec
	peers   []*rival.Rival
	skipped []string // in words
	cells   []drive.Cell
	count   int // of rounds
	// patience is how long a turn may take, killAfter how long a load about lasts that is
	// killed.
	patience, killAfter time.Duration
	slow                []bool // those that took longer, by peer
}

// Bounds of the flags.
const (
	keysMax   = 100_000_000
	roundsMax = 1000
	// drawnMin and drawnMax bound how many events are drawn ahead: so many that the caches
	// cannot know them, and 48 bytes of memory each.
	drawnMin = 2_000_000
	drawnMax = 16_000_000
	// eventsMax is what a measurement sends at most without --events.
	eventsMax = 1 << 40
)

func (f *flags) plan() (*plan, error) {
	p := &plan{count: f.Rounds, job: job.Spec{Keys: uint64(f.Keys), Dist: f.Dist, Seed: f.Seed}}
	p.job.Events = min(max(drawnMin, p.job.Keys), drawnMax)
	if f.Events > 0 {
		p.job.Events = min(p.job.Events, uint64(f.Events))
	}
	switch {
	case p.job.Keys < 1 || p.job.Keys > keysMax:
		return nil, fmt.Errorf("the count of keys must lie between 1 and %d, not %d", keysMax, p.job.Keys)
	case f.Rounds < 0 || f.Rounds > roundsMax || f.Rounds == 0 && f.Kills == 0:
		return nil, fmt.Errorf("the count of rounds must lie between 1 and %d, or be 0 for kills alone, not %d", roundsMax, f.Rounds)
	case f.Kills < 0 || f.Kills > roundsMax:
		return nil, fmt.Errorf("--kills must lie between 0 and %d, not %d", roundsMax, f.Kills)
	case f.Patience < 0:
		return nil, fmt.Errorf("--patience must be a time, not %v", f.Patience)
	case f.Duration <= 0:
		return nil, fmt.Errorf("a measurement takes more than %v", f.Duration)
	}
	if _, err := job.Draw(job.Spec{Keys: p.job.Keys, Dist: f.Dist, Events: 1}, 1); err != nil {
		return nil, err
	}
	if err := errors.Join(p.choose(f.Peers), p.addCells(f)); err != nil {
		return nil, err
	}
	p.killAfter, p.slow = f.Duration, make([]bool, len(p.peers))
	if p.patience = f.Patience; p.patience == 0 {
		p.patience = p.turnTime()
	}
	return p, nil
}

// choose finds the peers, and leaves out those that cannot run here.
func (p *plan) choose(names []string) error {
	all := rival.Rivals()
	if len(names) > 0 {
		var unknown []string
		if all, unknown = rival.Find(names); len(unknown) > 0 {
			return fmt.Errorf("there is no peer %s; --list says which there are", strings.Join(unknown, ", "))
		}
	}
	for _, r := range all {
		if why := missing(r); why != "" {
			p.skipped = append(p.skipped, r.Name+": "+why)
			continue
		}
		p.peers = append(p.peers, r)
	}
	return nil
}

// addCells puts the cells that leave most behind last: unsynced writes would slow down
// the syncs after them.
func (p *plan) addCells(f *flags) error {
	for _, a := range f.Ack {
		if !slices.Contains([]string{string(rival.None), string(rival.Second), string(rival.Always)}, a) {
			return fmt.Errorf("unknown --ack %q: none, second or always", a)
		}
	}
	events := uint64(f.Events)
	if events == 0 {
		events = eventsMax
	}
	if slices.Contains(f.Ack, string(rival.Always)) {
		for _, n := range f.InFlight {
			if n < 1 || n > drive.InFlightMax {
				return fmt.Errorf("--in-flight must lie between 1 and %d, not %d", drive.InFlightMax, n)
			}
			for _, d := range f.Doors {
				if door := rival.Door(d); door != rival.Window && door != rival.Callers {
					return fmt.Errorf("unknown --doors %q: window or callers", d)
				}
				p.cells = append(p.cells, drive.Cell{Sync: rival.Always, Door: rival.Door(d), InFlight: n, Events: events, Duration: f.Duration * 2 / 5})
			}
		}
	}
	if slices.Contains(f.Ack, string(rival.Second)) {
		p.cells = append(p.cells, drive.Cell{Sync: rival.Second, Door: rival.Stream, Events: events, Duration: f.Duration * 3 / 2})
	}
	if slices.Contains(f.Ack, string(rival.None)) {
		p.cells = append(p.cells, drive.Cell{Sync: rival.None, Door: rival.Stream, Events: events, Duration: f.Duration})
	}
	return nil
}

// cellsOf are the cells that a rival is there for.
func (p *plan) cellsOf(r *rival.Rival) []drive.Cell {
	return slices.DeleteFunc(slices.Clone(p.cells), func(c drive.Cell) bool {
		return r.Only != "" && c.Sync != r.Only || len(r.Doors) > 0 && !slices.Contains(r.Doors, c.Door)
	})
}

// input is the job in words.
func (p *plan) input() string {
	return fmt.Sprintf("%s keys, %s, %d B", report.Count(p.job.Keys), p.job.Dist, limit.EventBytes)
}

// turnTime is how long a turn may take before it is taken for stuck: its measurements,
// and for each key what the slowest store needs to be filled, opened again and read.
func (p *plan) turnTime() time.Duration {
	total := 2 * time.Minute
	for _, c := range p.cells {
		total += 4 * c.Duration
	}
	return total + time.Duration(p.job.Keys)*100*time.Microsecond
}

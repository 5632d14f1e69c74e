package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/keyfold/keyfold/engine"
)

// verifyCommand says whether a store is whole.
type verifyCommand struct {
	Dir  string `arg:"" type:"path" help:"The directory of the store."`
	JSON bool   `name:"json" help:"Write what was found as JSON."`
}

// Run verifies and reports. What is damaged makes the exit code.
func (c *verifyCommand) Run(p *process) error {
	v, err := engine.Verify(p.ctx, c.Dir, engine.VerifyOptions{})
	if err != nil {
		return err
	}
	out := &printer{to: p.stdout}
	if c.JSON {
		out.document(judged(v))
	} else {
		describe(out, v)
		faults(out, v)
		verdict(out, v)
	}
	return out.outcome(code(v))
}

// judgement is a verification with its verdict, in JSON.
type judgement struct {
	Whole   bool   `json:"whole"`
	Refused bool   `json:"refused"`
	Why     string `json:"why,omitempty"`
	*engine.Verification
}

func judged(v *engine.Verification) judgement {
	j := judgement{Whole: v.Whole(), Verification: v}
	if err := v.Refused(); err != nil {
		j.Refused, j.Why = true, err.Error()
	}
	return j
}

// code is the exit code of what was found.
func code(v *engine.Verification) int {
	switch {
	case v.Refused() != nil:
		return exitRefused
	case !v.Whole():
		return exitDamaged
	}
	return exitFine
}

// describe says what is in a store.
func describe(out *printer, v *engine.Verification) {
	if v.Store == "" {
		return // there was no manifest to read it from
	}
	out.line("store", "%s, format %d, in %s", v.Store, v.Format, v.Dir)
	if !v.Ready {
		out.line("", "it was being created: nothing was acknowledged, and Open begins anew")
		return
	}
	former := ""
	if v.Former != 0 {
		former = fmt.Sprintf("; layout %d before it is still there", v.Former)
	}
	out.line("", "%s, layout %d of %s%s", counted(uint64(v.Partitions), "partition", "partitions"), v.Layout,
		counted(uint64(len(v.Shards)), "shard", "shards"), former)
	for _, t := range v.Tables {
		whose := ""
		if strings.HasPrefix(t.Name, "keyfold.") { // which no table of a program may have
			whose = "; what the engine keeps for itself"
		}
		if t.Dropped {
			out.line("table", "%s, version %d: dropped; what files still have of it goes with them", t.Name, t.Version)
			continue
		}
		out.line("table", "%s, version %d: %s in the snapshots, %s behind them%s", t.Name, t.Version,
			counted(t.Keys, "key", "keys"), counted(t.Events, "event", "events"), whose)
		if beside := besides(&t); beside != "" {
			out.line("  and", "%s", beside)
		}
		out.line("  key", "%s", t.Key)
		out.line("  state", "%s", t.State)
		out.line("  event", "%s", t.Event)
	}
	for i := range v.Shards {
		describeShard(out, &v.Shards[i])
	}
}

// besides says what the snapshots have beside the keys of a table.
func besides(t *engine.VerifiedTable) string {
	var parts []string
	for _, part := range []struct {
		n         uint64
		one, many string
	}{
		{t.Timed, "key with times", "keys with times"}, {t.IDs, "id of an event", "ids of events"},
		{t.Origins, "position of a stream", "positions of streams"},
	} {
		if part.n > 0 {
			parts = append(parts, counted(part.n, part.one, part.many))
		}
	}
	return strings.Join(parts, ", ")
}

func describeShard(out *printer, s *engine.VerifiedShard) {
	from := "no snapshot"
	if s.Snapshot != 0 {
		from = fmt.Sprintf("snapshot %d", s.Snapshot)
	}
	clean := ""
	if s.Clean {
		clean = "; it was closed, so that nothing is replayed"
	}
	out.line(fmt.Sprintf("shard %d", s.Shard), "%s, %s in all; it opens from %s%s", counted(uint64(s.Partitions), "partition", "partitions"),
		counted(s.Last, "event", "events"), from, clean)
	for _, n := range s.Snapshots {
		whole := ""
		if !n.Whole {
			whole = ", DAMAGED"
		}
		out.line("  snapshot", "%d: %s, %s, written %s%s", n.Number, counted(n.Entries, "entry", "entries"), size(int64(n.Bytes)), moment(n.Written, time.Time{}), whole)
	}
	for _, g := range s.Generations {
		var notes []string
		if g.Sealed {
			notes = append(notes, "sealed")
		}
		if g.TornBytes > 0 {
			notes = append(notes, size(g.TornBytes)+" torn")
		}
		switch {
		case g.Kept:
			notes = append(notes, "kept as history")
		case !g.Needed:
			notes = append(notes, "older than the snapshot")
		}
		out.line("  log", "%d: %s in %s, %s, %s to %s%s", g.Number, counted(g.Events, "event", "events"), counted(g.Frames, "frame", "frames"),
			size(g.Bytes), moment(g.First, time.Time{}), moment(g.Last, g.First), prefixed("; ", strings.Join(notes, ", ")))
	}
}

// prefixed is text behind prefix, or nothing.
func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}

// faults lists what is not as it should be, worst first.
func faults(out *printer, v *engine.Verification) {
	for i := range v.Faults {
		f := &v.Faults[i]
		of := ""
		if f.Shard >= 0 {
			of = fmt.Sprintf(" (shard %d)", f.Shard)
		}
		at := f.Path
		if f.Offset != 0 || f.Bytes != 0 {
			at += fmt.Sprintf(" at offset %d", f.Offset)
		}
		if f.Sequence != 0 {
			at += fmt.Sprintf(", sequence %d", f.Sequence)
		}
		out.line(f.Meaning.String(), "%s%s: %s", at, of, f.Text)
		out.line("", "%s", f.Consequence())
	}
}

// verdict is the last line.
func verdict(out *printer, v *engine.Verification) {
	events := uint64(0)
	for _, t := range v.Tables {
		events += t.Events
	}
	switch refused := v.Refused(); {
	case refused != nil:
		out.line("verdict", "DAMAGED: Open refuses it. Keep the directory and look for a copy; keyfold salvage says what could be kept without one")
	case !v.Whole():
		out.line("verdict", "damaged, but Open takes it, and replays %s. Nothing is lost yet: open it and let it take a snapshot", counted(events, "event", "events"))
	default:
		out.line("verdict", "whole; Open takes it, and replays %s", counted(events, "event", "events"))
	}
	if !v.Locked {
		out.line("", "there was no lock to take: if a program had it open meanwhile, this says nothing")
	}
}

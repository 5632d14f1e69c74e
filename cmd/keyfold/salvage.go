package main

import (
	"fmt"

	"github.com/keyfold/keyfold/engine"
)

// salvageCommand makes a new store of what is whole of a damaged one.
type salvageCommand struct {
	Dir   string `arg:"" type:"path" help:"The directory of the damaged store. It is not changed."`
	To    string `type:"path" placeholder:"NEWDIR" help:"The directory of the new store, which must not exist."`
	Write bool   `help:"Write the new store. Without it only what would be kept and dropped is said."`
	JSON  bool   `name:"json" help:"Write what is kept and dropped as JSON."`
}

// Run salvages, or says what that would come to.
func (c *salvageCommand) Run(p *process) error {
	to := c.To
	switch {
	case c.Write && to == "":
		return usage("--write needs --to NEWDIR: the old store is never changed")
	case !c.Write:
		to = ""
	}
	found, err := engine.Salvage(p.ctx, c.Dir, to, engine.VerifyOptions{})
	if err != nil {
		return err
	}
	out := &printer{to: p.stdout}
	if c.JSON {
		out.document(found)
	} else {
		salvaged(out, found)
	}
	if len(found.Losses)+len(found.Notes) > 0 {
		return out.outcome(exitDamaged)
	}
	return out.outcome(exitFine)
}

// salvaged says what is kept and what is not.
func salvaged(out *printer, s *engine.Salvaged) {
	for _, note := range s.Notes {
		out.line("met", "%s", note)
	}
	for _, l := range s.Losses {
		switch {
		case l.Kept == 0:
			out.line("loses", "partition %d: all of its %s", l.Partition, counted(l.Known, "event", "events"))
		default:
			out.line("loses", "partition %d: events %s to %s; its first %s are kept", l.Partition, number(l.Kept+1), number(l.Known), number(l.Kept))
		}
	}
	loss := "a loss"
	if len(s.Notes) > 0 {
		loss = "a loss that anything speaks of"
	}
	out.line("keeps", "%s of %s without %s, %s", number(uint64(s.Partitions-len(s.Losses))), counted(uint64(s.Partitions), "partition", "partitions"),
		loss, counted(s.Events, "event", "events"))
	if len(s.Losses) > 0 {
		out.line("", "with events goes what they made: keys and states, timers, ids of events, positions of streams and readers. A partition is then as behind the last event that is kept")
	}
	if s.Lost > 0 {
		out.line("", "%s are gone that something in the store speaks of", counted(s.Lost, "event", "events"))
	}
	if len(s.Notes) > 0 {
		out.line("", "behind damage in a log there may have been more events, of any partition: what lies there cannot be trusted, and is not counted")
	}
	if s.To == "" {
		out.line("", "nothing was written; --write --to NEWDIR makes a new store of what is kept")
		return
	}
	out.line("", "%s", fmt.Sprintf("it is a store of its own now, in %s, which opens; %s was not changed", s.To, s.Dir))
}

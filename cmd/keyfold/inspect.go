package main

import (
	"errors"
	"time"

	"github.com/keyfold/keyfold/engine"
)

// inspectCommand shows what a store holds.
type inspectCommand struct {
	Dir   string  `arg:"" type:"path" help:"The directory of the store."`
	Table string  `placeholder:"NAME" help:"Show keys of this table, with their states in the newest snapshot."`
	Key   *string `placeholder:"KEY" help:"Only this key: text or a number as it is, a struct as JSON, a codec's bytes in hexadecimal."`
	Limit int     `default:"20" placeholder:"N" help:"Show at most so many keys or events; 0: all (default 20)."`
	Log   bool    `help:"Show the events in the logs, of all tables or of --table and --key."`
	JSON  bool    `name:"json" help:"Write JSON; keys and events one object a line."`
}

// Run shows.
func (c *inspectCommand) Run(p *process) error {
	switch {
	case c.Key != nil && c.Table == "":
		return usage("--key needs --table: keys are of a table")
	case c.Limit < 0:
		return usage("--limit must not be negative")
	}
	out := &printer{to: p.stdout}
	if c.Table == "" && !c.Log {
		return c.whole(p, out)
	}
	i, err := engine.Inspect(c.Dir, engine.VerifyOptions{})
	if err != nil {
		return err
	}
	if c.Log {
		err = c.log(p, out, i)
	} else {
		err = c.keys(p, out, i)
	}
	return errors.Join(err, i.Close(), out.err)
}

// whole shows what verify shows, without the judgement.
func (c *inspectCommand) whole(p *process, out *printer) error {
	v, err := engine.Verify(p.ctx, c.Dir, engine.VerifyOptions{})
	if err != nil {
		return err
	}
	if c.JSON {
		out.document(v)
	} else if describe(out, v); len(v.Faults) > 0 {
		out.line("faults", "%d; keyfold verify says which", len(v.Faults))
	}
	return out.outcome(code(v))
}

// key is what the engine is asked for: all keys if none was named. To it nothing is all
// keys, and the empty one is written as its JSON.
func (c *inspectCommand) key() string {
	switch {
	case c.Key == nil:
		return ""
	case *c.Key == "":
		return `""`
	}
	return *c.Key
}

// keys shows keys of a table.
func (c *inspectCommand) keys(p *process, out *printer, i *engine.Inspector) error {
	found, err := i.Keys(p.ctx, c.Table, c.key(), c.Limit)
	if err != nil {
		return err
	}
	for _, k := range found.Found {
		if c.JSON {
			out.object(k)
		} else {
			out.line("key", "%s: %s%s", k.Key, k.State, times(&k))
		}
	}
	if c.JSON {
		return nil
	}
	if c.Key == nil {
		out.line("", "%d of %s in the snapshots", len(found.Found), counted(found.Snapshot, "key", "keys"))
	} else if len(found.Found) == 0 {
		out.line("", "the snapshots do not have this key")
	}
	switch {
	case c.Key != nil && found.KeyEvents > 0:
		out.line("", "the logs have %s of it behind the snapshot; --log shows them, and only the program can fold them", counted(found.KeyEvents, "event", "events"))
	case c.Key == nil && found.Events > 0:
		out.line("", "the logs have %s behind the snapshots, which only the program can fold; a store that was closed has none", counted(found.Events, "event", "events"))
	}
	return nil
}

// times says what is kept of the time of a key.
func times(k *engine.KeyView) string {
	text := ""
	for _, one := range []struct {
		what string
		at   time.Time
	}{{"timer at", k.Timer}, {"last event at", k.Touched}, {"made at", k.Made}} {
		if !one.at.IsZero() {
			text += "; " + one.what + " " + moment(one.at, time.Time{})
		}
	}
	return text
}

// log shows events.
func (c *inspectCommand) log(p *process, out *printer, i *engine.Inspector) error {
	shown := 0
	var failed error
	for e, err := range i.Log(p.ctx, c.Table, c.key()) {
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if c.Limit > 0 && shown == c.Limit {
			if !c.JSON {
				out.line("", "and more; --limit 0 shows all")
			}
			break
		}
		shown++
		if c.JSON {
			out.object(e)
			continue
		}
		if e.Key == nil {
			out.line(e.Kind, "%s partition %d, sequence %d, epoch %d (shard %d, generation %d, frame %d)", moment(e.Time, time.Time{}), e.Partition, e.Sequence, e.Epoch, e.Shard, e.Generation, e.Frame)
			continue
		}
		out.line("event", "%s %s %s: %s (partition %d, sequence %d)", moment(e.Time, time.Time{}), e.Table, e.Key, e.Event, e.Partition, e.Sequence)
	}
	if shown == 0 && failed == nil && !c.JSON {
		out.line("", "there is no such event in the logs; what was snapshotted may be gone from them")
	}
	return failed
}

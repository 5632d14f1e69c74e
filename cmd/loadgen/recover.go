package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/report"
)

// recoverCommand opens what a run left.
type recoverCommand struct {
	Dir    string `arg:"" type:"path" help:"The --dir of the run."`
	In     string `placeholder:"FILE" type:"path" help:"Where the file of the run is now, if it was moved, or was standard input."`
	Shards int    `help:"Open with so many shards; by default as many as the run had."`
	JSON   string `name:"json" type:"path" placeholder:"FILE" help:"Store the result as JSON."`
}

// Run opens, reports, verifies and closes.
func (c *recoverCommand) Run(p *process) (err error) {
	d, err := readDescription(c.Dir)
	if err != nil {
		return err
	}
	if err := errors.Join(locate(d, c.In), canStoreJSON(c.JSON)); err != nil {
		return err
	}
	r := &report.Result{Schema: report.Schema, Started: time.Now(), Command: p.command()}
	r.Load = report.Load{Input: d.words(), EventBytes: d.Store.EventBytes, Door: "none"}
	if d.Generated != nil {
		r.Seed = d.Generated.Seed
	}
	d.Store.Dir = filepath.Join(c.Dir, storeName)
	if c.Shards != 0 {
		d.Store.Shards = c.Shards
	}
	if err := d.Store.Check(); err != nil {
		return usage("%w", err)
	}
	if entries, err := os.ReadDir(d.Store.Dir); err != nil || len(entries) == 0 {
		return usage("%s holds no store", d.Store.Dir)
	}
	r.Machine, _ = machine.Look(c.Dir) // a full disk has no room for the probe
	t, err := p.open(p.ctx, d.Store)
	if err != nil {
		return err
	}
	return errors.Join(c.check(p, d, r, t), t.Close(context.WithoutCancel(p.ctx)))
}

// locate finds the file of a run, which is now at in if that is not "".
func locate(d *description, in string) error {
	switch {
	case d.File == nil && in != "":
		return usage("--in: the events of this run were generated, not read from a file")
	case d.File != nil && in != "":
		d.File.Path = in
	case d.File != nil && d.File.Path == "-":
		return usage("the run read standard input; --in must name a file with the same events")
	}
	if d.File != nil {
		if _, err := os.Stat(d.File.Path); err != nil {
			return usage("the events of the run: %w; --in names their file if it was moved", err)
		}
	}
	return nil
}

// check reports and verifies.
func (c *recoverCommand) check(p *process, d *description, r *report.Result, t bench.Target) error {
	recovery := t.Recovery()
	r.Recovery = &recovery
	r.Store = report.Store{Ack: d.Store.Ack, Sync: d.Store.Sync, Shards: t.Shards()}
	if d.mortal() {
		r.End(p.stdout)
		fmt.Fprintf(p.stdout, "%-10snot verified: keys of this store come to their end, and what they were then is known to nobody any more\n", "note")
		return writeResult(r, c.JSON)
	}
	f, err := verify(p, d, t)
	if err != nil {
		return err
	}
	r.Verify = report.VerifyOf(f)
	r.End(p.stdout)
	if !d.Finished {
		fmt.Fprintf(p.stdout, "%-10sthe run had not finished: each key was checked to hold the first events of its stream, however many\n", "note")
	}
	return errors.Join(writeResult(r, c.JSON), failed(r.Verify))
}

// writeResult stores a result, if name is not "".
func writeResult(r *report.Result, name string) error {
	if name == "" {
		return nil
	}
	return r.WriteFile(name)
}

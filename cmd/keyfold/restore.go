package main

import (
	"io"
	"os"

	"github.com/keyfold/keyfold/engine"
)

// restoreCommand makes a store of a backup.
type restoreCommand struct {
	Backup string `arg:"" placeholder:"FILE" help:"The backup that Engine.Backup has written; - for standard input."`
	Dir    string `arg:"" type:"path" help:"The directory of the new store, which must be empty or not exist."`
	JSON   bool   `name:"json" help:"Write what the new store holds as JSON, as verify does."`
}

// Run restores, and says what the new store holds.
func (c *restoreCommand) Run(p *process) error {
	var from io.Reader = p.stdin
	if c.Backup != "-" {
		f, err := os.Open(c.Backup)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // it was only read
		from = f
	}
	if err := engine.Restore(p.ctx, from, c.Dir, engine.Options{}); err != nil {
		return err
	}
	v, err := engine.Verify(p.ctx, c.Dir, engine.VerifyOptions{})
	if err != nil {
		return err
	}
	out := &printer{to: p.stdout}
	if c.JSON {
		out.document(judged(v))
	} else {
		describe(out, v)
		verdict(out, v)
	}
	return out.outcome(code(v))
}

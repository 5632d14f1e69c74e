package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/keyfold/keyfold/bench/peers/drive"
	"github.com/keyfold/keyfold/bench/peers/rival"
)

// A round is the outcomes of all peers, in the order of the plan.
type round []outcome

// rounds has each peer take its turn in each round, each round beginning with another
// one. A turn that fails does not end the others; the error names those that did, with
// the exit code of a wrong result if all that failed is wrong.
func (p *plan) rounds(ctx context.Context, dir string) ([]round, error) {
	var all []round
	var wrong, broken []error
	for n := range p.count {
		this := make(round, len(p.peers))
		for i := range p.peers {
			at := (i + n) % len(p.peers)
			if p.slow[at] {
				continue
			}
			this[at] = p.turn(ctx, p.peers[at], dir)
			if ctx.Err() != nil {
				return all, ctx.Err()
			}
			err := this[at].err()
			tell(n+1, p.count, p.peers[at], &this[at], err)
			switch {
			case this[at].slow:
				p.tooSlow(at)
				this[at] = outcome{}
			case this[at].Failed != "":
				broken = append(broken, fmt.Errorf("%s: %w", p.peers[at].Name, err))
			case err != nil:
				wrong = append(wrong, fmt.Errorf("%s: wrong result: %w", p.peers[at].Name, err))
			}
		}
		all = append(all, this)
	}
	err := errors.Join(append(broken, wrong...)...)
	if len(broken) == 0 && err != nil {
		err = &exitError{exitVerify, err}
	}
	return all, err
}

// tooSlow leaves a peer out from here on.
func (p *plan) tooSlow(at int) {
	p.slow[at] = true
	p.skipped = append(p.skipped, fmt.Sprintf("%s: it takes longer than %v (--patience)", p.peers[at].Name, p.patience))
}

// tell says in one line what came of a turn.
func tell(n, of int, r *rival.Rival, o *outcome, err error) {
	var rates []string
	for i := range o.Measured {
		rates = append(rates, short(o.Measured[i].PerSecond()))
	}
	said := "checked"
	if len(o.Checks) == 0 {
		said = "nothing to check"
	}
	if err != nil {
		said = "FAILED: " + err.Error()
	}
	fmt.Printf("round %d of %d  %-14s %s  %s\n", n, of, r.Name, strings.Join(rates, " "), said)
}

// turn has a peer take its turn in a process of its own, and removes what it leaves.
func (p *plan) turn(ctx context.Context, r *rival.Rival, dir string) outcome {
	t := turn{Rival: r.Name, Job: p.job, Cells: p.cellsOf(r), Dir: filepath.Join(dir, r.Name)}
	if len(t.Cells) == 0 {
		return outcome{}
	}
	o, err := inChild(ctx, &t, p.patience)
	o.failed(errors.Join(err, os.RemoveAll(t.Dir), drive.Calm(dir)))
	return o
}

// saidMax is how much of what a child says on its way to an error is kept.
const saidMax = 2 << 10

// inChild runs this program again for a turn. The child ends when ctx does.
func inChild(ctx context.Context, t *turn, most time.Duration) (o outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	c, err := newChildProcess(ctx, t)
	if err != nil {
		return o, err
	}
	text, err := c.cmd.Output()
	switch {
	case ctx.Err() != nil:
		return o, c.failed(ctx.Err())
	case err != nil:
		return o, c.failed(err)
	}
	return o, json.Unmarshal(text, &o)
}

// childProcess is this program, to be started again for a turn. It ends with the context,
// and with this process.
type childProcess struct {
	cmd   *exec.Cmd
	rival string
	said  bytes.Buffer
}

func newChildProcess(ctx context.Context, t *turn) (*childProcess, error) {
	orders, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	name, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &childProcess{cmd: exec.CommandContext(ctx, name, "--child", string(orders)), rival: t.Rival}
	c.cmd.Env = append(os.Environ(), childMark+"=1")
	c.cmd.Stderr = &c.said
	_, err = c.cmd.StdinPipe() // never written to: Wait closes it, or the end of this process
	return c, err
}

// failed is the error of a child, with what it said last.
func (c *childProcess) failed(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return &slowError{c.rival}
	}
	last := c.said.Bytes()
	return fmt.Errorf("the process of %s: %w: %s", c.rival, err, last[max(0, len(last)-saidMax):])
}

// slowError says that a peer took longer than it may.
type slowError struct{ rival string }

func (e *slowError) Error() string { return e.rival + " takes longer than --patience allows" }

// childMark tells a test binary that it is a child.
const childMark = "KEYFOLD_PEERS_CHILD"

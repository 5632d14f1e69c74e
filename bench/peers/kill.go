package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/keyfold/keyfold/bench/drill"
	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/drive"
	"github.com/keyfold/keyfold/bench/peers/job"
	"github.com/keyfold/keyfold/bench/peers/rival"
)

// An opening is what came of opening a store that was killed under load.
type opening struct {
	Seconds float64 `json:"seconds"`
	// RSSBytes is the memory of the process that holds the store when it is open, DiskBytes
	// the length of its files.
	RSSBytes  uint64     `json:"rss_bytes"`
	DiskBytes uint64     `json:"disk_bytes"`
	Survey    job.Survey `json:"survey"`
}

// loading is what a child that loads a store says when all keys are there and the load
// begins.
type loading struct {
	Processes []int  `json:"processes"`
	Failed    string `json:"failed,omitempty"`
}

// killedSync is how stores are opened that are to be killed: whoever acknowledges what
// the operating system has loses nothing.
const killedSync = rival.None

// recovers says that a peer is killed under load: those that hold nothing have nothing to
// recover, and those that are there for one door or sync recover as others do.
func recovers(r *rival.Rival) bool {
	return !r.Volatile && !r.Forgets && len(r.Doors) == 0 && r.Only == ""
}

// kills has each peer killed under load and opened again, so many times.
func (p *plan) kills(ctx context.Context, dir string, count int) (all [][]outcome, err error) {
	moments := rand.New(rand.NewPCG(p.job.Seed, uint64(count)))
	var errs []error
	for n := range count {
		this := make([]outcome, len(p.peers))
		for i, r := range p.peers {
			if !recovers(r) || p.slow[i] {
				continue
			}
			after := p.killAfter/2 + time.Duration(moments.Int64N(int64(p.killAfter)))
			this[i] = p.kill(ctx, r, dir, after)
			if ctx.Err() != nil {
				return all, ctx.Err()
			}
			tellKill(n+1, count, r, &this[i])
			if this[i].slow {
				p.tooSlow(i)
				continue
			}
			if r.Ours {
				errs = append(errs, this[i].promised(r))
			}
		}
		all = append(all, this)
	}
	return all, errors.Join(errs...)
}

// promised says what of Keyfold's promises a kill has broken, or is nil.
func (o *outcome) promised(r *rival.Rival) error {
	switch {
	case o.Failed != "":
		return fmt.Errorf("%s, killed: %s", r.Name, o.Failed)
	case !o.Opened.Survey.OK || o.Opened.Survey.Lost > 0:
		return &exitError{exitVerify, fmt.Errorf("%s, killed: %d events lost, %d keys wrong: %s", r.Name, o.Opened.Survey.Lost, o.Opened.Survey.Wrong, o.Opened.Survey.Example)}
	}
	return nil
}

// tellKill says in one line what came of a kill.
func tellKill(n, of int, r *rival.Rival, o *outcome) {
	said := "FAILED: " + o.Failed
	if s := o.Opened; o.Failed == "" {
		said = fmt.Sprintf("open after %.3f s, %d acknowledged events lost, %d keys wrong", s.Seconds, s.Survey.Lost, s.Survey.Wrong)
	}
	fmt.Printf("kill %d of %d   %-14s %s\n", n, of, r.Name, said)
}

// kill has a child fill and load a store, kills it, and has another one open it.
func (p *plan) kill(ctx context.Context, r *rival.Rival, dir string, after time.Duration) (o outcome) {
	t := turn{Rival: r.Name, Job: p.job, Dir: filepath.Join(dir, r.Name), Marks: filepath.Join(dir, r.Name+".marks")}
	err := p.loadAndKill(ctx, &t, after)
	if err == nil {
		err = drive.Calm(dir)
	}
	if err == nil {
		t.Killed, err = killedLanes(t.Marks, r.Lanes(killedSync))
	}
	if err == nil {
		o, err = inChild(ctx, &t, p.patience)
	}
	o.failed(errors.Join(err, os.RemoveAll(t.Dir), os.RemoveAll(t.Marks), drive.Calm(dir)))
	return o
}

func killedLanes(marks string, lanes int) (list []job.Sent, err error) {
	read, err := drill.ReadMarks(marks, lanes)
	for _, m := range read {
		list = append(list, job.Sent{Sent: m.Sent, Acked: m.Acked})
	}
	if err == nil && len(list) == 0 {
		err = errors.New("nothing was sent")
	}
	return list, err
}

// loadAndKill returns when the child is gone, with the processes that it had.
func (p *plan) loadAndKill(ctx context.Context, t *turn, after time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	c, err := newChildProcess(ctx, t)
	if err != nil {
		return err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := c.cmd.Start(); err != nil {
		return err
	}
	var l loading
	err = json.NewDecoder(out).Decode(&l)
	if err == nil && l.Failed == "" {
		select {
		case <-time.After(after):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	_ = c.cmd.Process.Kill() // it may have ended: then it has failed
	_ = c.cmd.Wait()         // it was killed
	switch {
	case ctx.Err() != nil:
		return c.failed(ctx.Err())
	case l.Failed != "":
		return errors.New(l.Failed)
	case err != nil:
		return c.failed(err)
	}
	return ended(l.Processes)
}

// ended kills processes that a child has left, and waits until they are gone.
func ended(processes []int) error {
	for _, pid := range processes {
		one, err := os.FindProcess(pid)
		if err != nil {
			continue // it is gone
		}
		_ = one.Kill() // the kernel has killed it with the child, where it can
		for end := time.Now().Add(serverPatient); drive.Lives(pid); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				return fmt.Errorf("process %d does not end", pid)
			}
		}
	}
	return nil
}

const serverPatient = 10 * time.Second

// load fills the store, says so, and sends until the process is killed.
func (t *taker) load(out *json.Encoder) (err error) {
	lanes := t.rival.Lanes(killedSync)
	if t.parts, err = job.Draw(t.turn.Job, lanes); err != nil {
		return err
	}
	store, err := t.rival.Open(rival.Config{Dir: t.turn.Dir, Keys: t.turn.Job.Keys, Sync: killedSync})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := t.fill(store, lanes); err != nil {
		return err
	}
	marks, err := drill.CreateMarks(t.turn.Marks, lanes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, marks.Close()) }()
	if err := out.Encode(loading{Processes: store.Processes()}); err != nil {
		return err
	}
	errs := make([]error, lanes)
	var group sync.WaitGroup
	for lane := range lanes {
		group.Go(func() { errs[lane] = sendForEver(store, t.parts[lane], lane, marks) })
	}
	group.Wait()
	return errors.Join(errs...)
}

// killedEvents is a batch of a load that is killed. killedBatches are sent between two
// flushes: a lane that has several shards behind it knows of the rest only how much is
// acknowledged, not which events.
const (
	killedEvents  = 256
	killedBatches = 64
)

// sendForEver sends batches of a lane, and writes before each one what it has sent with
// it and up to where all was known to be acknowledged. It ends with an error.
func sendForEver(store rival.Store, part limit.Stream, lane int, marks *drill.Marks) error {
	door, err := store.Lane(lane)
	if err != nil {
		return err
	}
	sent, acked := uint64(0), uint64(0)
	for batches := 1; ; batches++ {
		batch := job.Next(part, sent, killedEvents)
		sent += uint64(len(batch.Keys))
		if err := errors.Join(marks.Set(lane, sent, acked), door.Apply(batch)); err != nil {
			return err
		}
		if batches%killedBatches == 0 {
			if err := door.Flush(); err != nil {
				return err
			}
		}
		if door.Settled() == sent {
			acked = sent
		}
	}
}

// survey opens a store that was killed, and looks at every key.
func (t *taker) survey() (err error) {
	lanes := t.rival.Lanes(killedSync)
	if t.parts, err = job.Draw(t.turn.Job, lanes); err != nil {
		return err
	}
	o := opening{DiskBytes: lengths(t.turn.Dir)}
	began := time.Now()
	store, err := t.rival.Open(rival.Config{Dir: t.turn.Dir, Keys: t.turn.Job.Keys, Sync: killedSync})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	o.Seconds = time.Since(began).Seconds()
	defer func() { err = errors.Join(err, store.Close()) }()
	o.RSSBytes = drive.Resident(store.Processes(), t.parts)
	k := job.Killed{Keys: t.turn.Job.Keys, Parts: t.parts, Lanes: t.turn.Killed}
	o.Survey, err = k.Compare(t.rival.Keeps, store.Each)
	t.out.Opened = &o
	return err
}

// lengths is the length of all files below a directory, as far as they can be seen.
func lengths(dir string) (total uint64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil // what cannot be seen is left out
		}
		if info, err := d.Info(); err == nil {
			total += uint64(info.Size())
		}
		return nil
	})
	return total
}

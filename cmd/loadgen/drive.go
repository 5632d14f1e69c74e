package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/machine"
	"github.com/keyfold/keyfold/bench/profile"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/workload"
)

// run is one run of runCommand.
type run struct {
	*process
	flags       *runCommand
	dir         string
	description *description
	result      *report.Result
	source      workload.Source
	tee         *workload.Audit // folds what cannot be read again
	interrupted bool            // before all events were sent
}

// all opens, sends, verifies and closes, and tells what came of it.
func (r *run) all() (err error) {
	if r.result.Machine, err = machine.Look(r.dir); err != nil {
		return err
	}
	d := r.description
	d.Store.Dir = filepath.Join(r.dir, storeName)
	if err := d.write(r.dir); err != nil {
		return err
	}
	r.result.Start(r.stderr)
	t, err := r.open(r.ctx, d.Store)
	if err != nil {
		return err
	}
	unserve, err := r.serve(t)
	if err == nil {
		err = errors.Join(r.loadAndVerify(t), unserve())
	}
	if err != nil || !r.flags.Abandon {
		err = errors.Join(err, t.Close(context.WithoutCancel(r.ctx)))
	}
	return r.tell(err)
}

// loadAndVerify sends the events, and compares every key if asked.
func (r *run) loadAndVerify(t bench.Target) error {
	layers, err := r.beginLayers(t)
	if err != nil {
		return err
	}
	if err := layers.end(r.load(t)); err != nil || !r.flags.Verify {
		return err
	}
	f, err := r.find(t)
	if err == nil {
		err = layers.check(&f)
	}
	r.result.Verify = report.VerifyOf(f)
	return err
}

// load sends the events.
func (r *run) load(t bench.Target) error {
	c := r.flags
	if c.Verify && r.description.File.onlyOnce() {
		r.tee = workload.NewNamed()
		r.source = &teed{r.source, r.tee}
	}
	warm, err := r.warmUp(t)
	if err != nil {
		return err
	}
	stop, err := r.profile()
	if err != nil {
		return err
	}
	l := c.load()
	l.Source, l.First = r.source, warm
	traced, err := r.trace(&l)
	if err != nil {
		return errors.Join(err, stop())
	}
	if !c.Quiet {
		report.StatusHead(r.stderr)
		l.Progress = func(p bench.Progress) { report.Status(r.stderr, p) }
	}
	watch := machine.BeginWatch()
	m, err := bench.Run(r.ctx, t, l)
	r.interrupted = err == nil && r.ctx.Err() != nil
	used := watch.Usage()
	r.result.Usage = &used
	r.result.SetMeasured(m)
	err = errors.Join(err, stop(), traced())
	if err != nil {
		return err
	}
	if m.Events == 0 && !r.interrupted {
		return fmt.Errorf("%s: there is not one event to measure", r.description.words())
	}
	r.description.Events, r.description.Finished, r.description.PerSecond = warm+m.Events, true, m.PerSecond()
	return r.description.write(r.dir)
}

// warmUp sends the events that are not measured, as fast as it goes, and returns how
// many they were.
func (r *run) warmUp(t bench.Target) (uint64, error) {
	if r.flags.Warmup == 0 {
		return 0, nil
	}
	l := r.flags.load()
	l.Source, l.Rate, l.Duration = workload.Limit(r.source, uint64(r.flags.Warmup)), 0, 0
	m, err := bench.Run(r.ctx, t, l)
	if err != nil {
		return m.Events, fmt.Errorf("warm-up: %w", err)
	}
	return m.Events, nil
}

// profile begins a profile, if there is to be one.
func (r *run) profile() (stop func() error, err error) {
	if r.flags.Profile == "" {
		return func() error { return nil }, nil
	}
	recording, err := profile.Start(r.flags.Profile)
	if err != nil {
		return nil, err
	}
	return func() error {
		s, err := recording.Stop(r.result.Command, fmt.Sprintf("seed %d", r.result.Seed))
		r.result.Profile = &s
		return err
	}, nil
}

// find compares every key.
func (r *run) find(t bench.States) (workload.Finding, error) {
	if r.tee != nil {
		return bench.AuditFolded(context.WithoutCancel(r.ctx), t, r.tee)
	}
	return verify(r.process, r.description, t)
}

// tell writes the end table and the JSON.
func (r *run) tell(err error) error {
	if err != nil {
		r.result.Failed = sentence(err)
	}
	r.result.End(r.stdout)
	if r.interrupted && err == nil {
		r.result.Failed = sentence(context.Canceled)
		fmt.Fprintf(r.stdout, "%-10sinterrupted: no more events were sent, those that were are acknowledged\n", "note")
	}
	if r.flags.Dir != "" {
		fmt.Fprintf(r.stdout, "%-10sloadgen recover %s\n", "next", r.flags.Dir)
	}
	if r.flags.JSON != "" && (err == nil || r.result.Events > 0) {
		err = errors.Join(err, r.result.WriteFile(r.flags.JSON))
	}
	if err == nil && r.result.Verify != nil {
		err = failed(r.result.Verify)
	}
	return err
}

// failed is the error of a verification that failed.
func failed(v *report.Verify) error {
	if v.OK {
		return nil
	}
	err := fmt.Errorf("the store is not what a single thread computes: %s acknowledged events lost, %s keys wrong; the first: %s",
		report.Count(v.Lost), report.Count(v.Wrong), cmp.Or(strings.Join(v.Examples[:min(1, len(v.Examples))], ""), "unknown"))
	return &exitError{exitVerify, err}
}

// verify compares every key of t with the stream, read again from its beginning.
func verify(p *process, d *description, t bench.States) (f workload.Finding, err error) {
	s, closeSource, err := d.source(nil)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	a, err := d.audit()
	if err != nil {
		return f, err
	}
	ctx := context.WithoutCancel(p.ctx) // an interrupt ends the load, not its check
	if d.Finished {
		return bench.Audit(ctx, t, a, s, nil)
	}
	return bench.AuditPrefix(ctx, t, a, s)
}

// teed is a source whose events are folded as they are read.
type teed struct {
	workload.Source
	audit *workload.Audit
}

func (t *teed) Fill(b *workload.Batch, n int) error {
	before := b.Len()
	err := t.Source.Fill(b, n)
	for i := before; i < b.Len(); i++ {
		t.audit.Expect(b.At(i))
	}
	return err
}

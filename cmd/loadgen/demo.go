package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/drill"
	"github.com/keyfold/keyfold/bench/input"
	"github.com/keyfold/keyfold/bench/report"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/testdata"
)

// demoCommand shows what Keyfold does.
type demoCommand struct {
	Seed uint64 `default:"42" help:"Gives the generated events (${default})."`
}

// What the demo sends.
const (
	demoEvents    = 1_000_000
	demoKeys      = 100_000
	demoProducers = 2
	demoRate      = 400_000 // so that there is something to see, and to kill
	demoKillAt    = demoEvents * 6 / 10
)

// demo is one run of demoCommand.
type demo struct {
	*process
	seed uint64
	dir  string
}

// Run shows it.
func (c *demoCommand) Run(p *process) (err error) {
	began := time.Now()
	dir, err := os.MkdirTemp("", "loadgen-demo-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d := &demo{process: p, seed: c.Seed, dir: dir}
	d.say("Keyfold folds events into one state per key, inside your process, and keeps what it acknowledged through a crash.\n")
	if err := d.flights(); err != nil {
		return err
	}
	if err := d.crash(); err != nil {
		return err
	}
	d.say("Done in %.1f s, all checks passed. Next: go run ./cmd/loadgen run --help, or the program in the README.", time.Since(began).Seconds())
	return nil
}

func (d *demo) say(format string, a ...any) { fmt.Fprintf(d.stdout, format+"\n", a...) }

// storeOptions are those of a store below the directory of the demo.
func (d *demo) storeOptions(name string) store.Options {
	return store.Options{Dir: filepath.Join(d.dir, name), EventBytes: store.EventBytesMin, Shards: 2}
}

// flights folds the sample.
func (d *demo) flights() (err error) {
	d.say("1. Real events. 2,000 US flights of 1 January 2001, one JSON line each, are folded into one state per route: how many\n   there were, and the sum, minimum, maximum and last of their delays. The busiest routes:")
	t, err := d.open(d.ctx, d.storeOptions("flights"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close(context.WithoutCancel(d.ctx))) }()
	s, err := sample()
	if err != nil {
		return err
	}
	m, err := bench.Run(d.ctx, t, bench.Load{Source: s, Producers: 1, Window: 500})
	if err != nil {
		return err
	}
	if err := d.busiest(t); err != nil {
		return err
	}
	if s, err = sample(); err != nil {
		return err
	}
	f, err := bench.Audit(d.ctx, t, workload.NewNamed(), s, nil)
	if err != nil {
		return err
	}
	d.say("   %s events, each acknowledged only after it was synced to disk, in %s. Every one of the %s routes has the state\n   that a single thread computes from the file: %s.\n",
		report.Count(m.Events), report.Nanos(int64(m.Elapsed)), report.Count(f.Keys), verdict(f))
	return failed(report.VerifyOf(f))
}

func sample() (*input.Reader, error) {
	return input.Open(input.Options{
		Path: "-", Stdin: strings.NewReader(testdata.Flights), Key: ".origin,.destination", Value: ".delay",
	})
}

// busiest shows the routes with the most flights.
func (d *demo) busiest(t bench.Target) error {
	type route struct {
		key string
		s   workload.Stats
	}
	var routes []route
	err := t.All(d.ctx, func(key []byte, s *workload.Stats) error {
		routes = append(routes, route{string(key), *s})
		return nil
	})
	slices.SortFunc(routes, func(a, b route) int {
		return cmp.Or(cmp.Compare(b.s.Count, a.s.Count), cmp.Compare(a.key, b.key))
	})
	for _, r := range routes[:min(len(routes), 3)] {
		d.say("      %-8s %3d flights · delay in minutes: mean %5.1f, min %4.0f, max %4.0f, last %4.0f",
			strings.ReplaceAll(r.key, ",", "-"), r.s.Count, r.s.Mean(), r.s.Min, r.s.Max, r.s.Last)
	}
	return err
}

// crash kills a child under load and shows what is left.
func (d *demo) crash() error {
	d.say("2. A crash. Another process folds a million generated events over %s keys into a store, %s a second;\n   in the middle of it, it gets kill -9.",
		report.Count(demoKeys), report.Count(demoRate))
	o := &drill.Orders{
		Round: 1, Work: d.dir, Store: d.storeOptions("store"), Producers: demoProducers, Window: 4096, Rate: demoRate,
		Stream: workload.Generated{Keys: demoKeys, Dist: "zipf:0.99", Seed: d.seed, Events: demoEvents},
	}
	acked, err := drill.KillAt(d.ctx, o, d.child, demoKillAt)
	if err != nil {
		return err
	}
	d.say("   Killed. At least its first %s events had been acknowledged; some more were on their way.\n", report.Count(acked))
	return d.recover(o)
}

// recover opens what the child left, checks it, sends the rest and checks again.
func (d *demo) recover(o *drill.Orders) (err error) {
	t, err := d.open(d.ctx, o.Store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close(context.WithoutCancel(d.ctx))) }()
	d.say("3. Recovery. This process opens the store, which reads its log again.\n   It was %s.", report.RecoveryWords(t.Recovery()))
	rest := &remembered{}
	f, err := o.Judge(d.ctx, t, rest.add)
	if err != nil {
		return err
	}
	d.say("   It holds %s events. Each key has exactly the first events that were sent to it, in order, and none that was\n   acknowledged is missing: %s.\n",
		report.Count(f.Events), verdict(f))
	if err := failed(report.VerifyOf(f)); err != nil {
		return err
	}
	return d.finish(t, o, rest)
}

// finish sends what the crash took, and compares every key.
func (d *demo) finish(t bench.Target, o *drill.Orders, rest *remembered) error {
	d.say("4. Going on. The %s events that never got into the store are sent now, as fast as it goes.", report.Count(rest.batch.Len()))
	m, err := bench.Run(d.ctx, t, bench.Load{Source: rest, Producers: demoProducers, Window: 1 << 15})
	if err != nil {
		return err
	}
	s, err := workload.NewGenerator(o.Stream)
	if err != nil {
		return err
	}
	a, err := workload.NewNumbered(o.Stream.Keys)
	if err != nil {
		return err
	}
	f, err := bench.Audit(d.ctx, t, a, s, nil)
	if err != nil {
		return err
	}
	d.say("   %s events in %s (%s a second), each synced before it was acknowledged. All %s keys have the state that a\n   single thread computes from the million events, each event once: %s.\n",
		report.Count(m.Events), report.Nanos(int64(m.Elapsed)), report.Count(int64(m.PerSecond())), report.Count(f.Keys), verdict(f))
	return failed(report.VerifyOf(f))
}

func verdict(f workload.Finding) string {
	if f.OK() {
		return "checked"
	}
	return "NOT SO, " + f.Err().Error()
}

// remembered is a source of events that were noted before.
type remembered struct {
	batch workload.Batch
	next  int
}

func (r *remembered) add(e workload.Event) { r.batch.Add(e) }

// Fill appends the next events.
func (r *remembered) Fill(b *workload.Batch, n int) error {
	if r.next == r.batch.Len() {
		return io.EOF
	}
	for end := min(r.next+n, r.batch.Len()); r.next < end; r.next++ {
		b.Add(r.batch.At(r.next))
	}
	return nil
}

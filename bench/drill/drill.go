package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/store"
	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/internal/child"
)

// Options say what to drill.
type Options struct {
	// Kills is how many children to kill under load.
	Kills int
	// Seed gives the streams, the moments and everything else that is drawn.
	Seed uint64
	// Work is an existing empty directory for the files of the drill.
	Work string
	// Store is what to open. With Shards 0 the count changes now and then, with the
	// Device AnyDevice the device. Every other child or so has its shards
	// read, unless events have ids or producers names, every other one its syncs queued, and every other one its partitions move.
	Store store.Options
	// Keys and Dist are those of the streams; Producers, Window and Rate say how they
	// are sent.
	Keys      uint64
	Dist      string
	Producers int
	Window    int
	Rate      float64
	// Live is how long a child is left alone under load at most.
	Live time.Duration
	// Command runs a child.
	Command Commander
	// Log, if not nil, is told of each round.
	Log func(Round)
}

// AnyDevice is the Device of a drill whose children change it: each must open what the
// other wrote.
const AnyDevice = "any"

// Check says what is wrong with the options, its directories and command apart.
func (o *Options) Check() error {
	s := o.Store
	if s.Device == AnyDevice {
		s.Device = ""
	}
	if err := s.Check(); err != nil {
		return err
	}
	l := bench.Load{Producers: o.Producers, Window: o.Window, Rate: o.Rate}
	if err := l.Check(); err != nil {
		return err
	}
	if _, err := workload.NewGenerator(workload.Generated{Keys: o.Keys, Dist: o.Dist}); err != nil {
		return err
	}
	if s.Once > 0 && s.Ack == "applied" {
		return errors.New("drill: what is only applied may be lost behind what is sent again: ids need the ack durable or written")
	}
	if o.Kills < 1 {
		return fmt.Errorf("drill: one child at least must be killed, not %d", o.Kills)
	}
	if o.Live <= 0 {
		return fmt.Errorf("drill: a child must live for some time, not %v", o.Live)
	}
	return nil
}

// Round is one child: what it found and how it ended.
type Round struct {
	// Number counts the kills under load, from 1; Opening those of children that were
	// still opening the store, before this one.
	Number, Opening int
	// Shards is how many the child had, Device what wrote its log.
	Shards int
	Device string
	// Read says that shards read the events, instead of being sent them, Batch that they were
	// sent in batches, and Moves that partitions moved meanwhile.
	Read, Batch, Moves bool
	// Alive is how long it was under load.
	Alive time.Duration
	// Recovery is what its opening of the store took.
	Recovery bench.Recovery
	// Found is what it found, judged by what the children before had sent.
	Found workload.Finding
}

// Report sums up a drill.
type Report struct {
	// Kills and OpeningKills count the children killed under load, and while they were
	// opening the store.
	Kills, OpeningKills int
	// Events is how many events are in the store in the end, Keys how many keys.
	Events, Keys uint64
	// Replayed is how many events the recoveries applied again, TornBytes how much they
	// dropped, SlowestOpen how long they took at most.
	Replayed, TornBytes uint64
	SlowestOpen         float64
	// Last is what was found last: what is wrong, if the drill has failed.
	Last workload.Finding
}

// readyWithin is how long a child may take to open the store and to write down what
// it found.
const readyWithin = 5 * time.Minute

// drill is the state of a run of Run.
type drill struct {
	Options
	random  *rand.Rand
	audit   *workload.Audit
	pending *Orders // of the last child that may have sent something
	round   int
	now     store.Options // what the last child opened
	opening time.Duration // what the last opening took
	report  Report
}

// Run kills children as o says, and audits after each kill. The report says what was
// found; an error says why the drill could not go on. At the end a child rests: it
// closes the store, and one more opens it.
func Run(ctx context.Context, o Options) (Report, error) {
	if err := o.Check(); err != nil {
		return Report{}, err
	}
	audit, err := workload.NewNumbered(o.Keys)
	if err != nil {
		return Report{}, err
	}
	d := &drill{Options: o, random: rand.New(rand.NewPCG(o.Seed, 0x6472696c6c)), audit: audit, now: o.Store}
	d.now.Shards = max(o.Store.Shards, 1)
	for d.report.Kills < o.Kills && err == nil && d.report.Last.OK() {
		err = d.killOne(ctx)
	}
	for range 2 {
		if err == nil && d.report.Last.OK() {
			err = d.rest(ctx)
		}
	}
	return d.report, errors.Join(err, ctx.Err())
}

// orders are those of the next child.
func (d *drill) orders(rest bool) *Orders {
	d.round++
	if d.Store.Shards == 0 && d.random.IntN(4) == 0 {
		d.now.Shards = 1 + d.random.IntN(3)
	}
	if d.Store.Device == AnyDevice {
		d.now.Device = []string{"library", "direct"}[d.random.IntN(2)]
	}
	d.now.QueuedSync = d.random.IntN(2) == 0
	d.now.Read = d.Store.Read || d.random.IntN(2) == 0
	o := &Orders{
		Round: d.round, Work: d.Work, Store: d.now, Producers: d.Producers, Window: d.Window, Rate: d.Rate, Rest: rest,
		Stream: workload.Generated{Keys: d.Keys, Dist: d.Dist, Seed: d.random.Uint64()},
		Moves:  d.now.Shards > 1 && d.random.IntN(2) == 0,
	}
	o.Store.First = uint64(d.round) << firstBits
	if ids := o.Store.Once > 0; ids || o.Store.Name != "" {
		o.Store.Batch, o.Store.Read = ids, false
		if d.pending != nil {
			before := *d.pending
			before.Again = nil
			o.Again = &before
		}
	}
	return o
}

// firstBits leaves room for the events of a child between the ids of two.
const firstBits = 40

// killOne runs children until one was killed under load.
func (d *drill) killOne(ctx context.Context) error {
	for opening := 0; ; opening++ {
		o := d.orders(false)
		p, err := start(ctx, o, d.Command)
		if err != nil {
			return err
		}
		alive, err := d.letLive(p, o, opening)
		if err = cmp.Or(p.Kill(), err, ctx.Err()); err != nil {
			return err // that of the child says most
		}
		// It may have got ready after the last look: then it may have sent something.
		if _, ready, err := readReady(o.file("ready")); err != nil {
			return err
		} else if !ready {
			d.report.OpeningKills++
			o.remove()
			continue
		}
		d.report.Kills++
		return d.judge(o, Round{Number: d.report.Kills, Opening: opening, Alive: alive})
	}
}

// openingKillsMax is how many children in a row are killed while opening.
const openingKillsMax = 3

// letLive returns at the moment when the child is to be killed, and how long it was
// under load then.
func (d *drill) letLive(p *child.Process, o *Orders, opening int) (time.Duration, error) {
	isReady := func() (bool, error) { _, ok, err := readReady(o.file("ready")); return ok, err }
	began := time.Now()
	if d.opening > 0 && opening < openingKillsMax && d.random.IntN(4) == 0 {
		_, err := p.Until(time.Duration(d.random.Int64N(int64(d.opening))+1), isReady)
		return 0, err
	}
	ready, err := p.Until(readyWithin, isReady)
	if err != nil || !ready {
		return 0, cmp.Or(err, errors.New("drill: the child did not get ready"))
	}
	d.opening = time.Since(began)
	alive := time.Duration(d.random.Int64N(int64(d.Live)) + 1)
	_, err = p.Until(alive, child.Never)
	return alive, err
}

// rest runs a child that sends nothing and closes the store.
func (d *drill) rest(ctx context.Context) error {
	o := d.orders(true)
	p, err := start(ctx, o, d.Command)
	if err != nil {
		return err
	}
	if err := errors.Join(p.Finish(), ctx.Err()); err != nil {
		return err
	}
	return d.judge(o, Round{Number: d.report.Kills + 1})
}

// judge audits what the child of o found.
func (d *drill) judge(o *Orders, r Round) error {
	var ok bool
	var err error
	if r.Recovery, ok, err = readReady(o.file("ready")); err != nil || !ok {
		return errors.Join(err, fmt.Errorf("drill: child %d has left no states", o.Round))
	}
	if r.Found, err = d.compare(o); err != nil {
		return err
	}
	r.Shards, r.Device, r.Read, r.Batch, r.Moves = o.Store.Shards, o.Store.Device, o.Store.Read, o.Store.Batch, o.Moves
	d.add(r)
	if !r.Found.OK() {
		return nil // the files stay for whoever looks into it
	}
	if d.pending != nil {
		d.pending.remove()
	}
	d.pending = o
	return nil
}

func (d *drill) compare(o *Orders) (workload.Finding, error) {
	d.audit.Begin()
	if err := readFound(o.file("found"), d.audit.Have); err != nil {
		return workload.Finding{}, err
	}
	if d.pending != nil {
		err := d.pending.replay(func(e workload.Event, acked bool) { d.audit.Event(e, d.pending.mustHold(acked)) })
		if err != nil {
			return workload.Finding{}, err
		}
	}
	return d.audit.End(), nil
}

// add adds a round to the report.
func (d *drill) add(r Round) {
	p := &d.report
	p.Events, p.Keys, p.Last = r.Found.Events, r.Found.Keys, r.Found
	p.Replayed += r.Recovery.Events
	p.TornBytes += r.Recovery.TornBytes
	p.SlowestOpen = max(p.SlowestOpen, r.Recovery.Seconds)
	if d.Log != nil {
		d.Log(r)
	}
}

// remove removes the files of a child that are not needed any more.
func (o *Orders) remove() {
	for _, kind := range []string{"orders", "ready", "marks", "found"} {
		if err := os.Remove(o.file(kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return // nothing depends on it
		}
	}
}

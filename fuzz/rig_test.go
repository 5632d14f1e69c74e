package fuzz

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/internal/seam"
)

var (
	rounds   = flag.Int("fuzz.rounds", 1, "how many times the usual amount of work to do")
	fuzzSeed = flag.Uint64("fuzz.seed", 0, "seed of what is random; 0: a new one")
)

func patiently() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// patience is how long a call may take before it is said to hang.
const patience = 30 * time.Second

// random gives a test its random numbers, and prints how to repeat them if it fails.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := *fuzzSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("repeat with: go test ./fuzz -run '^%s$' -fuzz.seed %d", t.Name(), seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// hashSeed is that of every store in memory.
const hashSeed = 7

// A rig is a store on a disk in memory, with the oracle that judges it.
type rig struct {
	options engine.Options
	hash    hash
	disk    *crashfs.FS
	dir     string        // of the operating system, if it is not ""; then disk is not used
	now     *atomic.Int64 // nanoseconds of Unix time; tests add, the engine loads
	tallies *tallies
	notes   *notes
	engine  *engine.Engine
	oracle  *oracle
	number  *atomic.Uint64 // of the last event, so that no two are equal
	bits    int            // of the partitions

	sender   *sender   // nil: no producer is open
	witness  *witness  // nil: nobody reads changes
	onlooker *onlooker // nil: nobody reads them with states
}

// small are options with which everything happens often: segments are full and
// snapshots are due after a few dozen events.
func small() engine.Options {
	return engine.Options{
		Shards: 2, Partitions: 8, EventBytesMax: 2 << 10, KeyBytesMax: 64, InboxBytes: 16 << 10,
		SegmentBytes: 4 << 10, SnapshotBytes: 6 << 10, SyncInterval: time.Millisecond, Spin: -1, Pin: engine.PinOff,
	}
}

// epoch is what the clock of a new rig says.
var epoch = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

// newRig makes a rig with an empty disk, and opens nothing.
func newRig(o engine.Options, h hash) *rig {
	r := &rig{
		options: o, hash: h, disk: crashfs.New(), now: &atomic.Int64{}, number: &atomic.Uint64{},
		tallies: newTallies(), notes: newNotes(), oracle: newOracle(o.Partitions), bits: bits.TrailingZeros(uint(o.Partitions)),
	}
	r.now.Store(epoch.UnixNano())
	return r
}

// on is a rig on another disk, with the oracle as it is now.
func (r *rig) on(disk *crashfs.FS) *rig {
	c := newRig(r.options, r.hash)
	c.disk, c.oracle, c.number, c.witness, c.onlooker = disk, r.oracle.clone(), r.number, r.witness.clone(), r.onlooker.clone()
	c.now.Store(r.now.Load())
	return c
}

func (r *rig) open() error { return r.openWith(r.tallies, r.notes) }

// openWith opens the store with other tables.
func (r *rig) openWith(tables ...engine.Definition) error {
	ctx, cancel := patiently()
	defer cancel()
	dir, o := "/store", r.options
	o.Environment = &seam.Environment{FS: r.disk, Now: r.now.Load, Seed: hashSeed, Hash: r.hash}
	if r.dir != "" {
		dir, o.Environment.FS, o.Environment.OperatingSystem = r.dir, fsys.OS(), true
	}
	e, err := engine.Open(ctx, dir, o, tables...)
	r.engine = e
	return err
}

func (r *rig) partition(key string) int {
	return int(r.hash([]byte(key), hashSeed) >> (64 - r.bits))
}

// crash takes the disk away as model says, and ends the engine that ran on it.
func (r *rig) crash(model crashfs.Model) error {
	left := r.disk.Crash(model)
	err := r.abandon()
	r.disk = left
	return err
}

// abandon closes an engine whose disk is gone. It may fail, but it must end.
func (r *rig) abandon() error {
	r.sender = nil
	if r.engine == nil {
		return nil
	}
	closed := make(chan struct{})
	go func(e *engine.Engine) {
		_ = e.Close()
		close(closed)
	}(r.engine)
	r.engine = nil
	select {
	case <-closed:
		return nil
	case <-time.After(patience):
		return errors.New("the engine does not end after its disk has failed")
	}
}

// close ends the engine in order. Then everything that was answered is durable.
func (r *rig) close() error {
	if err := r.flush(); err != nil {
		return err
	}
	r.sender = nil
	if err := r.engine.Close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	r.engine = nil
	r.oracle.each(func(l *line) { l.safe, l.kept = l.done, l.done })
	return nil
}

// do sends one event and tells the oracle. The error is that of the engine if it may
// have it, wrapped in a violation if it must not.
func (r *rig) do(n name, s step, ack engine.Ack) error {
	if err := r.flush(); err != nil {
		return err
	}
	ctx, cancel := patiently()
	defer cancel()
	p := r.partition(n.key)
	s.Number = r.number.Add(1)
	r.now.Add(int64(400 * time.Microsecond)) // so that the time moves on within a frame now and then
	wanted := s.Action != refuse && s.Action != panics
	var e *event
	if wanted {
		e = r.oracle.submit(p, event{name: n, step: s})
	}
	answer, err := r.send(ctx, n, s, ack)
	if !wanted {
		return judgeRefusal(s, err)
	}
	return r.judgeAnswer(p, e, answer, ack, err)
}

func (r *rig) send(ctx context.Context, n name, s step, ack engine.Ack) (tally, error) {
	if n.notes {
		return r.notes.Do(ctx, n.key, s, ack)
	}
	return r.tallies.Do(ctx, n.key, s, ack)
}

// A violation is an error that breaks a promise.
type violation struct{ error }

func violated(format string, args ...any) error { return violation{fmt.Errorf(format, args...)} }

// judgeRefusal looks at the error of an event that must not be done.
func judgeRefusal(s step, err error) error {
	switch {
	case err == nil:
		return violated("event %d was done, although it was to be refused", s.Number)
	case s.Action == refuse && errors.Is(err, errUnwanted), s.Action == panics && errors.Is(err, engine.ErrPanicked):
		return nil
	}
	return judgeFailure(err)
}

// judgeFailure lets pass the errors of a shard whose disk has failed.
func judgeFailure(err error) error {
	if !errors.Is(err, engine.ErrShardFailed) && !errors.Is(err, engine.ErrClosed) && !errors.Is(err, engine.ErrReadOnly) {
		return violated("the error does not say that the shard has failed: %w", err)
	}
	return mustNotHang(err)
}

func mustNotHang(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return violated("it hangs: %w", err)
	}
	return err
}

// judgeAnswer checks the answer to an event, and notes the ack.
func (r *rig) judgeAnswer(p int, e *event, answer tally, ack engine.Ack, err error) error {
	l := &r.oracle.lines[p]
	switch engine.OutcomeOf(err) {
	case engine.NotDone:
		r.oracle.takeBack(p)
		return judgeFailure(err)
	case engine.Unknown:
		return judgeFailure(err)
	}
	if answer.Sequence != uint64(len(l.events)) {
		return violated("partition %d: an event has sequence %d, but it is number %d; %s", p, answer.Sequence, len(l.events), l.history())
	}
	e.answer = &answer
	l.note(ack)
	return nil
}

func (l *line) note(ack engine.Ack) {
	switch ack {
	case engine.Durable:
		l.durable()
	case engine.Written:
		l.written()
	default:
		l.applied()
	}
}

// read gives all states that the store shows, by partition.
func (r *rig) read() ([]states, error) {
	ctx, cancel := patiently()
	defer cancel()
	all := make([]states, len(r.oracle.lines))
	for i := range all {
		all[i] = states{}
	}
	put := func(n name, s note) error {
		into := all[r.partition(n.key)]
		if _, twice := into[n]; twice {
			return violated("key %v is shown twice", n)
		}
		into[n] = s
		return nil
	}
	for e, err := range r.tallies.All(ctx) {
		if err = errors.Join(err, put(name{false, e.Key}, note{Tally: e.State})); err != nil {
			return nil, err
		}
	}
	for e, err := range r.notes.All(ctx) {
		if err = errors.Join(err, put(name{true, e.Key}, e.State)); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// A floor says how many of a partition's first events must be there.
type floor func(*line) int

func safe(l *line) int { return l.safe }
func kept(l *line) int { return max(l.kept, l.safe) }
func done(l *line) int { return l.done }

// judge checks what the store holds after a recovery, and takes it over: the oracle
// goes on from there. All of it is durable, for Open has seen to that.
func (r *rig) judge(least floor) error {
	all, err := r.read()
	if err != nil {
		return err
	}
	keys := 0
	found := make([][]int, len(all))
	for p, have := range all {
		keys += len(have)
		l := &r.oracle.lines[p]
		if found[p] = l.prefixes(least(l), have); len(found[p]) == 0 {
			return violated("partition %d must hold the first %d to %d events; %s", p, least(l), len(l.events), l.explain(least(l), have))
		}
	}
	if want := r.engine.Recovery().Keys; want != keys {
		return violated("Recovery says %d keys, there are %d", want, keys)
	}
	for p := range found {
		l := &r.oracle.lines[p]
		if l.survive(found[p][0]); len(found[p]) > 1 {
			continue
		}
		l.durable()
	}
	if err := r.resolve(found); err != nil {
		return err
	}
	return r.judgeChanges()
}

// judgeChanges has those read on who look, and another witness from the beginning.
func (r *rig) judgeChanges() error {
	if err := r.lookedOn(); err != nil {
		return err
	}
	if r.witness == nil {
		return nil
	}
	if err := r.witnessed(); err != nil {
		return err
	}
	old := r.witness
	defer func() { r.witness = old }()
	r.witness = newWitness(r.options.Partitions)
	return r.witnessed()
}

// resolve finds out by an event of its own which of several prefixes a partition
// holds: those that end with a key removed again look like a shorter one.
func (r *rig) resolve(found [][]int) error {
	for p, choices := range found {
		if len(choices) < 2 {
			continue
		}
		if err := r.probe(p, choices); err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) probe(p int, choices []int) error {
	ctx, cancel := patiently()
	defer cancel()
	key := r.keyOf(p)
	s := step{Number: r.number.Add(1)}
	answer, err := r.tallies.Do(ctx, key, s, engine.Written)
	if err != nil {
		return judgeFailure(err)
	}
	for _, n := range choices {
		if answer.Sequence == uint64(n+1) {
			l := &r.oracle.lines[p]
			l.events = l.events[:cap(l.events)][:n] // the shorter choice shares its memory
			l.survive(n)
			l.durable()
			r.oracle.submit(p, event{name: name{false, key}, step: s}).answer = &answer
			l.written()
			return nil
		}
	}
	return violated("partition %d: the first new event has sequence %d, but there were one of %v", p, answer.Sequence, choices)
}

// keyOf is a key of a partition.
func (r *rig) keyOf(p int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("probe-%d", i); r.partition(key) == p {
			return key
		}
	}
}

// load sends n events to keys of all partitions, one after the other, and returns the
// first error.
func (r *rig) load(random *rand.Rand, n int, ack engine.Ack) error {
	for range n {
		if err := r.do(randomEvent(random), randomStep(random), ack); err != nil {
			return err
		}
	}
	return nil
}

func randomEvent(random *rand.Rand) name {
	return name{notes: random.IntN(4) == 0, key: fmt.Sprintf("key-%d", random.IntN(24))}
}

func randomStep(random *rand.Rand) step {
	s := step{Filler: filler(random.IntN(300), random.Uint64())}
	switch random.IntN(16) {
	case 0:
		s.Action = remove
	case 1:
		s.Action = refuse
	case 2:
		s.Action = panics
	}
	return s
}

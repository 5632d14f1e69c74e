package fuzz

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// A clockwork is a store with two timed tables, on a disk in memory, and its chronicle.
type clockwork struct {
	options   engine.Options
	once      engine.Once // of the plain table
	version   uint32      // of both tables
	disk      *crashfs.FS
	now       atomic.Int64
	engine    *engine.Engine
	moved     func(context.Context) error
	chronicle chronicle
	plain     *engine.Table[string, watched, alarm, uint64]
	words     *engine.Table[string, worded, alarm, uint64]
	safe      []int // by partition: moments that no crash may take back
	timeMax   int64 // that the clock has said
}

var timeHash = hashes["full"]

const clockPartitions = 4

func newClockwork() *clockwork { return newClockworkWith(engine.Once{}) }

// newClockworkWith is one whose plain table remembers ids.
func newClockworkWith(once engine.Once) *clockwork {
	w := &clockwork{once: once, options: small(), disk: crashfs.New(), safe: make([]int, clockPartitions)}
	w.options.Partitions = clockPartitions
	w.now.Store(epoch.UnixNano())
	w.chronicle.moments, w.chronicle.fresh = make([][]moment, clockPartitions), make([]bool, clockPartitions)
	w.chronicle.partition = func(key string) int { return int(timeHash([]byte(key), hashSeed) >> (64 - 2)) }
	w.declare()
	return w
}

// declare makes the tables.
func (w *clockwork) declare() {
	w.plain = engine.NewTable(engine.Spec[string, watched, alarm, uint64]{
		Name: "plain", Version: w.version, Upgrades: upgrades[watched](w.version), TTL: ttls[0], Once: w.once,
		Check: func(_ *engine.Context[string], _ *watched, a alarm) error { return a.check() },
		Apply: func(c *engine.Context[string], s *watched, a alarm) uint64 {
			return s.apply(c, w, 0, a)
		},
		OnTimer:  func(c *engine.Context[string], s *watched) { s.onTimer(c, w, 0) },
		OnExpire: func(c *engine.Context[string], s *watched) { s.onExpire(c, w, 0) },
	})
	w.words = engine.NewTable(engine.Spec[string, worded, alarm, uint64]{
		Name: "words", Version: w.version, Upgrades: upgrades[worded](w.version), TTL: ttls[1],
		Check: func(_ *engine.Context[string], _ *worded, a alarm) error { return a.check() },
		Apply: func(c *engine.Context[string], s *worded, a alarm) uint64 {
			s.Text = strings.Repeat("x", int(a.Milliseconds&15))
			return s.Watched.apply(c, w, 1, a)
		},
		OnTimer:  func(c *engine.Context[string], s *worded) { s.Text = "timer"; s.Watched.onTimer(c, w, 1) },
		OnExpire: func(c *engine.Context[string], s *worded) { s.Text = "kept"; s.Watched.onExpire(c, w, 1) },
	})
}

// upgrades are the ladder to a version. A step takes events of its own version only.
func upgrades[S any](version uint32) (all []engine.Upgrade) {
	for from := range version {
		all = append(all,
			engine.UpgradeState(from, from+1, func(s S) (S, error) { return s, nil }),
			engine.UpgradeEvent(from, from+1, func(a alarm) (alarm, error) {
				if a.Version != from {
					return a, violated("an event of version %d is lifted from %d to %d", a.Version, from, from+1)
				}
				a.Version = from + 1
				return a, nil
			}))
	}
	return all
}

func (a alarm) check() error {
	if a.Refuse {
		return errUnwanted
	}
	return nil
}

func (s *watched) apply(c *engine.Context[string], w *clockwork, table int, a alarm) uint64 {
	s.Events++
	if s.link(c.Sequence(), a.Number); a.Version != w.version {
		s.link(c.Sequence(), uint64(a.Version)) // so that the state is not what it should be
	}
	a.Version = 0
	switch {
	case a.Milliseconds > 0:
		c.SetTimer(c.Now().Add(time.Duration(a.Milliseconds) * time.Millisecond))
	case a.Milliseconds == 0:
		c.StopTimer()
	}
	if a.Delete {
		c.Delete()
	}
	if a.Panic {
		panic("on purpose")
	}
	w.chronicle.tell(c.Sequence(), moment{came, table, c.Key(), c.Now().UnixNano(), a})
	return c.Sequence()
}

func (s *watched) onTimer(c *engine.Context[string], w *clockwork, table int) {
	m := moment{rang, table, c.Key(), c.Now().UnixNano(), alarm{}}
	s.Timers++
	s.Last = m.now
	s.link(c.Sequence(), linkTimer)
	switch whim(c.Sequence()) {
	case timerDeletes:
		c.Delete()
	case timerAgain:
		c.SetTimer(c.Now().Add(againAfter))
	case timerPanics:
		m.what = rangOff
		w.chronicle.tell(c.Sequence(), m)
		panic("on purpose")
	}
	w.chronicle.tell(c.Sequence(), m)
}

func (s *watched) onExpire(c *engine.Context[string], w *clockwork, table int) {
	m := moment{ended, table, c.Key(), c.Now().UnixNano(), alarm{}}
	s.Kept++
	s.link(c.Sequence(), linkKept)
	switch whim(c.Sequence()) {
	case expiryKeeps:
		c.Keep()
	case expiryPanics:
		m.what = endless
		w.chronicle.tell(c.Sequence(), m)
		panic("on purpose")
	}
	w.chronicle.tell(c.Sequence(), m)
}

// on is a clockwork on what a crash has left, with the same past.
func (w *clockwork) on(disk *crashfs.FS) *clockwork {
	c := newClockworkWith(w.once)
	c.version = w.version
	c.declare()
	c.chronicle.hides = w.chronicle.hides
	c.options, c.disk, c.timeMax = w.options, disk, w.timeMax
	c.now.Store(w.now.Load())
	w.chronicle.mu.Lock()
	defer w.chronicle.mu.Unlock()
	for p, all := range w.chronicle.moments {
		c.chronicle.moments[p] = append([]moment(nil), all...)
		c.safe[p] = w.safe[p]
	}
	c.chronicle.wrong = w.chronicle.wrong
	return c
}

func (w *clockwork) open() error {
	ctx, cancel := patiently()
	defer cancel()
	w.chronicle.reopen()
	o := w.options
	o.Environment = &seam.Environment{
		FS: w.disk, Now: w.clock, Seed: hashSeed, Hash: timeHash,
		Hear: func(moved func(context.Context) error) { w.moved = moved },
	}
	e, err := engine.Open(ctx, "/store", o, w.plain, w.words)
	w.engine = e
	return err
}

// clock is the store's. It is looked at as soon as all logs were replayed, and not before.
func (w *clockwork) clock() int64 {
	w.chronicle.replaying.Store(false)
	return w.now.Load()
}

// judge compares what the store holds with the reference. Behind an open it may have lost
// moments, but no safe ones.
func (w *clockwork) judge() error {
	if err := w.settle(); err != nil {
		return err
	}
	ctx, cancel := patiently()
	defer cancel()
	stats, err := w.engine.Stats(ctx)
	if err != nil {
		return err
	}
	all, err := w.read()
	if err != nil {
		return err
	}
	for p := range clockPartitions {
		n := int(stats.Partitions[p].Events)
		r, err := w.chronicle.after(p, n)
		if err == nil {
			err = r.holds(all[p])
		}
		if err != nil {
			return fmt.Errorf("partition %d after %d moments: %w", p, n, err)
		}
		if n < w.safe[p] {
			return violated("partition %d holds %d moments, and %d were acknowledged", p, n, w.safe[p])
		}
		if of, at, what := r.first(); len(r) > 0 && at <= w.now.Load() {
			return violated("partition %d: %c of %v is due since %d, it is %d", p, what, of, at, w.now.Load())
		}
	}
	return nil
}

// settle waits until everything that is due was fired.
func (w *clockwork) settle() error {
	ctx, cancel := patiently()
	defer cancel()
	if err := w.moved(ctx); err != nil {
		return mustNotHang(err)
	}
	return nil
}

func (w *clockwork) read() (all [clockPartitions]map[reminded]watched, err error) {
	ctx, cancel := patiently()
	defer cancel()
	for p := range all {
		all[p] = make(map[reminded]watched)
	}
	for e, err := range w.plain.All(ctx) {
		if err != nil {
			return all, err
		}
		all[w.chronicle.partition(e.Key)][reminded{0, e.Key}] = e.State
	}
	for e, err := range w.words.All(ctx) {
		if err != nil {
			return all, err
		}
		all[w.chronicle.partition(e.Key)][reminded{1, e.Key}] = e.State.Watched
	}
	return all, nil
}

// reopened takes over what a recovery has found: the moments behind it never were.
func (w *clockwork) reopened() error {
	if err := w.open(); err != nil {
		return err
	}
	return w.judge()
}

// do sends an event, and notes that it must survive.
func (w *clockwork) do(random *rand.Rand) error {
	ctx, cancel := patiently()
	defer cancel()
	key := fmt.Sprintf("key-%d", random.IntN(12))
	a := alarm{Milliseconds: -1, Delete: random.IntN(16) == 0, Panic: random.IntN(16) == 0}
	switch random.IntN(4) {
	case 0:
		a.Milliseconds = 0
	case 1, 2:
		a.Milliseconds = 1 + random.Int64N(400)
	}
	var sequence uint64
	var err error
	if random.IntN(3) == 0 {
		sequence, err = w.words.Do(ctx, key, a)
	} else {
		sequence, err = w.plain.Do(ctx, key, a)
	}
	if a.Panic && errors.Is(err, engine.ErrPanicked) {
		return nil
	}
	if err != nil {
		return judgeFailure(err)
	}
	p := w.chronicle.partition(key)
	w.safe[p] = max(w.safe[p], int(sequence))
	return nil
}

// pass lets time pass, now and then backwards.
func (w *clockwork) pass(random *rand.Rand) error {
	d := time.Duration(random.IntN(200)) * time.Millisecond
	if random.IntN(8) == 0 {
		d = -d
	}
	w.now.Add(int64(d))
	if random.IntN(2) == 0 {
		return w.settle()
	}
	return nil
}

func (w *clockwork) move(random *rand.Rand) error {
	ctx, cancel := patiently()
	defer cancel()
	err := w.engine.Move(ctx, random.IntN(clockPartitions), random.IntN(w.options.Shards))
	if err != nil && !errors.Is(err, engine.ErrClosed) {
		return judgeFailure(err)
	}
	return err
}

// spend is a life with events, timers, moves, snapshots and another number of shards. It
// ends when the disk stops.
func (w *clockwork) spend(random *rand.Rand, length int) (whole bool, err error) {
	w.options.Shards = 1 + random.IntN(3)
	if err := w.open(); err != nil {
		return false, onlyViolation(err)
	}
	for range length {
		err := w.step(random)
		if err != nil {
			return false, onlyViolation(err)
		}
	}
	if err := w.judge(); err != nil {
		return false, onlyViolation(err)
	}
	return true, nil
}

func onlyViolation(err error) error {
	var v violation
	if errors.As(err, &v) {
		return err
	}
	return nil
}

func (w *clockwork) step(random *rand.Rand) error {
	switch n := random.IntN(32); {
	case n < 18:
		return w.do(random)
	case n < 26:
		return w.pass(random)
	case n < 28:
		return w.move(random)
	case n < 29:
		ctx, cancel := patiently()
		defer cancel()
		return mustNotHang(w.engine.Snapshot(ctx))
	case n < 30:
		if err := w.engine.Close(); err != nil {
			return err
		}
		w.options.Shards = 1 + random.IntN(3)
		return w.reopened()
	}
	return w.judge()
}

// Goal: what is fired, in which order, and what of it a crash leaves, is what a map with
// naive timers says, through moves, snapshots, other numbers of shards and clocks that run
// back. Method: one life of a store, cut off after every operation of its disk. The
// functions of the tables tell what happened; a replay must tell the same.
func TestTimersOfAModelAndOfTheEngineAgreeThroughEveryCrash(t *testing.T) {
	t.Parallel()
	random := random(t)
	for range 2 * *rounds {
		crashes, fired, err := crashClockwork(random.Uint64(), 12)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%d crashes in a life with %d firings", crashes, fired)
	}
}

func crashClockwork(seed uint64, stride int) (crashes, fired int, err error) {
	for stop := int(seed % uint64(stride)); ; stop += stride {
		w := newClockwork()
		w.disk.StopAfter(stop)
		whole, err := w.spend(rand.New(rand.NewPCG(seed, 1)), 90)
		if err != nil {
			return crashes, 0, fmt.Errorf("seed %d, stopped after operation %d: %w", seed, stop, err)
		}
		models := crashfs.Models(seed + uint64(stop))
		for _, model := range turn(models, stop, 1) {
			left := w.on(w.disk.Crash(model))
			if err := left.outlive(rand.New(rand.NewPCG(seed, 2))); err != nil {
				return crashes, 0, fmt.Errorf("seed %d, stopped after operation %d, %v: %w", seed, stop, model, err)
			}
			crashes++
		}
		if w.engine != nil {
			_ = w.engine.Close() // on a disk that has stopped
		}
		if whole {
			return crashes, w.chronicle.fired(), nil
		}
	}
}

// outlive opens what a crash has left, and goes on with it through another one.
func (w *clockwork) outlive(random *rand.Rand) error {
	w.options.Shards = 1 + random.IntN(3)
	if err := w.reopened(); err != nil {
		return err
	}
	for range 6 {
		if err := w.step(random); err != nil {
			return err
		}
	}
	next := w.on(w.disk.Crash(crashfs.Model{}))
	_ = w.engine.Close()
	next.now.Add(int64(200 * time.Millisecond))
	if err := next.reopened(); err != nil {
		return err
	}
	return next.engine.Close()
}

// A sleeper is a store with two tables, of which the second one's clock stops while the store
// is down, beside a model of both: what is due is known to the nanosecond.
type sleeper struct {
	options engine.Options
	disk    *crashfs.FS
	now     atomic.Int64
	engine  *engine.Engine
	moved   func(context.Context) error
	tables  [2]*engine.Table[string, dozed, int64, struct{}]
	model   [2]map[string]*dozer
	paused  int64 // how long the store was down
}

// A dozed is a state that counts; a dozer is its key in the model, with times by the clock of
// its table.
type (
	dozed struct{ Events, Timers int64 }
	dozer struct {
		state         dozed
		timer, latest int64
	}
)

const dozeIdle = 300 * time.Millisecond

func newSleeper(shards int) *sleeper {
	s := &sleeper{options: small(), disk: crashfs.New()}
	s.options.Partitions, s.options.Shards = clockPartitions, shards
	s.now.Store(epoch.UnixNano())
	for i, mode := range []engine.DowntimeMode{engine.DowntimeCounts, engine.DowntimeStops} {
		s.model[i] = make(map[string]*dozer)
		s.tables[i] = engine.NewTable(engine.Spec[string, dozed, int64, struct{}]{
			Name: fmt.Sprint("dozed-", i), TTL: engine.TTL{Idle: dozeIdle, Downtime: mode},
			Apply: func(c *engine.Context[string], d *dozed, ms int64) (_ struct{}) {
				if d.Events++; ms > 0 {
					c.SetTimer(c.Now().Add(time.Duration(ms) * time.Millisecond))
				}
				return
			},
			OnTimer: func(_ *engine.Context[string], d *dozed) { d.Timers++ },
		})
	}
	return s
}

// clock is that of a table.
func (s *sleeper) clock(table int) int64 { return s.now.Load() - int64(table)*s.paused }

func (s *sleeper) open() error {
	ctx, cancel := patiently()
	defer cancel()
	o := s.options
	o.Environment = &seam.Environment{
		FS: s.disk, Now: s.now.Load, Seed: hashSeed, Hash: timeHash,
		Hear: func(moved func(context.Context) error) { s.moved = moved },
	}
	e, err := engine.Open(ctx, "/store", o, s.tables[0], s.tables[1])
	s.engine = e
	return err
}

// do sends an event, and waits until it is durable.
func (s *sleeper) do(table int, key string, ms int64) error {
	ctx, cancel := patiently()
	defer cancel()
	if _, err := s.tables[table].Do(ctx, key, ms); err != nil {
		return err
	}
	d := s.model[table][key]
	if d == nil {
		d = &dozer{}
		s.model[table][key] = d
	}
	d.state.Events++
	d.latest = s.clock(table)
	if ms > 0 {
		d.timer = d.latest + ms*int64(time.Millisecond)
	}
	return nil
}

// pass lets time pass and compares everything with the model.
func (s *sleeper) pass(d time.Duration) error {
	ctx, cancel := patiently()
	defer cancel()
	s.now.Add(int64(d))
	if err := s.moved(ctx); err != nil {
		return err
	}
	for table := range s.tables {
		s.fire(table)
		have := make(map[string]dozed)
		for e, err := range s.tables[table].All(ctx) {
			if err != nil {
				return err
			}
			have[e.Key] = e.State
		}
		want := make(map[string]dozed)
		for key, d := range s.model[table] {
			want[key] = d.state
		}
		if !maps.Equal(have, want) {
			return violated("table %d holds %v, want %v", table, have, want)
		}
	}
	return nil
}

// fire carries out what is due in the model.
func (s *sleeper) fire(table int) {
	now := s.clock(table)
	for key, d := range s.model[table] {
		end := d.latest + int64(dozeIdle)
		if d.timer != 0 && d.timer <= now && d.timer <= end {
			d.state.Timers++
			d.timer = 0
		}
		if end <= now {
			delete(s.model[table], key)
		}
	}
}

// sleep ends the process for some time: by a close, or by a crash right behind an event,
// which is the last moment that a log knows of then.
func (s *sleeper) sleep(random *rand.Rand) error {
	if random.IntN(3) == 0 {
		if err := s.engine.Close(); err != nil {
			return err
		}
	} else {
		if err := s.do(0, "beacon", 0); err != nil {
			return err
		}
		models := crashfs.Models(random.Uint64())
		next := s.disk.Crash(models[random.IntN(len(models))])
		_ = s.engine.Close() // on a disk that is gone
		s.disk = next
	}
	down := int64(random.IntN(500)) * int64(time.Millisecond)
	s.now.Add(down)
	s.paused += down
	s.options.Shards = 1 + random.IntN(3)
	if err := s.open(); err != nil {
		return err
	}
	return s.pass(0)
}

func (s *sleeper) step(random *rand.Rand) error {
	ctx, cancel := patiently()
	defer cancel()
	switch n := random.IntN(20); {
	case n < 10:
		return s.do(random.IntN(2), fmt.Sprint("key-", random.IntN(8)), random.Int64N(4)*random.Int64N(150))
	case n < 15:
		return s.pass(time.Duration(random.IntN(120)) * time.Millisecond)
	case n < 16:
		return s.engine.Snapshot(ctx)
	case n < 17:
		return s.engine.Move(ctx, random.IntN(clockPartitions), random.IntN(s.options.Shards))
	}
	return s.sleep(random)
}

// Goal: where a table's clock stops while the store is down, its timers and keys are due
// when it was up for so long, and those of another table when they are due by the wall,
// through closes, crashes, moves, snapshots and other numbers of shards. Method: random
// lives against a model that knows both clocks.
func TestClocksThatStopAgreeWithAModel(t *testing.T) {
	t.Parallel()
	random := random(t)
	for range 12 * *rounds {
		s := newSleeper(1 + random.IntN(3))
		must(t, s.open())
		for range 100 {
			must(t, s.step(random))
		}
		must(t, s.engine.Close())
	}
}

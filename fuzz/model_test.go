package fuzz

import (
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// A machine draws operations and carries them out on a rig.
type machine struct {
	*rig
	t     drawer
	dying bool // the disk stops soon: from then on operations fail
}

// A drawer gives choices: those of rapid, or those in the bytes of a fuzzer.
type drawer interface {
	// draw gives a number below n.
	draw(n int, label string) int
}

type rapidDrawer struct{ *rapid.T }

func (d rapidDrawer) draw(n int, label string) int { return rapid.IntRange(0, n-1).Draw(d.T, label) }

func (m *machine) name() name {
	return name{notes: m.t.draw(4, "notes") == 0, key: fmt.Sprintf("key-%d", m.t.draw(16, "key"))}
}

func (m *machine) step() step {
	actions := []action{count, count, count, count, count, remove, refuse, panics}
	n := m.t.draw(400, "filler")
	return step{Action: actions[m.t.draw(len(actions), "action")], Filler: filler(n, uint64(n))}
}

func (m *machine) ack() engine.Ack {
	acks := []engine.Ack{engine.Durable, engine.Written, engine.Applied}
	if m.options.Sync == engine.SyncNever {
		acks = acks[1:]
	}
	return acks[m.t.draw(len(acks), "ack")]
}

// operations are what a machine does, by weight.
var operations = []struct {
	weight int
	name   string
	run    func(*machine) error
}{
	{12, "do", func(m *machine) error { return m.do(m.name(), m.step(), m.ack()) }},
	{12, "send", (*machine).sendSome},
	{4, "flush", func(m *machine) error { return m.flush() }},
	{4, "batch", (*machine).batch},
	{2, "crowd", func(m *machine) error { return m.crowd(m.number.Load(), 1+m.t.draw(10, "events")) }},
	{4, "get", (*machine).get},
	{2, "look", (*machine).look},
	{2, "snapshot", (*machine).snapshot},
	{2, "advance", func(m *machine) error { m.now.Add(int64(m.t.draw(5000, "us")) * 1000); return nil }},
	{1, "back", func(m *machine) error { m.now.Add(-int64(m.t.draw(9000, "us")) * 1000); return nil }},
	{2, "reopen", (*machine).restart},
	{3, "crash", func(m *machine) error { return m.die(m.t.draw(9, "model")) }},
	{3, "stop", (*machine).stopSoon},
}

// act carries out one operation. When the disk has stopped, what fails is followed by
// a crash.
func (m *machine) act() error {
	total := 0
	for _, o := range operations {
		total += o.weight
	}
	at := m.t.draw(total, "operation")
	for _, o := range operations {
		if at -= o.weight; at < 0 {
			return m.attempt(o.name, o.run)
		}
	}
	return nil
}

func (m *machine) attempt(label string, run func(*machine) error) error {
	err := run(m)
	var v violation
	if err != nil && m.dying && !errors.As(err, &v) {
		err = m.die(m.t.draw(9, "model"))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", label, err)
	}
	return nil
}

func (m *machine) sendSome() error {
	ack := m.ack()
	for range 1 + m.t.draw(12, "events") {
		if err := m.produce(m.name().key, m.step(), ack); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) snapshot() error {
	if err := m.flush(); err != nil {
		return err
	}
	return snapshot(m.rig)
}

// look compares all states.
func (m *machine) look() error {
	if err := m.flush(); err != nil {
		return err
	}
	all, err := m.read()
	if err != nil {
		return err
	}
	for p, have := range all {
		l := &m.oracle.lines[p]
		if !l.after(len(l.events)).equal(have) {
			return violated("partition %d holds something else than was done; %s", p, l.explain(len(l.events), have))
		}
	}
	return nil
}

// get reads one key in one of the ways there are.
func (m *machine) get() error {
	if err := m.flush(); err != nil {
		return err
	}
	ctx, cancel := patiently()
	defer cancel()
	n := m.name()
	n.notes = false
	var have tally
	var ok bool
	var err error
	var options []engine.ReadOption
	durable := m.options.Sync != engine.SyncNever && m.t.draw(3, "durable") == 0
	if durable {
		options = append(options, engine.OnlyDurable)
	}
	if m.t.draw(2, "view") == 0 {
		ok, err = m.tallies.View(ctx, n.key, func(s *tally) { have = *s }, options...)
	} else {
		have, ok, err = m.tallies.Get(ctx, n.key, options...)
	}
	if err != nil {
		return judgeFailure(err)
	}
	l := &m.oracle.lines[m.partition(n.key)]
	want, there := l.after(len(l.events))[n]
	if ok != there || ok && !want.same(note{Tally: have}) {
		return violated("%v is %+v (%v), and must be %+v (%v)", n, have, ok, want.Tally, there)
	}
	if durable {
		l.durable() // everything that was done in the partition came before the read
	}
	return nil
}

// batch sends events of both tables and a read together.
func (m *machine) batch() error {
	if err := m.flush(); err != nil {
		return err
	}
	ctx, cancel := patiently()
	defer cancel()
	type sent struct {
		name   name
		step   step
		result engine.Result[tally]
	}
	all := make([]sent, 1+m.t.draw(6, "events"))
	b := m.engine.Batch()
	for i := range all {
		s := &all[i]
		s.name, s.step = m.name(), m.step()
		s.step.Number = m.number.Add(1)
		if s.name.notes {
			m.notes.Put(b, s.name.key, s.step, &s.result)
		} else {
			m.tallies.Put(b, s.name.key, s.step, &s.result)
		}
	}
	var read engine.StateResult[tally]
	last := all[len(all)-1].name.key
	m.tallies.Read(b, last, &read)
	ack := m.ack()
	first := b.Do(ctx, ack)
	var failed error
	for i := range all {
		s := &all[i]
		if err := m.judgeResult(s.name, s.step, ack, &s.result); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if read.Err != nil || failed != nil {
		return errors.Join(first, failed, read.Err)
	}
	l := &m.oracle.lines[m.partition(last)]
	if want, ok := l.after(len(l.events))[name{key: last}]; ok != read.Found || ok && !want.same(note{Tally: read.State}) {
		return violated("the batch reads %+v (%v) and must read %+v (%v)", read.State, read.Found, want.Tally, ok)
	}
	return nil
}

// judgeResult tells the oracle of one event of a batch.
func (m *machine) judgeResult(n name, s step, ack engine.Ack, result *engine.Result[tally]) error {
	if s.Action == refuse || s.Action == panics {
		return judgeRefusal(s, result.Err)
	}
	p := m.partition(n.key)
	e := m.oracle.submit(p, event{name: n, step: s})
	return m.judgeAnswer(p, e, result.Value, ack, result.Err)
}

// restart closes the store and opens it with another number of shards.
func (m *machine) restart() error {
	if err := m.close(); err != nil {
		return err
	}
	m.options.Shards = 1 + m.t.draw(8, "shards")
	if err := m.open(); err != nil {
		return err
	}
	return m.judge(done)
}

// stopSoon lets the disk stop some operations from now.
func (m *machine) stopSoon() error {
	if !m.dying {
		m.disk.StopAfter(m.disk.Ops() + m.t.draw(40, "operations"))
		m.dying = true
	}
	return nil
}

// die crashes and recovers, now and then with a crash in the recovery.
func (m *machine) die(index int) error {
	model := crashfs.Models(m.number.Load())[index]
	if err := m.crash(model); err != nil {
		return err
	}
	m.dying = false
	least := floorOf(model)
	if m.t.draw(3, "twice") == 0 {
		m.disk.StopAfter(m.t.draw(60, "operations"))
		_ = m.open() // it fails, or is stopped when it is done
		if err := m.crash(crashfs.Model{Data: crashfs.Torn, Entries: true, Seed: model.Seed}); err != nil {
			return err
		}
		least = safe
	}
	m.options.Shards = 1 + m.t.draw(8, "shards")
	return m.reopen(least)
}

// play carries out n operations, and at the end a crash and a close.
func (m *machine) play(n int) error {
	if err := m.open(); err != nil {
		return err
	}
	for range n {
		m.now.Add(int64(100 * time.Microsecond))
		if err := m.act(); err != nil {
			return err
		}
	}
	if err := m.die(m.t.draw(9, "model")); err != nil {
		return err
	}
	return m.attempt("close", (*machine).restart)
}

// Goal: the store behaves as a map that events are applied to one at a time, through
// crashes of every kind at every moment, recoveries that crash, and reopenings.
// Method: random operations on store and oracle side by side.
func TestModelAndEngineAgree(t *testing.T) {
	t.Parallel()
	for name, hash := range hashes {
		for mode, sync := range map[string]engine.SyncMode{"always": engine.SyncAlways, "interval": engine.SyncInterval, "never": engine.SyncNever} {
			checks := 8
			if name == "full" {
				checks = 25
			}
			t.Run("hash="+name+"/sync="+mode, func(t *testing.T) { playMany(t, checks**rounds, hash, sync) })
		}
	}
}

// playMany has rapid draw the operations. It prints how to repeat what fails.
func playMany(t *testing.T, checks int, hash hash, sync engine.SyncMode) {
	if err := flag.Set("rapid.checks", fmt.Sprint(checks)); err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		o := small()
		o.Sync = sync
		o.Shards = rapid.IntRange(1, 8).Draw(rt, "shards")
		m := &machine{rig: newRig(o, hash), t: rapidDrawer{rt}}
		defer m.abandon()
		if err := m.play(rapid.IntRange(20, 90).Draw(rt, "operations")); err != nil {
			rt.Fatal(err)
		}
	})
}

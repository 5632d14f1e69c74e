// Package drive starts children on a store, ends them in whatever way a test likes, and
// judges what is left: package load is what the children do. The oracle lives in this
// process, outside of the store and of the children.
package drive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/fuzz/torture/load"
	"github.com/keyfold/keyfold/internal/child"
)

// A Violation is an error that breaks a promise of the engine. Other errors are those of
// the test.
type Violation struct{ error }

// Violated makes an error a Violation.
func Violated(err error) error { return Violation{err} }

func violated(format string, args ...any) error { return Violation{fmt.Errorf(format, args...)} }

// A Store is one directory through all its children, and what it must hold. It must be
// used by one goroutine at a time.
type Store struct {
	Dir  string // of the store
	Work string // for the files between parent and children
	// Checked counts the acknowledged events that were looked for after a crash, each
	// once.
	Checked int64
	// Program is the command that runs a child; its environment says with which orders.
	// Nil means this program.
	Program func(self string) *exec.Cmd

	number  uint64 // of the last child
	model   [load.Partitions]partition
	pending *Ended // the child whose events may be there
	last    *load.Found
	sent    load.Life // of the last child that may have sent something
}

// New is a store that nobody has opened yet. work must be an existing directory.
func New(dir, work string) *Store {
	s := &Store{Dir: dir, Work: work}
	for p := range s.model {
		s.model[p].states = map[load.Name]load.Note{}
	}
	return s
}

// Events is how many events the store holds, as far as is known.
func (s *Store) Events() (n uint64) {
	for p := range s.model {
		n += s.model[p].events
	}
	return n
}

// A Child is a process that has the store open. It must be ended.
type Child struct {
	*child.Process
	Board  load.SharedBoard
	store  *Store
	orders load.Orders
	files  []string
	judged bool
	found  *load.Found
	began  time.Time
}

// Start starts a child. Orders say what it does; files and life number are filled in, and
// the directory if there is none.
func (s *Store) Start(o load.Orders) (*Child, error) {
	c, err := s.Prepare(o)
	if err != nil {
		return nil, err
	}
	return c, c.Begin()
}

// Prepare makes everything ready for Begin, which starts the child.
func (s *Store) Prepare(o load.Orders) (*Child, error) {
	s.number++
	file := func(kind string) string { return filepath.Join(s.Work, fmt.Sprintf("%s-%d", kind, s.number)) }
	if o.Dir == "" {
		o.Dir = s.Dir
	}
	o.Life.Number, o.Marks, o.Found = s.number, file("marks"), file("found")
	o.Before = s.sent
	c := &Child{store: s, orders: o, files: []string{file("orders"), o.Marks, o.Found, o.Marks + "-complaints"}}
	text, err := json.Marshal(o)
	if err == nil {
		err = os.WriteFile(c.files[0], text, 0o600)
	}
	if err == nil {
		c.Board, err = load.OpenBoard(o.Marks)
	}
	if err != nil {
		return nil, fmt.Errorf("drive: %w", err)
	}
	return c, nil
}

// Begin starts the child.
func (c *Child) Begin() (err error) {
	cmd := c.store.command()
	cmd.Env = append(os.Environ(), load.Variable+"="+c.files[0])
	c.began = time.Now()
	if c.Process, err = child.Start(cmd); err != nil {
		return errors.Join(err, c.Board.Close())
	}
	return nil
}

// Verify says what engine.Verify finds wrong with the store, which nobody may have open.
func (s *Store) Verify() error {
	v, err := engine.Verify(context.Background(), s.Dir, engine.VerifyOptions{})
	if err != nil {
		return violated("Verify can say nothing: %w", err)
	}
	if v.Ready && !v.Whole() {
		return violated("Verify finds %+v", v.Faults)
	}
	return nil
}

func (s *Store) command() *exec.Cmd {
	if s.Program != nil {
		return s.Program(os.Args[0])
	}
	return exec.Command(os.Args[0])
}

// patience is how long a child may take to open a store, or for anything else.
const patience = time.Minute

// Opening is how long the child has been there.
func (c *Child) Opening() time.Duration { return time.Since(c.began) }

// isReady says that the child has left what it found.
func (c *Child) isReady() (bool, error) { return c.Board.State.Load() >= load.Ready, nil }

// ReadyWithin waits for the child to open the store, and says whether it has. The child
// may take any time, but only d is waited.
func (c *Child) ReadyWithin(d time.Duration) bool {
	ready, _ := c.Until(d, c.isReady)
	return ready
}

// Ready waits until the child has opened the store, and judges what it found.
func (c *Child) Ready() error {
	ready, err := c.Until(patience, c.isReady)
	if err == nil && !ready {
		if !c.Ended() {
			err = violated("a child does not open the store in %v", patience)
		} else {
			err = Violation{errors.Join(errors.New("a child does not open the store"), c.Process.Finish())}
		}
	}
	if err != nil {
		return err
	}
	return c.judge()
}

// judge judges what the child found, once.
func (c *Child) judge() error {
	if c.judged {
		return nil
	}
	c.judged = true
	found, err := load.ReadFound(c.orders.Found)
	if err != nil {
		return err
	}
	c.found = found
	return c.store.judge(found)
}

// Found is what the child found, once it is Ready.
func (c *Child) Found() *load.Found { return c.found }

// Judge judges what was found in the store without a child.
func (s *Store) Judge(f *load.Found) error { return s.judge(f) }

// Expect says that the events of a life are in the store, up to the marks of the board.
func (s *Store) Expect(l load.Life, b *load.Board) {
	e := marksOf(b)
	e.life = l
	s.pending = &e
}

// Cut is a store of its own that holds what s must hold if the power is cut now. e are the
// marks of the child that has s open; nil if none has.
func (s *Store) Cut(e *Ended) *Store {
	c := &Store{Dir: s.Dir, Work: s.Work, number: s.number, pending: s.pending, last: s.last}
	for p := range s.model {
		c.model[p] = s.model[p].clone()
	}
	if e != nil {
		c.pending = e
	}
	if c.pending != nil {
		cut := *c.pending
		cut.lossy = true
		c.pending = &cut
	}
	return c
}

// Acked is how many events of the child are acknowledged: written at least, or submitted
// by one that asks for no more than Applied.
func (c *Child) Acked() (n uint64) {
	for p := range c.Board.Partitions {
		m := &c.Board.Partitions[p]
		acked := max(m.Written.Load(), m.Durable.Load())
		if c.orders.Ack == engine.Applied {
			acked = m.Submitted.Load()
		}
		n += max(acked, c.store.model[p].events) - c.store.model[p].events
	}
	return n
}

// UntilAcked waits until so many events of the child are acknowledged, or d is over.
func (c *Child) UntilAcked(n uint64, d time.Duration) {
	_, _ = c.Until(d, func() (bool, error) { return c.Acked() >= n, nil })
}

// Sent waits until the child has sent all that it was ordered to.
func (c *Child) Sent() error {
	sent, err := c.Until(patience, func() (bool, error) { return c.Board.State.Load() == load.Sent, nil })
	if err == nil && !sent {
		err = Violation{errors.Join(fmt.Errorf("a child has not sent its events in %v", patience), c.Kill())}
	}
	return err
}

// UntilAllSent waits until the child has sent all that it was ordered to, or has ended, or
// d is over.
func (c *Child) UntilAllSent(d time.Duration) {
	_, _ = c.Until(d, func() (bool, error) { return c.Board.State.Load() == load.Sent, nil })
}

// Healthy says that the child is there, and that none of its senders has stopped.
func (c *Child) Healthy() error {
	if c.Ended() {
		return Violation{errors.Join(errors.New("a child has ended before its time"), c.Process.Finish())}
	}
	for p := range c.Board.Partitions {
		if c.Board.Partitions[p].Failed.Load() != 0 {
			return violated("the sender of partition %d has stopped: %s", p, load.Complaints(c.orders.Marks))
		}
	}
	return nil
}

// FailedPartitions counts those whose senders have stopped because of an error.
func (c *Child) FailedPartitions() (n int) {
	for p := range c.Board.Partitions {
		n += int(c.Board.Partitions[p].Failed.Load())
	}
	return n
}

// Ended is what is known of a child that is gone.
type Ended struct {
	life                        load.Life
	submitted, written, durable [load.Partitions]uint64
	lossy                       bool // only what was durable need be there
	complaints                  string
}

// Marks are how far the child is now. Those of one that has not opened the store yet are
// those of the children before it: nil.
func (c *Child) Marks() *Ended {
	if ready, _ := c.isReady(); !ready {
		return nil
	}
	e := c.marks()
	return &e
}

func (c *Child) marks() Ended {
	e := marksOf(c.Board.Board)
	e.life = c.orders.Life
	return e
}

func marksOf(b *load.Board) (e Ended) {
	for p := range b.Partitions {
		m := &b.Partitions[p]
		e.submitted[p], e.written[p], e.durable[p] = m.Submitted.Load(), m.Written.Load(), max(m.Durable.Load(), m.Read.Load())
	}
	return e
}

// EndBy ends the child by a kill: everything that was written must be there.
func (c *Child) EndBy() error { return c.end(c.Kill, false) }

// EndWith ends the child by cut, which takes the machine away: everything that was
// durable before cut was called must be there. cut must leave the child killed.
func (c *Child) EndWith(cut func() error) error { return c.end(cut, true) }

// Finish waits for a child that closes the store by itself.
func (c *Child) Finish() error { return c.end(c.Process.Finish, false) }

func (c *Child) end(by func() error, lossy bool) error {
	before := c.marks()
	err := by()
	after := c.marks()
	after.lossy = lossy
	if lossy {
		after.durable, after.written = before.durable, before.written
	}
	ready, _ := c.isReady()
	if ready {
		err = errors.Join(err, c.judge())
	}
	err = errors.Join(err, c.Board.Close())
	after.complaints = load.Complaints(c.orders.Marks)
	if ready && c.orders.Events > 0 {
		c.store.pending, c.store.sent = &after, after.life
	}
	for _, f := range c.files {
		_ = os.Remove(f) // nothing depends on it
	}
	return err
}

// judge compares what a store holds with what it must, and goes on from there.
func (s *Store) judge(f *load.Found) error {
	keys := 0
	for p := range f.Partitions {
		keys += len(f.Partitions[p].States)
		if err := s.judgePartition(p, &f.Partitions[p]); err != nil {
			return err
		}
	}
	if keys != f.Keys {
		return violated("Recovery says %d keys, there are %d", f.Keys, keys)
	}
	if s.pending == nil && s.last != nil {
		if err := s.same(f); err != nil {
			return err
		}
	}
	s.pending, s.last = nil, f
	return nil
}

func (s *Store) judgePartition(p int, have *load.Holding) error {
	m := &s.model[p]
	least, most := m.events, m.events
	var life load.Life
	if e := s.pending; e != nil {
		life = e.life
		least, most = max(least, e.durable[p]), max(most, e.submitted[p])
		if !e.lossy {
			least = max(least, e.written[p])
		}
	}
	if have.Events < least || have.Events > most {
		return violated("partition %d has %d events, and must have %d to %d%s", p, have.Events, least, most, s.complaints())
	}
	s.Checked += int64(least - m.events)
	m.advance(&life, p, have.Events)
	if text := m.differs(have.States); text != "" {
		return violated("partition %d: %s", p, text)
	}
	return nil
}

// complaints are what has stopped the senders of the last child.
func (s *Store) complaints() string {
	if s.pending == nil || s.pending.complaints == "" {
		return ""
	}
	return "; its senders had stopped:\n" + s.pending.complaints
}

// same says that a recovery has found the same as the one before, to the last bit.
func (s *Store) same(f *load.Found) error {
	for p := range f.Partitions {
		if !reflect.DeepEqual(f.Partitions[p], s.last.Partitions[p]) {
			return violated("partition %d: a second recovery finds\n\t%+v, the first one found\n\t%+v", p, f.Partitions[p], s.last.Partitions[p])
		}
	}
	return nil
}

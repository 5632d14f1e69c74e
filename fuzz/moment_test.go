package fuzz

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
)

// What happens to a key at a moment.
const (
	came    = 'e' // an event
	rang    = 't' // its timer was due, and OnTimer has returned
	ended   = 'x' // the key was due, and OnExpire has returned
	rangOff = 'T' // OnTimer did not return
	endless = 'X' // OnExpire did not return
)

// A moment is one step of a partition: an event, or something that was due.
type moment struct {
	what  rune
	table int
	key   string
	now   int64
	alarm alarm // what the event asked for
}

// An alarm is an event of the tables with times: it sets the timer so many milliseconds
// from then, stops it if that is 0, and leaves it as it is if it is less.
type alarm struct {
	Milliseconds int64
	Delete       bool
	Panic        bool
	Refuse       bool   // Check does
	Number       uint64 // of those that a test tells apart
	Version      uint32 // of the table, under which it was sent or to which it was lifted
}

// A watched is the state of a key: how much has happened to it, and of what.
// Its chain is a hash over all of that, in its order.
type watched struct {
	Events, Timers, Kept, Last int64
	Chain                      uint64
}

// link adds something to the chain.
func (s *watched) link(sequence, what uint64) {
	s.Chain = (s.Chain ^ sequence<<32 ^ what) * 0x100000001b3
}

// What is in the chain for what is no event.
const (
	linkTimer = 1 << 30
	linkKept  = 1<<30 + 1
)

// A worded is a state with pointers.
type worded struct {
	Watched watched
	Text    string
}

// What the functions of the tables do beside counting depends on the sequence alone, so
// that the model knows it, too.
const (
	timerDeletes = 0
	timerAgain   = 1
	timerPanics  = 2
	expiryKeeps  = 0
	expiryPanics = 1
)

func whim(sequence uint64) uint64 { return xxh3.HashString(fmt.Sprint(sequence)) % 8 }

// againAfter is when a timer that is set again is due, from then.
const againAfter = 70 * time.Millisecond

// ttls are how long the keys of the two tables live.
var ttls = [2]engine.TTL{{Idle: 300 * time.Millisecond}, {Idle: 900 * time.Millisecond, Age: 1500 * time.Millisecond}}

// A chronicle is what has happened in each partition, as the functions of the tables have
// told. It is safe for concurrent use.
type chronicle struct {
	mu        sync.Mutex
	moments   [][]moment  // by partition; moment i has sequence i+1
	replaying atomic.Bool // what is told must be what is there
	fresh     []bool      // by partition: the next moment may replace some that are lost
	wrong     error
	partition func(key string) int
	deaf      bool // it is told what does not count
	hides     bool // the engine's own tables have steps, too
}

// hidden stands for a step of a table of the engine's own, of which nobody tells.
var hidden = moment{what: 'h'}

// tell adds a moment. In a replay it must be the one that is there already.
func (c *chronicle) tell(sequence uint64, m moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deaf {
		return
	}
	p := c.partition(m.key)
	all := c.moments[p]
	at := int(sequence) - 1
	if c.replaying.Load() {
		if at >= len(all) || all[at] != m {
			c.wrong = errors.Join(c.wrong, violated("partition %d: the replay tells %d: %+v, of %+v", p, sequence, m, all))
		}
		return
	}
	for at > len(all) && c.hides {
		all = append(all, hidden)
	}
	if at != len(all) && (at > len(all) || !c.fresh[p]) {
		c.wrong = errors.Join(c.wrong, violated("partition %d: moment %d, %+v, comes behind %d", p, sequence, m, len(all)))
		return
	}
	c.moments[p], c.fresh[p] = append(all[:at], m), false
}

// reopen says that a replay begins, behind which moments may be missing.
func (c *chronicle) reopen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replaying.Store(true)
	for p := range c.fresh {
		c.fresh[p] = true
	}
}

// A reference is what a partition must hold after some moments: a map with naive timers.
type reference map[reminded]*memory

type reminded struct {
	table int
	key   string
}

// A memory is a key as the reference has it. Times are 0 if there are none.
type memory struct {
	state               watched
	timer, made, latest int64
}

// due is when something is due of the key, and what.
func (m *memory) due(table int) (at int64, what rune) {
	ttl := ttls[table]
	at, what = m.latest+int64(ttl.Idle), ended
	if ttl.Age > 0 {
		at = min(at, m.made+int64(ttl.Age))
	}
	if m.timer != 0 && m.timer <= at {
		return m.timer, rang
	}
	return at, what
}

// first is what is due first in the partition.
func (r reference) first() (of reminded, at int64, what rune) {
	type candidate struct {
		at    int64
		table int
		hash  uint32
		key   string
	}
	var best *candidate
	for id, m := range r {
		due, kind := m.due(id.table)
		c := candidate{due, id.table, uint32(timeHash([]byte(id.key), hashSeed)), id.key}
		if best == nil || less(c.at, best.at, int64(c.table), int64(best.table), int64(c.hash), int64(best.hash)) || c.at == best.at && c.table == best.table && c.hash == best.hash && c.key < best.key {
			best, of, at, what = &c, id, due, kind
		}
	}
	return of, at, what
}

// less compares pairs of numbers, the first pair first.
func less(pairs ...int64) bool {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] != pairs[i+1] {
			return pairs[i] < pairs[i+1]
		}
	}
	return false
}

// take carries out a moment. What is said to be due must be what is due first.
func (r reference) take(sequence uint64, m moment) error {
	id := reminded{m.table, m.key}
	switch m.what {
	case came:
		r.event(sequence, id, m)
		return nil
	case hidden.what:
		return nil
	}
	of, at, what := r.first()
	if len(r) == 0 || of != id || what != m.fired() || at > m.now {
		return violated("moment %d is %c of %v at %d, but %c of %v is due first, at %d", sequence, m.what, id, m.now, what, of, at)
	}
	k := r[id]
	switch m.what {
	case rang:
		k.timer = 0
		k.state.Timers++
		k.state.Last = m.now
		k.state.link(sequence, linkTimer)
		switch whim(sequence) {
		case timerDeletes:
			delete(r, id)
		case timerAgain:
			k.timer = m.now + int64(againAfter)
		}
	case rangOff:
		k.timer = 0
	case ended:
		if whim(sequence) != expiryKeeps {
			delete(r, id)
			return nil
		}
		k.state.Kept++
		k.state.link(sequence, linkKept)
		k.latest, k.made = m.now, m.now
	case endless:
		delete(r, id)
	}
	return nil
}

// fired is what was due.
func (m *moment) fired() rune {
	switch m.what {
	case rang, rangOff:
		return rang
	}
	return ended
}

func (r reference) event(sequence uint64, id reminded, m moment) {
	k := r[id]
	if k == nil {
		k = &memory{made: m.now}
		r[id] = k
	}
	k.state.Events++
	k.state.link(sequence, m.alarm.Number)
	k.latest = m.now
	switch {
	case m.alarm.Delete:
		delete(r, id)
	case m.alarm.Milliseconds > 0:
		k.timer = m.now + m.alarm.Milliseconds*1e6
	case m.alarm.Milliseconds == 0:
		k.timer = 0
	}
}

// after is what a partition must hold after its first n moments.
func (c *chronicle) after(partition, n int) (reference, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := reference{}
	if c.wrong != nil {
		return nil, c.wrong
	}
	for c.hides && len(c.moments[partition]) < n {
		c.moments[partition] = append(c.moments[partition], hidden)
	}
	for i, m := range c.moments[partition][:n] {
		if err := r.take(uint64(i+1), m); err != nil {
			return nil, fmt.Errorf("partition %d: %w", partition, err)
		}
	}
	return r, nil
}

// holds says whether states are those of the reference.
func (r reference) holds(have map[reminded]watched) error {
	want := make(map[reminded]watched)
	for id, m := range r {
		want[id] = m.state
	}
	if maps.Equal(want, have) {
		return nil
	}
	text := ""
	for _, id := range slices.SortedFunc(maps.Keys(want), func(a, b reminded) int { return a.table - b.table }) {
		text += fmt.Sprintf("\n\t%v must be %+v", id, want[id])
	}
	return violated("it holds %v%s", have, text)
}

// fired counts what was due.
func (c *chronicle) fired() (n int) {
	for _, all := range c.moments {
		for _, m := range all {
			if m.what != came {
				n++
			}
		}
	}
	return n
}

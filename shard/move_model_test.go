package shard

import (
	"fmt"
	"strings"
)

// The model of a move: one partition, two shards, two producers, and a mover, each of
// whose steps is atomic and may come at any time. The table of the steps is in DESIGN.md.
//
// A log is a list of entries: "h" the header of a generation with the holding that it
// begins with, "e" an event, "b" the image with which an adoption begins, "c" its commit.
// A crash keeps what is durable and any part of the rest. What a shard holds after it is
// read from its snapshot and its log alone, and of two holdings the higher epoch wins.

// modelShard is one of the two shards.
type modelShard struct {
	owns     bool
	epoch    int
	state    string // the events applied, in order
	watching bool   // since the copy; delta is what came after it
	delta    string
	expects  bool   // the partition is on its way here
	held     string // events that overtook it
	open     bool   // an adoption has begun in the log and is not committed
	leaving  bool   // gave the partition away, and does not know yet that it was adopted durably
	inbox    string
	version  int // of the inbox

	log     string // entries, each with a blank behind it
	durable int    // entries
	acked   int    // entries whose events were acknowledged
	kept    string // the holding in the snapshot: "epoch:state", or ""
	resumed bool

	round   int    // 0 idle, 1 begun, 2 stamped
	from    int    // entry of the round's header
	stamp   string // what the round will publish
	stamped int    // entries that the stamp depends on
}

// A modelRoute says who owns the partition, and what version its inbox has.
type modelRoute struct {
	owner    int
	versions [2]int
}

// A model is a state of everything.
type model struct {
	shards   [2]modelShard
	current  modelRoute
	pending  modelRoute // the same as current but during a move
	seen     [2]modelRoute
	next     int // id of the next event
	admitted string
	ackedIDs string
	step     int // of the mover
	image    string
	object   string // the partition on its way
	delta    string
	cut      int // events in the old owner's inbox up to the cut
	left     modelLimits
}

// A mutation is a protocol with a hole. The model must find each.
type mutation uint8

const (
	asDesigned         mutation = iota
	currentBeforeCut            // the new route is made current before the old owner's inbox is closed to it
	pushFromBehind              // a failed claim by an older route makes the pending one current
	claimAnyVersion             // a claim does not look at the route version
	handOverEarly               // the old owner does not wait until it has come to the cut
	applyOvertaking             // the new owner applies what overtook the partition as it comes
	heldLast                    // what was held back is applied behind what came later
	commitLast                  // the new owner logs and applies events before the commit
	noDelta                     // events between copy and cut are not logged by the new owner
	sameEpoch                   // an adoption does not raise the epoch
	publishEarly                // the old owner's snapshots do not wait for the adoption
	settleWritten               // the old owner is told when the commit is written, not when it is durable
	roundWhileAdopting          // a round may begin between begin and commit
	beginOwns                   // recovery takes an adoption without commit for one
	mutations
)

// modelLimits bound a search: how much of everything there is.
type modelLimits struct{ events, moves, crashes, rounds int }

func modelStart(left modelLimits) model {
	m := model{next: 1, left: left}
	for i := range m.shards {
		m.shards[i].resumed = true
	}
	m.shards[0].owns = true
	m.shards[0].log, m.shards[1].log = "h0: ", "h- "
	m.shards[0].durable, m.shards[1].durable = 1, 1
	m.shards[0].acked, m.shards[1].acked = 1, 1
	return m
}

func (s *modelShard) entries() []string { return strings.Fields(s.log) }

func (s *modelShard) write(entry string) { s.log += entry + " " }

func (s *modelShard) length() int { return len(s.entries()) }

func modelHolding(epoch int, state string) string { return fmt.Sprintf("%d:%s", epoch, state) }

func parseHolding(h string) (epoch int, state string) {
	fmt.Sscanf(h, "%d:%s", &epoch, &state)
	return epoch, state
}

// recovered is what the shard holds after a crash: "" for nothing.
func (s *modelShard) recovered(index int, how mutation) string {
	stampEpoch, state := -1, ""
	if s.kept != "" {
		stampEpoch, state = parseHolding(s.kept)
	}
	held, epoch, count := s.kept != "", stampEpoch, 0
	stamp := len(state)
	incoming, incomingEpoch, adopting := "", 0, false
	for i, entry := range s.entries() {
		switch rest := entry[1:]; entry[0] {
		case 'h':
			if i == 0 && rest != "-" {
				e, begun := parseHolding(rest)
				epoch, count = e, len(begun)
				if !held { // the very first generation
					held, state, stampEpoch, stamp = true, begun, e, len(begun)
				}
			}
		case 'b':
			incomingEpoch, incoming = parseHolding(rest)
			adopting = true
			if how == beginOwns {
				held, epoch, state, count, adopting = true, incomingEpoch, incoming, len(incoming), false
			}
		case 'c':
			if !adopting {
				return "a commit without begin"
			}
			adopting = false
			if epoch, count = incomingEpoch, len(incoming); epoch > stampEpoch {
				held, state = true, incoming
			}
		case 'e':
			if adopting {
				incoming += rest
				continue
			}
			count++
			if epoch > stampEpoch || epoch == stampEpoch && count > stamp {
				state += rest
			}
		}
	}
	if !held {
		return ""
	}
	return modelHolding(max(epoch, stampEpoch), state)
}

// crash is the state after one: of shard i the first keep[i] entries are left. It
// returns what is wrong with it, if anything is.
func (m model) crash(keep [2]int, how mutation) (model, string) {
	winner, best, state := -1, -1, ""
	next := model{next: m.next, left: m.left, ackedIDs: m.ackedIDs}
	next.left.crashes--
	for i, old := range m.shards {
		s := modelShard{kept: old.kept, durable: old.durable}
		for _, entry := range old.entries()[:keep[i]] {
			s.write(entry)
		}
		h := s.recovered(i, how)
		if strings.HasPrefix(h, "a ") {
			return next, h
		}
		if h != "" {
			epoch, has := parseHolding(h)
			if epoch == best {
				return next, fmt.Sprintf("two shards hold it at epoch %d", epoch)
			}
			if epoch > best {
				winner, best, state = i, epoch, has
			}
		}
		next.shards[i] = s
	}
	if winner < 0 {
		return next, "nobody holds it"
	}
	owner := &next.shards[winner]
	owner.owns, owner.epoch, owner.state = true, best, state
	next.current.owner, next.pending.owner = winner, winner
	next.seen = [2]modelRoute{next.current, next.current}
	next.admitted = state
	return next, m.wrong(state)
}

// wrong says what is wrong with a state that was recovered or that is served.
func (m *model) wrong(state string) string {
	if !strings.HasPrefix(m.admitted, state) {
		return fmt.Sprintf("the state is %q, which is no prefix of %q", state, m.admitted)
	}
	for _, id := range m.ackedIDs {
		if !strings.ContainsRune(state, id) {
			return fmt.Sprintf("the state is %q, and %c was acknowledged", state, id)
		}
	}
	return ""
}

// A found is a state that can be reached in one step.
type found struct {
	action string
	state  model
	wrong  string
}

// after lists what can come next.
func (m model) after(how mutation) []found {
	var all []found
	add := func(action string, next model, wrong string) { all = append(all, found{action, next, wrong}) }
	running := m.shards[0].resumed && m.shards[1].resumed
	if running {
		for p := range m.seen {
			m.produce(p, how, add)
		}
		m.moverSteps(how, add)
	}
	for i := range m.shards {
		if running {
			m.consume(i, how, add)
			m.roundSteps(i, how, add)
		}
		m.sync(i, add)
	}
	if m.left.crashes > 0 {
		for a := m.shards[0].durable; a <= m.shards[0].length(); a++ {
			for b := m.shards[1].durable; b <= m.shards[1].length(); b++ {
				next, wrong := m.crash([2]int{a, b}, how)
				add(fmt.Sprintf("crash, keeping %d and %d entries", a, b), next, wrong)
			}
		}
	}
	return all
}

// produce lets a producer claim by the route that it has seen, or look again.
func (m model) produce(p int, how mutation, add func(string, model, string)) {
	if m.left.events == 0 {
		return
	}
	if m.seen[p] != m.current {
		next := m
		next.seen[p] = m.current
		add(fmt.Sprintf("producer %d looks at the route", p), next, "")
	}
	route := m.seen[p]
	next := m
	if how != claimAnyVersion && m.shards[route.owner].version != route.versions[route.owner] {
		if m.pending == m.current || m.seen[p] != m.current && how != pushFromBehind {
			return // it looks at the route
		}
		next.current = m.pending // a failed claim makes the pending route current
		next.seen[p] = m.pending
		add(fmt.Sprintf("the claim of producer %d fails", p), next, "")
		return
	}
	id := fmt.Sprint(m.next)
	next.shards[route.owner].inbox += id
	next.admitted += id
	next.next++
	next.left.events--
	add(fmt.Sprintf("producer %d claims for %s at shard %d", p, id, route.owner), next, "")
}

// consume takes the next event out of an inbox.
func (m model) consume(i int, how mutation, add func(string, model, string)) {
	s := &m.shards[i]
	if s.inbox == "" {
		return
	}
	id := s.inbox[:1]
	s.inbox = s.inbox[1:]
	if m.cut > 0 && i == 1-m.pending.owner {
		m.cut--
	}
	action := fmt.Sprintf("shard %d takes %s", i, id)
	switch {
	case s.owns:
		m.apply(i, id)
		add(action, m, m.served(i))
	case s.expects && how == applyOvertaking:
		s.state += id
		s.write("e" + id)
		add(action, m, "")
	case s.expects:
		s.held += id
		add(action+" and holds it back", m, "")
	default:
		add(action, m, fmt.Sprintf("shard %d has %s and not the partition", i, id))
	}
}

func (m *model) apply(i int, id string) {
	s := &m.shards[i]
	s.state += id
	s.write("e" + id)
	if s.watching {
		s.delta += id
	}
}

// served checks the order in which events were applied.
func (m *model) served(i int) string {
	if state := m.shards[i].state; !strings.HasPrefix(m.admitted, state) {
		return fmt.Sprintf("shard %d has applied %q, admitted was %q", i, state, m.admitted)
	}
	return ""
}

// sync makes the log of a shard durable and acknowledges its events.
func (m model) sync(i int, add func(string, model, string)) {
	s := &m.shards[i]
	entries := s.entries()
	if s.durable == len(entries) && s.acked == len(entries) && s.resumed {
		return
	}
	committed := !s.open
	for n := s.acked; n < len(entries); n++ {
		if entries[n][0] == 'e' && s.resumed && committed {
			if id := entries[n][1:]; !strings.Contains(m.ackedIDs, id) {
				m.ackedIDs += id
			}
		}
	}
	s.durable, s.acked, s.resumed = len(entries), len(entries), true
	add(fmt.Sprintf("shard %d syncs", i), m, "")
}

// moverSteps are those of a move, in their order.
func (m model) moverSteps(how mutation, add func(string, model, string)) {
	if m.step < 4 {
		m.prepare(how, add)
		return
	}
	from := 1 - m.pending.owner
	old, to := &m.shards[from], &m.shards[1-from]
	step := m.step
	m.step++
	switch step {
	case 4:
		old.version = m.pending.versions[from]
		m.cut = len(old.inbox)
		add("the old owner's inbox is closed", m, "")
	case 5:
		m.current = m.pending
		add("the new route is current", m, "")
	case 6:
		if m.cut > 0 && how != handOverEarly {
			return
		}
		m.object, m.delta = modelHolding(old.nextEpoch(how), old.state), old.delta
		old.owns, old.watching, old.state, old.delta = false, false, "", ""
		old.leaving = true
		add("the old owner hands over", m, "")
	case 7:
		m.adopt(1-from, how)
		add("the new owner adopts", m, m.served(1-from))
	case 8:
		if how != settleWritten && to.durable < to.length() {
			return
		}
		old.leaving = false
		m.step, m.image, m.object, m.delta = 0, "", "", ""
		add("the old owner knows", m, "")
	}
}

// prepare is what a move does before the cut.
func (m model) prepare(how mutation, add func(string, model, string)) {
	from := m.current.owner
	old, to := &m.shards[from], &m.shards[1-from]
	step := m.step
	m.step++
	switch step {
	case 0:
		if m.left.moves == 0 || to.round != 0 && how != roundWhileAdopting {
			return
		}
		m.left.moves--
		m.image, old.watching, old.delta = old.state, true, ""
		add("the old owner copies", m, "")
	case 1:
		if to.round != 0 && how != roundWhileAdopting {
			return
		}
		to.write("b" + modelHolding(old.nextEpoch(how), m.image))
		to.open = true
		add("the new owner logs the image", m, "")
	case 2:
		to.expects, to.held = true, ""
		add("the new owner expects the partition", m, "")
	case 3:
		m.pending.owner = 1 - from
		m.pending.versions[from]++
		if how == currentBeforeCut {
			m.current = m.pending
		}
		add("the new route is pending", m, "")
	}
}

// nextEpoch is that of the next owner.
func (s *modelShard) nextEpoch(how mutation) int {
	if how == sameEpoch {
		return s.epoch
	}
	return s.epoch + 1
}

// adopt logs what came since the copy and the commit, and applies what was held back.
func (m *model) adopt(i int, how mutation) {
	s := &m.shards[i]
	held := s.held
	s.epoch, s.state = parseHolding(m.object)
	s.owns, s.expects, s.held = true, false, ""
	if how != noDelta {
		for _, id := range m.delta {
			s.write("e" + string(id))
		}
	}
	if how == heldLast && s.inbox != "" {
		held, s.inbox = s.inbox[:1]+held, s.inbox[1:]
	}
	if how == commitLast {
		for _, id := range held {
			m.apply(i, string(id))
		}
		m.ackedIDs += held
		held = ""
	}
	s.write(fmt.Sprintf("c%d", s.epoch))
	s.open = false
	for _, id := range held {
		m.apply(i, string(id))
	}
}

// roundSteps take a snapshot: a generation of its own, a stamp, and its publication
// when the log is durable up to the stamp.
func (m model) roundSteps(i int, how mutation, add func(string, model, string)) {
	s := &m.shards[i]
	switch s.round {
	case 0:
		if m.left.rounds == 0 || s.open && how != roundWhileAdopting {
			return
		}
		m.left.rounds--
		s.from = s.length()
		header := "h-"
		if s.owns {
			header = "h" + modelHolding(s.epoch, s.state)
		}
		s.write(header)
		s.round = 1
		add(fmt.Sprintf("shard %d begins a round", i), m, "")
	case 1:
		s.stamp, s.stamped = "", s.from+1
		if s.owns {
			s.stamp, s.stamped = modelHolding(s.epoch, s.state), s.length()
		}
		s.round = 2
		add(fmt.Sprintf("shard %d stamps %q", i, s.stamp), m, "")
	case 2:
		if s.durable < s.stamped || s.leaving && how != publishEarly {
			return
		}
		entries := s.entries()[s.from:]
		s.log = strings.Join(entries, " ") + " "
		s.durable -= s.from
		s.acked -= s.from
		s.kept, s.round, s.from, s.stamp, s.stamped = s.stamp, 0, 0, "", 0
		add(fmt.Sprintf("shard %d publishes", i), m, "")
	}
}

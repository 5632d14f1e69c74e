package shard

import (
	"fmt"
	"strings"
)

// The model of a move: one partition or two that move together, two shards, two producers,
// and a mover, each of whose steps is atomic and may come at any time. The table of the
// steps is in DESIGN.md.
//
// An event is a character: a digit is one of the first partition, a letter of the second.
// A log is a list of entries: "h" the header of a generation with the holdings that it
// begins with, "e" an event, "b" the image with which an adoption begins, "c" its commit,
// both with the number of the partition. A crash keeps what is durable and any part of the
// rest. What a shard holds after it is read from its snapshot and its log alone, and of two
// holdings of a partition the higher epoch wins.

// both is a value for each partition.
type both[T any] [2]T

func partitionOf(id byte) int {
	if id >= 'a' {
		return 1
	}
	return 0
}

// eventID is the nth event of all, of a partition.
func eventID(n, partition int) string { return string([]byte{"0a"[partition] + byte(n)}) }

// only is the events of a partition.
func only(ids string, partition int) string {
	return strings.Map(func(r rune) rune {
		if partitionOf(byte(r)) != partition {
			return -1
		}
		return r
	}, ids)
}

// modelShard is one of the two shards.
type modelShard struct {
	owns     both[bool]
	epoch    both[int]
	state    both[string] // the events applied, in order
	watching both[bool]   // since the copy; delta is what came after it
	delta    string
	expects  bool   // the partitions of the move are on their way here
	arrived  bool   // they were adopted, and what was held back is not all carried out
	held     string // events that overtook them
	open     bool   // an adoption has begun in the log, and the partitions are not owned yet
	leaving  bool   // gave partitions away, and does not know yet that they were adopted durably
	inbox    string
	version  int // of the inbox

	log     string       // entries, each with a blank behind it
	durable int          // entries
	acked   int          // entries whose events were acknowledged
	kept    both[string] // the holdings in the snapshot: "epoch:state", or ""
	resumed bool

	round   int          // 0 idle, 1 begun, 2 stamped
	from    int          // entry of the round's header
	stamp   both[string] // what the round will publish
	stamped int          // entries that the stamp depends on
}

// A modelRoute says who owns the partitions, and what version the inboxes have.
type modelRoute struct {
	owner    both[int]
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
	from     int // shard, of the move
	moving   both[bool]
	image    both[string]
	object   both[string] // the partitions on their way
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
	heldLast                    // what comes is applied before all that was held back is
	commitLast                  // the new owner logs and applies events before the commit
	noDelta                     // events between copy and cut are not logged by the new owner
	sameEpoch                   // an adoption does not raise the epoch
	publishEarly                // the old owner's snapshots do not wait for the adoption
	settleWritten               // the old owner is told when the commit is written, not when it is durable
	roundWhileAdopting          // a round may begin between begin and commit
	roundWhileArriving          // a round may begin before all that was held back is applied
	settleArriving              // the move may end before that
	beginOwns                   // recovery takes an adoption without commit for one
	oneCommit                   // the commit of the first partition stands for all that move
	holdFirst                   // only what overtakes the first partition is held back
	cutOne                      // the route of the first partition is changed, and all are handed over
	mutations
)

// modelLimits bound a search: how much of everything there is.
type modelLimits struct{ events, moves, crashes, rounds, partitions int }

func modelStart(left modelLimits) model {
	m := model{next: 1, left: left}
	for i := range m.shards {
		m.shards[i].resumed = true
	}
	for p := range left.partitions {
		m.shards[0].owns[p] = true
	}
	m.shards[0].log, m.shards[1].log = "h"+m.shards[0].header()+" ", "h-/- "
	m.shards[0].durable, m.shards[1].durable = 1, 1
	m.shards[0].acked, m.shards[1].acked = 1, 1
	return m
}

func (s *modelShard) entries() []string { return strings.Fields(s.log) }

func (s *modelShard) write(entry string) { s.log += entry + " " }

func (s *modelShard) length() int { return len(s.entries()) }

// header is what a generation begins with.
func (s *modelShard) header() string {
	var parts both[string]
	for p := range parts {
		if parts[p] = "-"; s.owns[p] {
			parts[p] = modelHolding(s.epoch[p], s.state[p])
		}
	}
	return parts[0] + "/" + parts[1]
}

func modelHolding(epoch int, state string) string { return fmt.Sprintf("%d:%s", epoch, state) }

func parseHolding(h string) (epoch int, state string) {
	fmt.Sscanf(h, "%d:%s", &epoch, &state)
	return epoch, state
}

// recovered is what the shard holds of a partition after a crash: "" for nothing.
func (s *modelShard) recovered(partition int, how mutation) string {
	stampEpoch, state := -1, ""
	if s.kept[partition] != "" {
		stampEpoch, state = parseHolding(s.kept[partition])
	}
	held, epoch, count := s.kept[partition] != "", stampEpoch, 0
	stamp := len(state)
	incoming, incomingEpoch, adopting := "", 0, false
	mine := byte('0' + partition)
	for i, entry := range s.entries() {
		rest := entry[1:]
		switch {
		case entry[0] == 'h' && i == 0:
			if begun := strings.Split(rest, "/")[partition]; begun != "-" {
				e, events := parseHolding(begun)
				epoch, count = e, len(events)
				if !held { // the very first generation
					held, state, stampEpoch, stamp = true, events, e, len(events)
				}
			}
		case entry[0] == 'b' && rest[0] == mine:
			incomingEpoch, incoming = parseHolding(rest[1:])
			adopting = true
			if how == beginOwns {
				held, epoch, state, count, adopting = true, incomingEpoch, incoming, len(incoming), false
			}
		case entry[0] == 'c' && rest[0] == mine:
			if !adopting {
				return "a commit without begin"
			}
			adopting = false
			if epoch, count = incomingEpoch, len(incoming); epoch > stampEpoch {
				held, state = true, incoming
			}
		case entry[0] == 'e' && partitionOf(rest[0]) == partition:
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
	next := model{next: m.next, left: m.left, ackedIDs: m.ackedIDs}
	next.left.crashes--
	for i, old := range m.shards {
		s := modelShard{kept: old.kept, durable: old.durable}
		for _, entry := range old.entries()[:keep[i]] {
			s.write(entry)
		}
		next.shards[i] = s
	}
	for p := range m.left.partitions {
		if wrong := next.resolve(p, how); wrong != "" {
			return next, wrong
		}
	}
	next.pending = next.current
	next.seen = [2]modelRoute{next.current, next.current}
	for p := range m.left.partitions {
		state := next.shards[next.current.owner[p]].state[p]
		if wrong := m.wrong(p, state); wrong != "" {
			return next, wrong
		}
		next.admitted += state
	}
	return next, ""
}

// resolve gives a partition to the shard that holds it at the highest epoch.
func (m *model) resolve(partition int, how mutation) string {
	winner, best, state := -1, -1, ""
	for i := range m.shards {
		h := m.shards[i].recovered(partition, how)
		if strings.HasPrefix(h, "a ") {
			return h
		}
		if h == "" {
			continue
		}
		epoch, has := parseHolding(h)
		if epoch == best {
			return fmt.Sprintf("two shards hold partition %d at epoch %d", partition, epoch)
		}
		if epoch > best {
			winner, best, state = i, epoch, has
		}
	}
	if winner < 0 {
		return fmt.Sprintf("nobody holds partition %d", partition)
	}
	owner := &m.shards[winner]
	owner.owns[partition], owner.epoch[partition], owner.state[partition] = true, best, state
	m.current.owner[partition] = winner
	return ""
}

// wrong says what is wrong with a state of a partition that was recovered.
func (m *model) wrong(partition int, state string) string {
	if admitted := only(m.admitted, partition); !strings.HasPrefix(admitted, state) {
		return fmt.Sprintf("the state is %q, which is no prefix of %q", state, admitted)
	}
	for _, id := range only(m.ackedIDs, partition) {
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
			for partition := range m.left.partitions {
				m.produce(p, partition, how, add)
			}
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

// produce lets a producer claim for a partition by the route that it has seen, or look
// again.
func (m model) produce(p, partition int, how mutation, add func(string, model, string)) {
	if m.left.events == 0 {
		return
	}
	if m.seen[p] != m.current {
		next := m
		next.seen[p] = m.current
		add(fmt.Sprintf("producer %d looks at the route", p), next, "")
	}
	route, owner := m.seen[p], m.seen[p].owner[partition]
	next := m
	if how != claimAnyVersion && m.shards[owner].version != route.versions[owner] {
		if m.pending == m.current || m.seen[p] != m.current && how != pushFromBehind {
			return // it looks at the route
		}
		next.current = m.pending // a failed claim makes the pending route current
		next.seen[p] = m.pending
		add(fmt.Sprintf("the claim of producer %d fails", p), next, "")
		return
	}
	id := eventID(m.next, partition)
	next.shards[owner].inbox += id
	next.admitted += id
	next.next++
	next.left.events--
	add(fmt.Sprintf("producer %d claims for %s at shard %d", p, id, owner), next, "")
}

// consume takes the next event out of an inbox.
func (m model) consume(i int, how mutation, add func(string, model, string)) {
	s := &m.shards[i]
	if s.inbox == "" {
		return
	}
	id := s.inbox[:1]
	partition := partitionOf(id[0])
	s.inbox = s.inbox[1:]
	if m.cut > 0 && i == m.from {
		m.cut--
	}
	action := fmt.Sprintf("shard %d takes %s", i, id)
	overtakes := s.expects && m.moving[partition] && (how != holdFirst || partition == 0)
	switch {
	case s.owns[partition], overtakes && s.arrived && how == heldLast:
		m.apply(i, id)
		add(action, m, m.served(i))
	case overtakes && how == applyOvertaking:
		s.state[partition] += id
		s.write("e" + id)
		add(action, m, "")
	case overtakes:
		s.held += id
		add(action+" and holds it back", m, "")
	default:
		add(action, m, fmt.Sprintf("shard %d has %s and not the partition", i, id))
	}
}

func (m *model) apply(i int, id string) {
	s := &m.shards[i]
	partition := partitionOf(id[0])
	s.state[partition] += id
	s.write("e" + id)
	if s.watching[partition] {
		s.delta += id
	}
}

// applies says that events of a partition are applied by a shard.
func (m *model) applies(i, partition int) bool {
	s := &m.shards[i]
	return s.owns[partition] || s.arrived && m.moving[partition]
}

// served checks the order in which events were applied.
func (m *model) served(i int) string {
	for p, state := range m.shards[i].state {
		if admitted := only(m.admitted, p); m.applies(i, p) && !strings.HasPrefix(admitted, state) {
			return fmt.Sprintf("shard %d has applied %q, admitted was %q", i, state, admitted)
		}
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
	for n := s.acked; n < len(entries); n++ {
		if entries[n][0] == 'e' && s.resumed {
			if id := entries[n][1:]; m.applies(i, partitionOf(id[0])) && !strings.Contains(m.ackedIDs, id) {
				m.ackedIDs += id
			}
		}
	}
	s.durable, s.acked, s.resumed = len(entries), len(entries), true
	add(fmt.Sprintf("shard %d syncs", i), m, "")
}

// moverSteps are those of a move, in their order.
func (m model) moverSteps(how mutation, add func(string, model, string)) {
	switch {
	case m.step == 0:
		for from := range m.shards {
			m.copy(from, how, add)
		}
		return
	case m.step < 4:
		m.prepare(how, add)
		return
	}
	old, to := &m.shards[m.from], &m.shards[1-m.from]
	step := m.step
	m.step++
	switch step {
	case 4:
		old.version = m.pending.versions[m.from]
		m.cut = len(old.inbox)
		add("the old owner's inbox is closed", m, "")
	case 5:
		m.current = m.pending
		add("the new route is current", m, "")
	case 6:
		if m.cut > 0 && how != handOverEarly {
			return
		}
		for p, moves := range m.moving {
			if moves {
				m.object[p] = modelHolding(old.nextEpoch(p, how), old.state[p])
				old.owns[p], old.watching[p], old.state[p] = false, false, ""
			}
		}
		m.delta, old.delta = old.delta, ""
		old.leaving = true
		add("the old owner hands over", m, "")
	case 7:
		m.adopt(how)
		add("the new owner adopts", m, m.served(1-m.from))
	case 8:
		if how == settleArriving && to.durable == to.length() {
			next := m
			next.settle()
			add("the old owner knows", next, "")
		}
		if to.held != "" {
			id := to.held[:1]
			m.step, to.held = step, to.held[1:]
			m.apply(1-m.from, id)
			add("the new owner applies "+id+", which it held back", m, m.served(1-m.from))
			return
		}
		for p, moves := range m.moving {
			to.owns[p] = to.owns[p] || moves
		}
		to.expects, to.arrived, to.open = false, false, false
		add("the new owner has the partitions", m, "")
	case 9:
		if how != settleWritten && to.durable < to.length() {
			return
		}
		m.settle()
		add("the old owner knows", m, "")
	}
}

// settle ends a move.
func (m *model) settle() {
	m.shards[m.from].leaving = false
	m.step, m.from, m.moving = 0, 0, both[bool]{}
	m.image, m.object, m.delta = both[string]{}, both[string]{}, ""
}

// copy begins a move of all that a shard owns.
func (m model) copy(from int, how mutation, add func(string, model, string)) {
	old, to := &m.shards[from], &m.shards[1-from]
	if m.left.moves == 0 || to.round != 0 && how != roundWhileAdopting || old.owns == (both[bool]{}) {
		return
	}
	m.left.moves--
	m.step++
	m.from, m.moving, m.image = from, old.owns, old.state
	old.watching, old.delta = old.owns, ""
	add(fmt.Sprintf("shard %d copies", from), m, "")
}

// prepare is what a move does behind the copy and before the cut.
func (m model) prepare(how mutation, add func(string, model, string)) {
	old, to := &m.shards[m.from], &m.shards[1-m.from]
	step := m.step
	m.step++
	switch step {
	case 1:
		if to.round != 0 && how != roundWhileAdopting {
			return
		}
		for p, moves := range m.moving {
			if moves {
				to.write(fmt.Sprintf("b%d%s", p, modelHolding(old.nextEpoch(p, how), m.image[p])))
			}
		}
		to.open = true
		add("the new owner logs the image", m, "")
	case 2:
		to.expects, to.held = true, ""
		add("the new owner expects the partition", m, "")
	case 3:
		m.pending = m.current
		for p, moves := range m.moving {
			if moves && (how != cutOne || p == 0) {
				m.pending.owner[p] = 1 - m.from
			}
		}
		m.pending.versions[m.from]++
		if how == currentBeforeCut {
			m.current = m.pending
		}
		add("the new route is pending", m, "")
	}
}

// nextEpoch is that of the next owner.
func (s *modelShard) nextEpoch(partition int, how mutation) int {
	if how == sameEpoch {
		return s.epoch[partition]
	}
	return s.epoch[partition] + 1
}

// adopt logs what came since the copy and the commits.
func (m *model) adopt(how mutation) {
	i := 1 - m.from
	s := &m.shards[i]
	for p, moves := range m.moving {
		if moves {
			s.epoch[p], s.state[p] = parseHolding(m.object[p])
		}
	}
	s.arrived = true
	if how != noDelta {
		for _, id := range m.delta {
			s.write("e" + string(id))
		}
	}
	if how == commitLast {
		for _, id := range s.held {
			m.apply(i, string(id))
		}
		m.ackedIDs += s.held
		s.held = ""
	}
	for p, moves := range m.moving {
		if moves && (how != oneCommit || p == 0) {
			s.write(fmt.Sprintf("c%d", p))
		}
	}
	if how == roundWhileArriving {
		s.open = false
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
		s.write("h" + s.header())
		s.round = 1
		add(fmt.Sprintf("shard %d begins a round", i), m, "")
	case 1:
		s.stamp, s.stamped = both[string]{}, s.from+1
		for p, owns := range s.owns {
			if owns {
				s.stamp[p], s.stamped = modelHolding(s.epoch[p], s.state[p]), s.length()
			}
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
		s.kept, s.round, s.from, s.stamp, s.stamped = s.stamp, 0, 0, both[string]{}, 0
		add(fmt.Sprintf("shard %d publishes", i), m, "")
	}
}

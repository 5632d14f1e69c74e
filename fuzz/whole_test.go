package fuzz

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/seam"
)

// A whole is a store with all layers at once: acks, ids, a named producer and a named
// source, timers and times to live, a kept log with its readers and their cursor, moves and
// any number of shards, snapshots and backups. What happens is in the chronicle of its
// clockwork, which folds it; a whole says of each event whether it may and must be there.
type whole struct {
	*clockwork
	random  *rand.Rand
	posts   []*post // by number
	ids     []*post // those with ids
	sender  namedSender
	tape    []*post // what the source gives
	read    [2]readback
	at      engine.Position // that the cursor has committed
	dying   bool            // the disk will stop
	crashes int
}

// A post is an event, however often it is sent.
type post struct {
	table  int
	key    string
	alarm  alarm
	id     engine.EventID
	stream int // 0: none; else place is that of the event in it
	place  uint64
	never  bool   // it is not done
	level  level  // how far it was acknowledged
	answer uint64 // its sequence, as the last answer said; 0: none did
}

// A level is how far an event was acknowledged; of unacknowledged it may be there or not.
type level int

const (
	unacknowledged level = iota
	appliedLevel
	writtenLevel
	durableLevel
)

// The streams.
const (
	noStream = iota
	sent
	given
)

func newWhole(random *rand.Rand) *whole {
	once := engine.Once{IDs: 12}
	if random.IntN(2) == 0 {
		once.For = 1500 * time.Millisecond
	}
	w := &whole{clockwork: newClockworkWith(once), random: random}
	w.chronicle.hides = true
	w.options.Shards = 1 + random.IntN(4)
	w.options.KeepLog = engine.KeepLog{Bytes: 1 << 40}
	w.options.SnapshotBytes = []int64{6 << 10, 1 << 30}[random.IntN(2)]
	w.options.Sync = []engine.SyncMode{engine.SyncAlways, engine.SyncAlways, engine.SyncInterval}[random.IntN(3)]
	for i := range w.read {
		w.read[i].seen = newSeen()
	}
	return w
}

// post makes an event.
func (w *whole) post(p post) *post {
	p.alarm.Number = uint64(len(w.posts) + 1)
	p.never = p.never || p.alarm.Refuse || p.alarm.Panic
	w.posts = append(w.posts, &p)
	return &p
}

// make makes a random event of a table, and of a stream, if it is one of one.
func (w *whole) make(table, stream int, place uint64) *post {
	a := alarm{Milliseconds: -1, Delete: w.random.IntN(16) == 0, Panic: w.random.IntN(16) == 0, Refuse: w.random.IntN(16) == 0}
	switch w.random.IntN(4) {
	case 0:
		a.Milliseconds = 0
	case 1, 2:
		a.Milliseconds = 1 + w.random.Int64N(400)
	}
	return w.post(post{table: table, key: fmt.Sprint("key-", w.random.IntN(12)), alarm: a, stream: stream, place: place})
}

func (w *whole) ack() engine.Ack {
	return []engine.Ack{engine.Durable, engine.Durable, engine.Written, engine.Applied}[w.random.IntN(4)]
}

func levelOf(ack engine.Ack) level {
	return map[engine.Ack]level{engine.Applied: appliedLevel, engine.Written: writtenLevel, engine.Durable: durableLevel}[ack]
}

// do sends one event.
func (w *whole) do() error {
	ctx, cancel := patiently()
	defer cancel()
	p, ack := w.make(w.random.IntN(2), noStream, 0), w.ack()
	var sequence uint64
	var err error
	if p.table == 0 {
		sequence, err = w.plain.Do(ctx, p.key, w.present(p), ack)
	} else {
		sequence, err = w.words.Do(ctx, p.key, w.present(p), ack)
	}
	return w.answered(p, sequence, ack, err)
}

// again sends an event with an id: a new one, or one that was sent before.
func (w *whole) again() error {
	ctx, cancel := patiently()
	defer cancel()
	if len(w.ids) == 0 || w.random.IntN(2) == 0 {
		p := w.make(0, noStream, 0)
		p.id = engine.EventIDOf(fmt.Sprint(p.alarm.Number))
		w.ids = append(w.ids, p)
	}
	p, ack := w.ids[max(0, len(w.ids)-1-w.random.IntN(20))], w.ack()
	sequence, err := w.plain.DoOnce(ctx, p.id, p.key, w.present(p), ack)
	return w.answered(p, sequence, ack, err)
}

// batch sends some events together, with ids and without.
func (w *whole) batch() error {
	ctx, cancel := patiently()
	defer cancel()
	b, ack := w.engine.Batch(), w.ack()
	posts, results := make([]*post, 1+w.random.IntN(5)), [5]engine.Result[uint64]{}
	for i := range posts {
		p := w.make(w.random.IntN(2), noStream, 0)
		posts[i] = p
		switch {
		case p.table == 1:
			w.words.Put(b, p.key, w.present(p), &results[i])
		case w.random.IntN(2) == 0:
			w.plain.Put(b, p.key, w.present(p), &results[i])
		default:
			p.id = engine.EventIDOf(fmt.Sprint(p.alarm.Number))
			w.ids = append(w.ids, p)
			w.plain.PutOnce(b, p.id, p.key, w.present(p), &results[i])
		}
	}
	_ = b.Do(ctx, ack) // each result has its error
	var failed error
	for i, p := range posts {
		failed = errors.Join(failed, w.answered(p, results[i].Value, ack, results[i].Err))
	}
	return failed
}

// answered takes note of an answer.
func (w *whole) answered(p *post, sequence uint64, ack engine.Ack, err error) error {
	switch {
	case p.never && (errors.Is(err, errUnwanted) || errors.Is(err, engine.ErrPanicked)):
		return nil
	case p.never && err == nil:
		return violated("event %d was done, although it was to be refused", p.alarm.Number)
	case err != nil:
		if engine.OutcomeOf(err) == engine.NotDone && p.id == (engine.EventID{}) {
			p.never = true
		}
		return judgeFailure(err)
	}
	m, ok := w.chronicle.moment(w.chronicle.partition(p.key), sequence)
	if !ok || m.what != came || m.alarm.Number != p.alarm.Number {
		return violated("event %d is answered by sequence %d, where there is %+v", p.alarm.Number, sequence, m)
	}
	if sequence != p.answer {
		p.level = unacknowledged // its id was forgotten, and it was done again
	}
	p.level, p.answer = max(p.level, levelOf(ack)), sequence
	return nil
}

// moment is the one with a sequence.
func (c *chronicle) moment(partition int, sequence uint64) (moment, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sequence == 0 || sequence > uint64(len(c.moments[partition])) {
		return moment{}, false
	}
	return c.moments[partition][sequence-1], true
}

// A namedSender is the named producer: it sends its posts from where it resumes.
type namedSender struct {
	producer *engine.Producer[string, watched, alarm, uint64]
	posts    []*post
	next     uint64 // place to send next
	flushed  uint64 // up to which all are settled
	wrong    error
	failed   error
}

// send sends some events of the named producer, some of them again.
func (w *whole) send() error {
	ctx, cancel := patiently()
	defer cancel()
	s := &w.sender
	if s.producer == nil {
		p, err := w.plain.Producer(engine.ProducerOptions[string, alarm]{Name: "sender", Refused: s.refused})
		if err != nil {
			return judgeFailure(err)
		}
		s.producer, s.failed, s.next = p, nil, 0
	}
	if s.next == 0 || w.random.IntN(8) == 0 {
		next, err := s.producer.Resume(ctx)
		if err := errors.Join(err, s.wrong, s.failed); err != nil {
			return judgeSending(err)
		}
		if next > uint64(len(s.posts)+1) {
			return violated("the producer is to resume at %d of %d", next, len(s.posts))
		}
		s.settled(next - 1)
		s.next = next
	}
	for range 1 + w.random.IntN(10) {
		for uint64(len(s.posts)) < s.next {
			s.posts = append(s.posts, w.make(0, sent, uint64(len(s.posts)+1)))
		}
		p := s.posts[s.next-1]
		if err := s.producer.SendAt(ctx, s.next, p.key, w.present(p)); err != nil {
			return judgeSending(err)
		}
		s.next++
	}
	return nil
}

// judgeSending lets pass what else a named producer may say when its shard has failed.
func judgeSending(err error) error {
	if errors.Is(err, engine.ErrStopped) {
		return err
	}
	return judgeFailure(err)
}

func (s *namedSender) refused(_ string, a alarm, err error) {
	switch {
	case a.Refuse && errors.Is(err, errUnwanted), a.Panic && errors.Is(err, engine.ErrPanicked):
	case judgeSending(err) == err:
		s.failed = err
	default:
		s.wrong = violated("event %d was handed back: %w", a.Number, err)
	}
}

// settled notes that the first events are.
func (s *namedSender) settled(n uint64) {
	for _, p := range s.posts[:n] {
		p.level = durableLevel
	}
	s.flushed = max(s.flushed, n)
}

// flush waits for what the producer has sent.
func (w *whole) flush() error {
	s := &w.sender
	if s.producer == nil || s.next == 0 {
		return nil
	}
	ctx, cancel := patiently()
	defer cancel()
	if err := errors.Join(s.producer.Flush(ctx), s.wrong, s.failed); err != nil {
		return judgeSending(err)
	}
	s.settled(s.next - 1)
	return nil
}

// hangUp closes the producer.
func (w *whole) hangUp() error {
	if err := w.flush(); err != nil || w.sender.producer == nil {
		return err
	}
	ctx, cancel := patiently()
	defer cancel()
	err := w.sender.producer.Close(ctx)
	w.sender.producer = nil
	if err != nil {
		return judgeSending(err)
	}
	return nil
}

// A reel is the named source, with the first posts of the tape. It belongs to a shard.
type reel struct {
	posts   []*post
	at      int
	present func(*post) alarm
}

func (r *reel) Poll(records []engine.Record[string, alarm]) (n int, err error) {
	for ; n < min(len(records), 5) && r.at < len(r.posts); n++ {
		records[n] = engine.Record[string, alarm]{Key: r.posts[r.at].key, Event: r.present(r.posts[r.at])}
		r.at++
	}
	if r.at >= len(r.posts) {
		err = io.EOF
	}
	return n, err
}

// A resumableReel goes on where it is told.
type resumableReel struct{ reel }

func (r *resumableReel) Resume(offset uint64) error { r.at = int(offset); return nil }

// feed has a shard read the tape up to some new events.
func (w *whole) feed() error {
	ctx, cancel := patiently()
	defer cancel()
	for range w.random.IntN(10) {
		w.tape = append(w.tape, w.make(1, given, uint64(len(w.tape)+1)))
	}
	var source engine.Source[string, alarm] = &reel{posts: w.tape, present: w.present}
	if w.random.IntN(2) == 0 {
		source = &resumableReel{reel{posts: w.tape, present: w.present}}
	}
	var mu sync.Mutex // guards refused
	var refused error
	f, err := w.words.Consume(ctx, source, engine.SourceOptions[string, alarm]{
		Name: "tape", Partition: 3, Refused: func(_ string, a alarm, err error) {
			if a.Refuse && errors.Is(err, errUnwanted) || a.Panic && errors.Is(err, engine.ErrPanicked) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			refused = errors.Join(refused, err)
		},
	})
	if err != nil {
		return judgeFailure(err)
	}
	err = f.Wait(ctx)
	mu.Lock()
	defer mu.Unlock()
	if err = errors.Join(err, refused); err != nil {
		return judgeFailure(err)
	}
	for _, p := range w.tape {
		p.level = durableLevel
	}
	return nil
}

// census looks for every event in the first n moments of each partition.
func (w *whole) census(n [clockPartitions]int) error {
	w.chronicle.mu.Lock()
	defer w.chronicle.mu.Unlock()
	there := make([]int, len(w.posts)+1) // sequence of the last time that an event was done
	for p, all := range w.chronicle.moments {
		places, ids := [3]uint64{}, []uint64{}
		for i, m := range all[:n[p]] {
			if m.what != came {
				continue
			}
			number := m.alarm.Number
			if number == 0 || number > uint64(len(w.posts)) {
				return violated("partition %d, sequence %d: nobody has sent %+v", p, i+1, m)
			}
			e := w.posts[number-1]
			switch before := there[number]; {
			case e.never || e.table != m.table || e.key != m.key || e.alarm != m.alarm:
				return violated("partition %d, sequence %d: %+v was done, of %+v", p, i+1, m, e)
			case before > 0 && !w.forgotten(e, all[before-1], m, slices.Index(ids, number), len(ids)):
				return violated("partition %d: event %d, %+v, was done at %d and again at %d", p, number, e, before, i+1)
			case e.stream != noStream && e.place <= places[e.stream]:
				return violated("partition %d, sequence %d: event %d of stream %d comes behind %d", p, i+1, e.place, e.stream, places[e.stream])
			}
			there[number] = i + 1
			places[e.stream] = e.place
			if e.id != (engine.EventID{}) {
				ids = append(slices.DeleteFunc(ids, func(n uint64) bool { return n == number }), number)
			}
			if e.level == durableLevel {
				w.safe[p] = max(w.safe[p], i+1)
			}
		}
	}
	for _, e := range w.posts {
		if e.level > unacknowledged && !e.never && there[e.alarm.Number] == 0 {
			return violated("event %+v was acknowledged, and is not there", e)
		}
	}
	return nil
}

// forgotten says whether an event with an id may be done again: so many others with ids
// came behind it, or so much later it is.
func (w *whole) forgotten(e *post, first, now moment, at, ids int) bool {
	return e.id != (engine.EventID{}) && (ids-at > w.once.IDs || w.once.For > 0 && now.now-first.now >= int64(w.once.For))
}

// check compares everything with everything.
func (w *whole) check() error {
	if err := w.flush(); err != nil {
		return err
	}
	if err := w.judge(); err != nil {
		return err
	}
	ctx, cancel := patiently()
	defer cancel()
	stats, err := w.engine.Stats(ctx)
	if err != nil {
		return err
	}
	n := [clockPartitions]int{}
	for p := range n {
		n[p] = int(stats.Partitions[p].Events)
	}
	if err := w.census(n); err != nil {
		return err
	}
	return errors.Join(readBack(w, 0, w.plain, n), readBack(w, 1, w.words, n))
}

// A readback is what a reader of changes has got, from where it was.
type readback struct {
	at   engine.Position
	seen [clockPartitions]map[uint64]engine.Change[string, alarm]
}

func newSeen() (seen [clockPartitions]map[uint64]engine.Change[string, alarm]) {
	for p := range seen {
		seen[p] = make(map[uint64]engine.Change[string, alarm])
	}
	return seen
}

// readBack reads the changes of a table and compares them with the chronicle: each that no
// crash may take back is there, once, and none that did not happen. One reader in four
// begins anew.
func readBack[S any](w *whole, i int, table *engine.Table[string, S, alarm, uint64], n [clockPartitions]int) error {
	ctx, cancel := patiently()
	defer cancel()
	r := &w.read[i]
	if w.random.IntN(4) == 0 {
		*r = readback{seen: newSeen()}
	}
	changes, err := table.Changes(ctx, r.at, engine.ChangesOptions{Stop: true})
	if err != nil {
		return violated("changes from %v: %w", r.at, err)
	}
	defer changes.Close()
	for {
		c, err := changes.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			r.at = changes.Position() // behind those that it has got
			return judgeReading(err)
		}
		if _, twice := r.seen[c.Partition][c.Sequence]; twice {
			return violated("partition %d: change %d comes twice", c.Partition, c.Sequence)
		}
		if !c.Timer && c.Event.Version != w.version {
			return violated("partition %d: change %d has version %d, and the table %d", c.Partition, c.Sequence, c.Event.Version, w.version)
		}
		c.Event.Version = 0
		r.seen[c.Partition][c.Sequence] = c
	}
	r.at = changes.Position()
	return w.compare(i, n)
}

func judgeReading(err error) error {
	if errors.Is(err, crashfs.ErrCrashed) || errors.Is(err, engine.ErrShardFailed) {
		return err
	}
	return violated("changes: %w", err)
}

// compare compares what a reader has got with what happened.
func (w *whole) compare(i int, n [clockPartitions]int) error {
	w.chronicle.mu.Lock()
	defer w.chronicle.mu.Unlock()
	for p, seen := range w.read[i].seen {
		all := w.chronicle.moments[p][:n[p]]
		for sequence, c := range seen {
			if sequence > uint64(len(all)) {
				return violated("partition %d: a reader got change %d, %+v, and there are %d", p, sequence, c, len(all))
			}
			m := all[sequence-1]
			if m.table != i || m.key != c.Key || c.Timer != (m.what != came) || c.Time.UnixNano() != m.now || !c.Timer && c.Event != m.alarm {
				return violated("partition %d: a reader got change %d, %+v, which is %+v", p, sequence, c, m)
			}
		}
		for at, m := range all[:min(w.safe[p], len(all))] {
			if _, ok := seen[uint64(at+1)]; !ok && m.table == i && m.what != hidden.what {
				return violated("partition %d: a reader did not get %d, %+v, up to %d", p, at+1, m, w.safe[p])
			}
		}
	}
	return nil
}

// commit keeps where the reader of the plain table is.
func (w *whole) commit() error {
	ctx, cancel := patiently()
	defer cancel()
	c, err := w.engine.Cursor(ctx, "reader")
	if err != nil {
		return judgeFailure(err)
	}
	if !c.Position().Covers(w.at) {
		return violated("the cursor is at %v, and %v was committed", c.Position(), w.at)
	}
	if err := c.Commit(ctx, w.read[0].at); err != nil {
		return judgeFailure(err)
	}
	w.at = w.read[0].at
	return nil
}

// backUp restores a backup, and opens what comes of it: a prefix with what was durable.
func (w *whole) backUp() error {
	if err := w.check(); err != nil {
		return err
	}
	ctx, cancel := patiently()
	defer cancel()
	var backup writer
	if err := w.engine.Backup(ctx, &backup); err != nil {
		return judgeFailure(err)
	}
	disk := crashfs.New()
	o := w.options
	o.Environment = &seam.Environment{FS: disk, Now: w.now.Load, Seed: hashSeed, Hash: timeHash}
	if err := engine.Restore(ctx, &backup, "/store", o); err != nil {
		return violated("restore: %w", err)
	}
	restored := w.on(disk)
	if err := restored.reopened(); err != nil {
		return violated("the restored store: %w", err)
	}
	return restored.engine.Close()
}

// reopenedWhole opens what is there, and says from then on that what was lost never was.
func (w *whole) reopenedWhole() error {
	w.sender.producer, w.sender.next = nil, 0
	if err := w.open(); err != nil {
		return err
	}
	if err := w.settle(); err != nil {
		return err
	}
	ctx, cancel := patiently()
	defer cancel()
	stats, err := w.engine.Stats(ctx)
	if err != nil {
		return err
	}
	w.chronicle.cut(stats)
	if warnings := w.engine.Recovery().Warnings; len(warnings) > 0 {
		return violated("a crash has damaged what was published: %q", warnings)
	}
	return w.check()
}

// cut forgets what a recovery has not found.
func (c *chronicle) cut(stats engine.Stats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, all := range c.moments {
		c.moments[p], c.fresh[p] = all[:min(len(all), int(stats.Partitions[p].Events))], false
	}
}

// restart closes the store and opens it with another number of shards.
func (w *whole) restart() error {
	if w.random.IntN(2) == 0 {
		if err := w.hangUp(); err != nil {
			return err
		}
	} else if err := w.flush(); err != nil {
		return err
	}
	if err := w.engine.Close(); err != nil {
		return mustNotHang(err)
	}
	w.raise()
	w.deploy()
	w.options.Shards = 1 + w.random.IntN(4)
	w.now.Add(w.random.Int64N(int64(time.Second)))
	return w.reopenedWhole()
}

// deploy has the tables go on in the next version, now and then.
func (w *whole) deploy() {
	if w.random.IntN(3) == 0 {
		w.version++
		w.declare()
	}
}

// present is an event as the present version of its table sends it.
func (w *whole) present(p *post) alarm {
	a := p.alarm
	a.Version = w.version
	return a
}

// raise says that all that was answered is durable.
func (w *whole) raise() {
	for _, p := range w.posts {
		if p.level > unacknowledged {
			p.level = durableLevel
		}
	}
}

// die crashes and recovers, now and then with a crash in the recovery.
func (w *whole) die() error {
	w.crashes++
	model := crashfs.Models(w.random.Uint64())[w.random.IntN(9)]
	w.fall(model)
	for _, p := range w.posts {
		if p.level == appliedLevel || p.level == writtenLevel && model.Data != crashfs.Kept {
			p.level = unacknowledged
		}
	}
	w.now.Add(w.random.Int64N(int64(300 * time.Millisecond)))
	w.deploy()
	if w.random.IntN(3) == 0 {
		w.disk.StopAfter(w.random.IntN(80))
		_ = w.open() // it fails, or is stopped when it is done
		w.fall(crashfs.Models(w.random.Uint64())[w.random.IntN(9)])
		for _, p := range w.posts { // what was written is durable only once a recovery has ended
			if p.level < durableLevel {
				p.level = unacknowledged
			}
		}
	}
	w.dying = false
	w.options.Shards = 1 + w.random.IntN(4)
	if err := w.reopenedWhole(); err != nil {
		return err
	}
	w.raise()
	return nil
}

// fall takes the disk away, and ends the engine.
func (w *whole) fall(model crashfs.Model) {
	next := w.on(w.disk.Crash(model))
	if w.engine != nil {
		_ = w.engine.Close() // on a disk that is gone
	}
	w.clockwork = next
}

// wholeSteps are what happens to a whole, by weight.
var wholeSteps = []struct {
	weight int
	name   string
	run    func(*whole) error
}{
	{10, "do", (*whole).do},
	{8, "again", (*whole).again},
	{4, "batch", (*whole).batch},
	{6, "send", (*whole).send},
	{2, "flush", (*whole).flush},
	{1, "hang up", (*whole).hangUp},
	{4, "feed", (*whole).feed},
	{5, "pass", func(w *whole) error { return w.pass(w.random) }},
	{4, "move", func(w *whole) error { return w.move(w.random) }},
	{1, "resize", (*whole).resize},
	{2, "snapshot", func(w *whole) error { return w.ask((*engine.Engine).Snapshot) }},
	{2, "check", (*whole).check},
	{2, "commit", (*whole).commit},
	{1, "back up", (*whole).backUp},
	{1, "restart", (*whole).restart},
	{2, "die", (*whole).die},
	{2, "fill", (*whole).fill},
	{2, "stop soon", func(w *whole) error {
		if !w.dying {
			w.disk.StopAfter(w.disk.Ops() + w.random.IntN(60))
			w.dying = true
		}
		return nil
	}},
}

// fill has somebody take the rest of the disk while events come, and give it back: what is
// refused meanwhile is not done, no shard fails, and everything goes on.
func (w *whole) fill() error {
	if err := w.flush(); err != nil {
		return err
	}
	w.disk.SetCapacity(w.disk.Used() + 1 + w.random.Int64N(16<<10))
	disk := w.disk // which a crash replaces
	defer disk.SetCapacity(0)
	steps := []func() error{
		w.do, w.do, w.again, w.batch,
		func() error { return w.ask((*engine.Engine).Snapshot) },
		w.beginMove,
	}
	for range 1 + w.random.IntN(12) {
		err := steps[w.random.IntN(len(steps))]()
		var v violation
		switch {
		case errors.As(err, &v), err != nil && w.dying:
			return err
		case errors.Is(err, engine.ErrShardFailed):
			return violated("a full disk has failed a shard: %w", err)
		}
	}
	disk.SetCapacity(0)
	w.now.Add(int64(time.Second)) // firings without room are put off for a moment
	return w.settle()
}

// beginMove begins a move, which may have to wait for room, and goes on without it: what
// comes for the partition meanwhile is refused.
func (w *whole) beginMove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	err := w.engine.Move(ctx, w.random.IntN(clockPartitions), w.random.IntN(w.options.Shards))
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func (w *whole) ask(what func(*engine.Engine, context.Context) error) error {
	ctx, cancel := patiently()
	defer cancel()
	return mustNotHang(what(w.engine, ctx))
}

func (w *whole) resize() error {
	shards := 1 + w.random.IntN(4)
	err := w.ask(func(e *engine.Engine, ctx context.Context) error { return e.Resize(ctx, shards) })
	if err == nil {
		w.options.Shards = max(w.options.Shards, shards)
	}
	return err
}

// act takes a random step. When the disk has stopped, what fails is followed by a crash.
func (w *whole) act() error {
	total := 0
	for _, s := range wholeSteps {
		total += s.weight
	}
	at := w.random.IntN(total)
	for _, s := range wholeSteps {
		if at -= s.weight; at >= 0 {
			continue
		}
		err := s.run(w)
		var v violation
		if err != nil && w.dying && !errors.As(err, &v) {
			err = w.die()
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		return nil
	}
	return nil
}

// play takes n steps, crashes, closes the store, and folds its log once more.
func (w *whole) play(n int) error {
	if err := w.open(); err != nil {
		return err
	}
	for step := range n {
		if err := w.act(); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	if err := w.die(); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	if err := w.restart(); err != nil {
		return fmt.Errorf("at the end: %w", err)
	}
	if err := w.engine.Close(); err != nil {
		return err
	}
	return w.refold()
}

// refold folds the kept log again, beside the snapshots.
func (w *whole) refold() error {
	ctx, cancel := patiently()
	defer cancel()
	again := newClockworkWith(w.once)
	again.version = w.version
	again.declare()
	again.chronicle.deaf = true
	o := w.options
	o.Environment = &seam.Environment{FS: w.disk, Now: w.now.Load, Seed: hashSeed, Hash: timeHash}
	report, err := engine.ReplayCheck(ctx, "/store", o, again.plain, again.words)
	if err != nil {
		return violated("folding the log again: %w", err)
	}
	if report.Different > 0 {
		return violated("folding the log again: %d of %d states differ, %+v", report.Different, report.Compared, report.First)
	}
	return nil
}

// A writer is a backup.
type writer struct {
	bytes []byte
	at    int
}

func (b *writer) Write(p []byte) (int, error) { b.bytes = append(b.bytes, p...); return len(p), nil }

func (b *writer) Read(p []byte) (n int, err error) {
	if b.at == len(b.bytes) {
		return 0, io.EOF
	}
	n = copy(p, b.bytes[b.at:])
	b.at += n
	return n, nil
}

// Goal: with all layers at once the store is a prefix of what happened to each partition,
// with everything acknowledged; an event with an id, or of a named stream, is there once, in
// its order; what is due is fired when it is due; readers get what happened, and the log
// folds to the same again; through crashes of every kind at any operation, crashes of
// recoveries, moves, other numbers of shards, disks that are full for a while, and newer
// versions of the tables, to which each event is lifted from its own.
// Method: random lives against a model of all of it.
func TestEverythingAtOnceAgreesWithAModel(t *testing.T) {
	t.Parallel()
	row := tries(t, "R4", "random lives with ids, named streams, timers, times to live, readers of a kept log, moves, shard counts and backups, cut at any operation",
		"all layers agree with one model: a prefix with everything acknowledged, each event once, each timer when it is due")
	random := random(t)
	for range 12 * *rounds {
		seed := random.Uint64()
		if *oneLife != 0 {
			seed = *oneLife
		}
		if err := liveWhole(row, seed, 120); err != nil {
			t.Fatalf("%v\none of its lives again, some times: go test ./fuzz -run '^%s$' -fuzz.life %d", err, t.Name(), seed)
		}
	}
}

var oneLife = flag.Uint64("fuzz.life", 0, "the life to live again in TestEverythingAtOnceAgreesWithAModel; 0: new ones")

func liveWhole(row *row, seed uint64, steps int) error {
	w := newWhole(rand.New(rand.NewPCG(seed, 3)))
	err := w.play(steps)
	row.Cycles += int64(w.crashes)
	for _, p := range w.posts {
		if p.level > unacknowledged && !p.never {
			row.Checked++
		}
	}
	return err
}

// FuzzWhole makes the choices of such a life from bytes.
func FuzzWhole(f *testing.F) {
	for seed := range uint64(4) {
		b := make([]byte, 2000)
		for i := range b {
			b[i] = byte(xxh3.HashSeed([]byte{byte(i)}, seed))
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		source := &byteSource{rest: b, after: rand.NewPCG(uint64(len(b)), 0)}
		must(t, newWhole(rand.New(source)).play(min(len(b)/8, 200)))
	})
}

// A byteSource takes its numbers from bytes, and when they are used up from another source.
type byteSource struct {
	rest  []byte
	after rand.Source
}

func (s *byteSource) Uint64() (n uint64) {
	if len(s.rest) < 2 {
		return s.after.Uint64()
	}
	n = xxh3.Hash(s.rest[:2])
	s.rest = s.rest[2:]
	return n
}

package shard

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/keyfold/keyfold/internal/mutant"
	"github.com/keyfold/keyfold/snapshot"
)

// A phase is how far a snapshot round has come.
type phase uint8

const (
	roundIdle     phase = iota
	roundWanted         // waits for the sync lane, to begin its generation
	roundFreezing       // partitions are copied and written, a batch at a time
	roundSealing        // all written; waits until the log is durable up to the last stamp
	roundPublish        // the file is finished, published and named
)

// A round writes one snapshot. It begins with a generation of its own, copies each
// partition at some point between two runs and stamps it with its sequence, and is
// published when the log is durable up to every stamp.
type round struct {
	phase  phase
	lane   *lane
	job    roundJob
	number uint64       // the generation that the round began
	parts  []*Partition // of the shard, when the round began
	next   int          // the partition to copy, in parts
	// freezing says that partitions are being copied right now.
	freezing bool
	upTo     uint64 // frames that the stamps depend on
	runs     uint64 // of the shard, when the last batch was handed over

	removal removal

	before int64     // log bytes at the start: what the snapshot will make superfluous
	grew   int64     // log bytes that came during the last round
	last   int64     // bytes of the last snapshot
	at     time.Time // when it was published; zero: there is none
	wait   int64     // log bytes at which a round after a failed one may begin
	err    error     // of the last round; nil if its snapshot was published
	asked  []func(error)
	later  []func(error) // asked for while a round was under way
}

// A roundJob is what the lane works on. Between begin and poll it belongs to the lane.
type roundJob struct {
	publish bool
	remove  bool
	writer  *snapshot.Writer
	frozen  []frozen // the batch; its images are reused
	used    int
	current Current // to be written when the snapshot is published
	bytes   int64
	took    time.Duration // to write the batch
	err     error
}

// frozen is a copied partition.
type frozen struct {
	id     uint32
	at     holding
	images []Image
}

func (r *round) open(s *Shard, state *State) {
	r.lane = newLane(s.roundWork, func(lost *PanicError) { r.job.err = lost }, s.Wake)
	r.last, r.at = state.snapshot, state.snapshotAt
	if state.Report.Older { // so that the next open has nothing to lift
		r.phase = roundWanted
	}
}

// ask starts a round, or one after the round that is under way; done is called on
// the shard goroutine when it has ended.
func (s *Shard) ask(done func(error)) {
	r := &s.round
	switch {
	case s.failed():
		done(s.Err())
	case s.inbox.Drained():
		done(ErrClosed)
	case r.phase > roundWanted:
		r.later = append(r.later, done)
	default:
		r.asked = append(r.asked, done)
		r.phase = roundWanted
	}
}

// advanceRound moves the round on by one step and says whether it did anything.
func (s *Shard) advanceRound() bool {
	r := &s.round
	if r.removal.under && r.phase == roundWanted {
		r.removal.haste.Store(true)
	}
	if s.failed() || r.lane.busy || s.life.hurried.Load() {
		return false
	}
	if r.phase != roundIdle {
		defer s.meter.stop(jobSnapshot, s.meter.start())
	}
	switch r.phase {
	case roundIdle:
		return s.roundDue()
	case roundWanted:
		return s.beginRound()
	case roundFreezing:
		return s.freezeSome()
	case roundSealing:
		return s.sealRound()
	}
	return false
}

// roundDue wants a round when the log has grown by SnapshotBytes, or by the size of
// the last snapshot if that is more: then snapshots never cost more than the log. It
// also wants one when a recovery would take too long, and when many opens have left many
// generations with little in each.
func (s *Shard) roundDue() bool {
	r := &s.round
	large := s.log.bytes >= max(s.cfg.Log.SnapshotBytes, r.last) || s.budgetDue()
	if s.log.bytes < r.wait || !large && len(s.log.current.Generations) <= generationsMax {
		return false
	}
	r.phase = roundWanted
	return true
}

// generationsMax is how many generations a shard gathers without a snapshot.
const generationsMax = 64

func (s *Shard) beginRound() bool {
	r := &s.round
	if s.log.lane.busy || s.log.rotation != nil || s.moving.in != nil {
		s.log.lane.hasten()
		return false
	}
	s.flush()
	r.before = s.log.bytes
	if err := s.rotate(); err != nil {
		r.wait = s.log.bytes + s.cfg.Log.SnapshotBytes
		s.endRound(err)
		return true
	}
	r.number, r.next = s.log.writer.End().Generation, 0
	r.parts = append(r.parts[:0], s.owned...)
	r.phase = roundFreezing
	r.job = roundJob{frozen: r.job.frozen}
	return true
}

// freezeSome copies the next partitions and hands them to the lane.
func (s *Shard) freezeSome() bool {
	r := &s.round
	r.job.used = 0
	r.freezing = true // a codec of the user's may end the goroutine: see thaw
	for bytes := 0; r.next < len(r.parts) && bytes < frozenBytes; r.next++ {
		if p := r.parts[r.next]; s.parts[p.ID] == p && !p.empty() {
			bytes += r.freeze(p)
		}
	}
	r.freezing = false
	pause := r.pause(s.counters.runs)
	if s.overBudget() {
		pause = 0
	}
	r.lane.begin(pause)
	return true
}

// roundPace is how long the lane rests for each moment that it has worked, while the
// shard is busy: a round takes a core's time from shard and callers, and a log that
// grows for some seconds more costs less (BenchmarkRound).
const roundPace = 2

// pause is how long the lane rests before the next batch: not at all if the shard has
// made no run since the last one.
func (r *round) pause(runs uint64) time.Duration {
	busy := runs != r.runs
	r.runs = runs
	if !busy {
		return 0
	}
	return roundPace * r.job.took
}

// thaw ends a round whose copying has ended the goroutine.
func (s *Shard) thaw() {
	if r := &s.round; r.freezing {
		r.freezing = false
		r.job.abort()
		r.wait = s.log.bytes + s.cfg.Log.SnapshotBytes
		s.endRound(&PanicError{})
	}
}

func (r *round) freeze(p *Partition) int {
	if r.job.used == len(r.job.frozen) {
		r.job.frozen = append(r.job.frozen, frozen{images: make([]Image, len(p.Stores))})
	}
	f := &r.job.frozen[r.job.used]
	f.id, f.at = p.ID, p.holding()
	if mutant.StampTooHigh {
		f.at.sequence++
	}
	bytes := 0
	for i, store := range p.Stores {
		f.images[i] = store.Freeze(f.images[i])
		bytes += f.images[i].Bytes()
	}
	r.job.used++
	return bytes + 1
}

// sealRound waits until the log is durable up to the last stamp, then publishes.
func (s *Shard) sealRound() bool {
	r := &s.round
	if !mutant.SnapshotOutrunsLog && (s.log.durable < r.upTo || s.log.rotation != nil) {
		if s.log.lane.busy {
			s.log.lane.hasten()
		} else {
			s.log.wanted = r.upTo
		}
		return false
	}
	if all, err := s.departed(s.moving.owed); err != nil {
		r.job.abort()
		r.wait = s.log.bytes + s.cfg.Log.SnapshotBytes
		s.endRound(err)
		return true
	} else if !all {
		return false
	}
	r.phase = roundPublish
	r.job.publish = true
	r.job.current = s.log.current.published(r.number, s.cfg.keep(), s.cfg.Clock())
	r.lane.begin(0)
	return true
}

// roundWorked takes over what the lane has done.
func (s *Shard) roundWorked() {
	r := &s.round
	switch {
	case r.removal.under:
		r.removal.under = false
	case s.failed():
		r.job.abort()
	case r.job.err != nil:
		r.job.abort()
		r.wait = s.log.bytes + s.cfg.Log.SnapshotBytes
		s.endRound(r.job.err)
	case r.phase == roundPublish:
		s.log.current = r.job.current
		s.log.bytes -= r.before
		r.grew = s.log.bytes
		r.last, r.wait = r.job.bytes, 0
		r.at = time.Unix(0, s.cfg.Clock())
		s.counters.snapshots++
		s.endRound(nil)
		s.removeReplaced()
	case r.next == len(r.parts):
		r.phase = roundSealing
		s.moving.owed = append(s.moving.owed[:0], s.moving.leaving...)
		s.force()
		r.upTo = s.log.appended.Load()
	}
}

func (s *Shard) endRound(err error) {
	r := &s.round
	r.phase = roundIdle
	if r.err = err; err != nil {
		s.counters.snapshotFailures++
		s.notify(NoticeSnapshotFailed, err)
	}
	asked := r.asked
	r.asked, r.later = r.later, nil
	if len(r.asked) > 0 {
		r.phase = roundWanted
	}
	for _, done := range asked {
		done(err)
	}
}

// fail ends the round of a failed shard.
func (r *round) fail(err error) {
	for _, done := range append(r.asked, r.later...) {
		done(err)
	}
	r.asked, r.later = nil, nil
	r.phase = roundIdle
	if !r.lane.busy {
		r.job.abort()
	}
}

// snapshotPath is where a published snapshot lies.
func (c *Config) snapshotPath(number uint64) string {
	return filepath.Join(c.Dir, "snapshot", fmt.Sprintf("%08d.snap", number))
}

func (c *Config) snapshotID(number uint64) snapshot.ID {
	return snapshot.ID{Store: c.ID.Store, Layout: c.ID.Layout, Shard: c.ID.Shard, Number: number}
}

// roundWork is the lane's job: it writes a batch of partitions, or finishes the file.
func (s *Shard) roundWork() {
	r := &s.round
	if r.job.remove {
		removeUnnamed(&s.cfg, &r.job.current, s.restFromRemoval)
		return
	}
	if r.job.publish {
		r.job.err = r.job.finish(&s.cfg, r.number)
		return
	}
	began := time.Now()
	r.job.err = r.job.write(&s.cfg, r.number)
	r.job.took = time.Since(began)
}

// blockBytes is the size of a snapshot's blocks.
const blockBytes = 256 << 10

func (j *roundJob) write(c *Config, number uint64) error {
	if j.writer == nil {
		path := c.snapshotPath(number) + ".tmp"
		if err := c.Log.FS.Remove(path); err != nil && !errors.Is(err, errNotExist) {
			return fmt.Errorf("shard: %w", err)
		}
		w, err := snapshot.Create(c.Log.FS, path, c.snapshotID(number), c.snapshotHeader())
		if err != nil {
			return err
		}
		j.writer = w
	}
	for i := range j.used {
		if err := writePartition(j.writer, &j.frozen[i]); err != nil {
			return err
		}
	}
	return nil
}

func writePartition(w *snapshot.Writer, f *frozen) error {
	for table, image := range f.images {
		err := image.Blocks(blockBytes, func(form uint8, entries uint32, data []byte) error {
			return w.Block(f.id, uint16(table), form, entries, data)
		})
		if err != nil {
			return err
		}
	}
	return w.EndPartition(f.id, f.at.sequence, f.at.epoch)
}

// finish publishes the snapshot: the file is synced, renamed, read again from the
// disk and verified, then named in CURRENT. Only then may what it replaces be removed.
func (j *roundJob) finish(c *Config, number uint64) error {
	path := c.snapshotPath(number)
	if mutant.LogRemovedEarly {
		_ = j.current.write(c.Log.FS, c.Dir)
		removeUnnamed(c, &j.current, func() {})
	}
	summary, err := j.writer.Finish()
	if err != nil {
		return err
	}
	j.writer = nil
	j.bytes = int64(summary.DataBytes)
	if _, err := snapshot.Publish(c.Log.FS, path+".tmp", path, c.snapshotID(number)); err != nil {
		// It has one of two names. If it stays, the next round removes it.
		_ = c.Log.FS.Remove(path + ".tmp")
		_ = c.Log.FS.Remove(path)
		return err
	}
	return j.current.write(c.Log.FS, c.Dir)
}

// abort gives up a snapshot that is not finished. What it leaves is unnamed.
func (j *roundJob) abort() {
	if j.writer != nil {
		_ = j.writer.Abort()
		j.writer = nil
	}
}

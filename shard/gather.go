package shard

// A gathering says how long the open frame waits for more events.
//
// A caller who was just told sends its next event a moment later. A sync that begins
// in that moment leaves it out, and it waits for a whole other one: then callers fall
// into two groups that take turns on the disk. So with acks at every group commit the
// frame waits until as many blocks are back as the last sync has told, or nobody comes
// any more, or the wait was as long as that sync.
//
// When not even half of them are back by then, those who were told have other things to
// do, and the next syncs wait for nobody. Nor is anybody waited for in a large group: it
// takes longer to come back than a sync, and two groups in turn keep disk and processors
// busy. BenchmarkCall has the figures.
type gathering struct {
	turns    int   // since the frame was opened
	expected int   // blocks that the last sync has told
	began    int64 // when the last sync began, by the shard's clock
	until    int64 // when nobody is waited for any more
	alone    int   // syncs to come that wait for nobody
}

// gatherMax bounds the wait for callers, in nanoseconds, when a sync takes long.
const gatherMax = 1e6

// gatherBlocksMax is how many blocks make a large group.
const gatherBlocksMax = 128

// gatherAlone is how many syncs wait for nobody after one has waited in vain.
const gatherAlone = 64

// told notes that a sync has ended at the time now and how many blocks wait for that.
func (g *gathering) told(blocks int, now int64) {
	g.expected = 0
	if g.alone > 0 {
		g.alone--
		return
	}
	if blocks <= gatherBlocksMax {
		g.expected = blocks
	}
	g.until = now + min(now-g.began, gatherMax)
}

// begin notes that a sync begins at the time now and how many blocks are there.
func (g *gathering) begin(blocks int, now int64) {
	g.began = now
	if 2*blocks < g.expected {
		g.alone = gatherAlone
	}
}

// turnsOpen is how many turns a frame waits for the inbox to be empty. An inbox that
// is always full, of reads say, must not keep an event from its ack.
const turnsOpen = 16

// shouldWrite decides when the open frame is written: when it is large, or when
// somebody waits for it and nobody has more events, or it was open for long enough.
// While a sync is under way, or waits for its interval, the frame stays open, so that
// the next group is whatever arrived in the meantime.
func (s *Shard) shouldWrite(drained bool) bool {
	switch {
	case s.log.frame.Len() >= FrameTargetBytes:
		return true
	case !drained && s.log.gather.turns < turnsOpen:
		return false
	case !s.acks.written.empty():
		return true
	}
	return s.cfg.Log.Sync != SyncNever && !s.log.lane.busy && !s.gathers(s.acks.durable.len())
}

// gathers says that the next sync waits for callers, of whom so many blocks are there.
func (s *Shard) gathers(blocks int) bool {
	g := &s.log.gather
	return s.cfg.Log.Sync == SyncAlways && blocks < g.expected && g.waits(s.cfg.Clock())
}

// waits says that callers may still come. A clock that has run back says nothing of that.
func (g *gathering) waits(now int64) bool { return g.began <= now && now < g.until }

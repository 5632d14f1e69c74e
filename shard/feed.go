package shard

import "context"

// A Feed is an input that the shard reads itself: what the shard owns is applied
// without a hop, and the feed hands the rest over to other shards. Its methods are
// called by the shard goroutine and must not wait.
type Feed interface {
	// Poll reads what is there. block or rows hold operations of partitions of this
	// shard; they are borrowed until the next Poll, and nil if there are none. A feed
	// that is Idle is polled again after the next Wake of the shard at the latest.
	Poll() (block []byte, rows *Rows, state FeedState)
	// End says that the feed is not polled any more, and why: nil after FeedOver.
	End(err error)
}

// A FeedState says what a feed expects of its shard.
type FeedState uint8

// The states.
const (
	FeedIdle FeedState = iota // nothing to do until something happens
	FeedBusy                  // poll again soon
	FeedOver                  // do not poll again
)

// Attach makes the shard poll a feed. It waits until the shard has taken it, and
// returns an error if the shard stops first or ctx ended. After an error the feed may
// still be polled, unless the shard has stopped.
func (s *Shard) Attach(ctx context.Context, f Feed) error {
	return s.Tell(ctx, func() { s.feeds = append(s.feeds, f) })
}

// pollFeeds gives each feed a turn. A block that is half used up goes first: feeds and
// inbox share one run. It says whether there was anything to do.
func (s *Shard) pollFeeds() bool {
	if len(s.feeds) == 0 {
		return false
	}
	if s.inbox.Closed() {
		s.endFeeds()
		return true
	}
	s.owner.enter() // a Poll is code of the user's, too
	busy := s.run.cursor.more()
	if s.moving.held.full {
		return false
	}
	s.applyRest()
	for i := 0; i < len(s.feeds); i++ {
		f := s.feeds[i]
		block, rows, state := f.Poll()
		switch {
		case block != nil:
			s.openBlock(block)
		case rows != nil:
			s.openRows(rows)
		}
		busy = busy || s.run.cursor.more() || state != FeedIdle
		s.applyRest()
		if state == FeedOver {
			s.feeds = append(s.feeds[:i], s.feeds[i+1:]...)
			f.End(nil)
			i--
		}
	}
	return busy
}

// applyRest carries out what is left of the block that was opened last.
func (s *Shard) applyRest() {
	r := &s.run
	for r.cursor.more() {
		s.takeOperations()
		r.touch(s.programs)
		s.applyRun()
	}
}

// endFeeds lets go of all feeds when the shard takes no more operations.
func (s *Shard) endFeeds() {
	feeds := s.feeds
	s.feeds = nil
	for _, f := range feeds {
		f.End(s.gone())
	}
}

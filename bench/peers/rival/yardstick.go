package rival

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/keyfold/keyfold/bench/limit"
)

// limitRow is the work without a store around it: what the machine allows.
func limitRow() *Rival {
	return &Rival{
		Name: Limit, About: "package limit: no dispatcher, no recovery; a write for 256 KiB; when each batch is synced, a write for each batch into 32 MiB that are there already; 2 lanes, pinned",
		Volatile: true, Pinned: true, Lanes: always(2), Open: openLimit,
	}
}

func openLimit(c Config) (Store, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	s := &limitStore{}
	doors := make([]Lane, 2)
	for i := range doors {
		log, err := newLoop(filepath.Join(c.Dir, fmt.Sprintf("log-%d", i)), c.Sync != None)
		if err != nil {
			return nil, err
		}
		lane := &limitLane{owner: limit.NewOwner(int(c.Keys), log), log: log, synced: c.Sync == Always}
		s.lanes = append(s.lanes, lane)
		doors[i] = lane
	}
	s.crowd = newCrowd(doors)
	if c.Sync == Second {
		s.tick = everySecond(func() error { return errors.Join(s.lanes[0].log.file.Sync(), s.lanes[1].log.file.Sync()) })
	}
	return s, nil
}

type limitStore struct {
	lanes []*limitLane
	crowd *crowd
	tick  *ticker
}

// Lane is another door to the owner of a lane, which the crowd has too: they must not
// be used at the same time.
func (s *limitStore) Lane(index int) (Lane, error) {
	door := *s.lanes[index]
	door.settled = 0
	return &door, nil
}

// Do commits the event together with those of other callers.
func (s *limitStore) Do(lane int, key *limit.Key, event *limit.Event) error {
	return s.crowd.do(lane, key, event)
}

// Each goes through both owners.
func (s *limitStore) Each(fn func(key []byte, s limit.State) error) error {
	for _, l := range s.lanes {
		if err := l.owner.Each(func(k *limit.Key, s *limit.State) error { return fn(k[:], *s) }); err != nil {
			return err
		}
	}
	return nil
}

// Processes are none.
func (s *limitStore) Processes() []int { return nil }

// Close closes the logs.
func (s *limitStore) Close() error {
	s.crowd.stop()
	return errors.Join(s.tick.stop(), s.lanes[0].log.file.Close(), s.lanes[1].log.file.Close())
}

type limitLane struct {
	owner   *limit.Owner
	log     *loop
	synced  bool
	settled uint64
}

// Apply folds and logs. When synced, it commits the batch.
func (l *limitLane) Apply(batch limit.Stream) error {
	if err := l.owner.Apply(batch); err != nil {
		return err
	}
	if l.synced {
		if err := errors.Join(l.owner.Flush(), l.log.sync()); err != nil {
			return err
		}
	}
	l.settled += uint64(len(batch.Keys))
	return nil
}

// Settled is every event, though part of them may be in the buffer.
func (l *limitLane) Settled() uint64 { return l.settled }

// Flush writes the buffer.
func (l *limitLane) Flush() error { return l.owner.Flush() }

// A loop is a file that is written over and over: what a log is whose segments are used
// again. It must be used by one goroutine at a time.
type loop struct {
	file *os.File
	at   int64
	max  int64
}

// Sizes of a loop: of one that has its blocks from the beginning, and of one that grows,
// as that of the row L4b of package limit.
const (
	loopBytes     = 32 << 20
	loopGrowBytes = 4 << 30
)

// newLoop makes the file. If it is to be ready it is given its blocks.
func newLoop(name string, ready bool) (*loop, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if !ready {
		return &loop{file: f, max: loopGrowBytes}, nil
	}
	zeros := make([]byte, 4<<10) // larger ones make the kernel charge more than is written
	for range loopBytes / len(zeros) {
		if _, err := f.Write(zeros); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	if err := f.Sync(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &loop{file: f, max: loopBytes}, nil
}

// Write writes p behind what was written before, or at the start.
func (l *loop) Write(p []byte) (int, error) {
	if l.at+int64(len(p)) > l.max {
		l.at = 0
	}
	n, err := l.file.WriteAt(p, l.at)
	l.at += int64(n)
	return n, err
}

package shard

import (
	"encoding/binary"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
	"github.com/keyfold/keyfold/internal/fsys"
)

// A watcher reads the changes of a pair and remembers the ids of the events.
type watcher struct {
	follower *Follower
	seen     [rigPartitions][]uint64
}

// watch makes a watcher that begins in front of the first event.
func (p *pair) watch() *watcher {
	return &watcher{follower: NewFollower(nil, func(have int) (all []TrailSource) {
		for i := have; i < len(p.shards); i++ {
			s := p.shards[i].Shard
			all = append(all, TrailSource{
				FS: s.cfg.Log.FS, ID: s.cfg.ID, Routing: s.cfg.Routing, Live: s, Dir: func() string { return s.cfg.Dir },
			})
		}
		return all
	}, make([]uint64, rigPartitions))}
}

// read reads all that is durable now.
func (w *watcher) read(tb interface {
	Helper()
	Fatalf(string, ...any)
}) {
	tb.Helper()
	for {
		var c Change
		ok, err := w.follower.Next(&c)
		if errors.Is(err, crashfs.ErrCrashed) || errors.Is(err, ErrShardFailed) {
			return
		}
		if err != nil {
			tb.Fatalf("%v; read %v", err, w.seen)
		}
		if !ok {
			return
		}
		seen := &w.seen[c.Partition]
		if *seen = append(*seen, binary.LittleEndian.Uint64(c.Event[1:])); c.Sequence != uint64(len(*seen)) {
			tb.Fatalf("change %d of partition %d comes behind %v", c.Sequence, c.Partition, *seen)
		}
	}
}

// followed fails the test unless the changes that the logs of next hold are all that it
// holds, and what a reader of the pair before has got is the beginning of them.
func (p *pair) followed(what string, next *pair) {
	p.Helper()
	w := next.watch()
	w.read(p)
	for id, entries := range next.contents(what) {
		have := ids(entries)
		if !slices.Equal(w.seen[id], have) {
			p.Fatalf("%s: the changes of partition %d are %v, and it holds %v", what, id, w.seen[id], have)
		}
		if seen := p.watcher.seen[id]; len(seen) > len(have) || !slices.Equal(seen, have[:len(seen)]) {
			p.Fatalf("%s: a reader got changes %v of partition %d, which holds %v", what, seen, id, have)
		}
	}
	if err := w.follower.Close(); err != nil {
		p.Fatal(err)
	}
}

// A vanishing disk calls remove when a segment of a generation is opened.
type vanishing struct {
	fsys.FS
	remove map[string]func() // by a part of the name
}

func (v vanishing) OpenFile(name string, flag int, perm os.FileMode) (fsys.File, error) {
	for part, remove := range v.remove {
		if strings.Contains(name, part) {
			delete(v.remove, part)
			remove()
		}
	}
	return v.FS.OpenFile(name, flag, perm)
}

// Goal: a reader that is too slow is told so, however much is removed under it. Method:
// while it goes on to the oldest generation that there is, that one is removed as well,
// three times.
func TestATrailOutlivesTheRemovalOfEveryGenerationThatItGoesOnTo(t *testing.T) {
	r := newRig(t)
	removeOldest := func() {
		for before := r.names("log"); len(r.names("log")) > 0 && slices.Contains(r.names("log"), before[0]); {
			r.accept(add("0a"))
			r.snapshot()
		}
	}
	r.accept(add("0a"))
	r.snapshot()
	r.accept(add("0a"))
	v := vanishing{r.disk, map[string]func(){}}
	follower := NewFollower(nil, func(have int) []TrailSource {
		if have > 0 {
			return nil
		}
		return []TrailSource{{FS: v, ID: r.cfg.ID, Routing: r.cfg.Routing, Live: r.Shard, Dir: func() string { return r.cfg.Dir }}}
	}, make([]uint64, rigPartitions))
	var c Change
	if ok, err := follower.Next(&c); !ok || err != nil {
		t.Fatal(ok, err)
	}
	removed := 0
	var again func()
	again = func() {
		removeOldest()
		if removed++; removed < 3 {
			v.remove["log/"+r.names("log")[0]+"/"] = again
		}
	}
	again()
	var err error
	for ok := true; ok && err == nil; {
		ok, err = follower.Next(&c)
	}
	if !errors.Is(err, ErrTrimmed) || removed != 3 {
		t.Fatalf("%v after %d removals", err, removed)
	}
	if err := follower.Close(); err != nil {
		t.Fatal(err)
	}
}

package fuzz

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: a snapshot is not published before the log is durable up to all that it holds.
// Method: events come while it is taken; syncs of the log are held up from its first
// byte on, by more than anything else takes; the power is cut when it is there. Had it
// overtaken the log, then the log would end before it.
func TestASnapshotNeverOvertakesTheLog(t *testing.T) {
	t.Parallel()
	random := random(t)
	for range 8 * *rounds {
		o := small()
		o.Shards, o.Sync, o.SnapshotBytes = 1, engine.SyncNever, 1<<30
		r := newRig(o, hashes["full"])
		must(t, r.open())
		must(t, r.load(random, 20, engine.Written))
		var begun atomic.Bool // the hook's store publishes to the hook, on another goroutine
		r.disk.SetHook(func(op crashfs.Op) error {
			switch {
			case op.Kind == crashfs.Create && strings.HasSuffix(op.Name, ".snap.tmp"):
				begun.Store(true)
			case op.Kind == crashfs.Sync && strings.Contains(op.Name, "/log/") && begun.Load():
				<-time.After(200 * time.Millisecond)
			}
			return nil
		})
		must(t, r.crowd(random.Uint64(), 60, engine.Applied))
		must(t, r.crash(crashfs.Model{}))
		must(t, r.reopen(safe))
		must(t, r.abandon())
	}
}

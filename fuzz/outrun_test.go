package fuzz

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/keyfold/keyfold/engine"
	"github.com/keyfold/keyfold/internal/crashfs"
)

// Goal: a snapshot is not published before the log is durable up to all that it holds.
// Method: the shard is held up while it begins the generation of the snapshot, so that
// events come between that and the copying; from then on the syncs of the log are held
// up by more than anything else takes. The power is cut when the snapshot is there: had
// it overtaken the log, then the log would end before it.
func TestASnapshotNeverOvertakesTheLog(t *testing.T) {
	t.Parallel()
	random := random(t)
	for range 2 * *rounds {
		o := small()
		o.Shards, o.Sync, o.SnapshotBytes = 1, engine.SyncNever, 1<<30
		o.Spin = time.Second // a shard that goes to sleep would write the open frame
		r := newRig(o, hashes["full"])
		must(t, r.open())
		must(t, r.load(random, 20, engine.Written))
		begun := holdUp(r.disk)
		sent := make(chan error, 1)
		seed := random.Uint64()
		go func() {
			<-begun
			sent <- r.everywhere(seed, 1, engine.Applied)
		}()
		ctx, cancel := patiently()
		must(t, r.engine.Snapshot(ctx))
		cancel()
		must(t, <-sent)
		must(t, r.crash(crashfs.Model{}))
		must(t, r.reopen(safe))
		must(t, r.abandon())
	}
}

// holdUp makes a disk slow from the moment on when a generation is begun, and says
// when that is.
func holdUp(disk *crashfs.FS) (begun <-chan struct{}) {
	generation, file := make(chan struct{}), make(chan struct{})
	once, first := sync.OnceFunc(func() { close(generation) }), sync.OnceFunc(func() { close(file) })
	disk.SetHook(func(op crashfs.Op) error {
		switch {
		case op.Kind == crashfs.Mkdir && strings.Contains(op.Name, "/log/"):
			once()
			<-time.After(20 * time.Millisecond) // the events reach the inbox
		case op.Kind == crashfs.Create && strings.HasSuffix(op.Name, ".snap.tmp"):
			first()
		case op.Kind == crashfs.Sync && strings.Contains(op.Name, "/log/"):
			select {
			case <-file:
				<-time.After(100 * time.Millisecond)
			default:
			}
		}
		return nil
	})
	return generation
}

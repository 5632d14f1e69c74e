package shard

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyfold/keyfold/internal/crashfs"
)

const interval = 10 * time.Millisecond

func atInterval(c *Config) { c.Log.Sync, c.Log.Interval = SyncInterval, interval }
func atNever(c *Config)    { c.Log.Sync = SyncNever }

// running starts the shard of a rig, inside a bubble of fake time, and stops it when
// the test ends.
func running(t *testing.T, change ...func(*Config)) *rig {
	r := newRig(t, change...)
	r.Start()
	t.Cleanup(func() {
		r.Hurry()
		r.Stop()
		if err := r.Wait(context.Background()); err != nil && r.Err() == nil {
			t.Error(err)
		}
	})
	return r
}

// after lets everybody do what they can, for a time.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// rest is after for a test that has looked into the shard: that lies before whatever the
// shard does next, and the race detector is told.
func (r *rig) rest(d time.Duration) {
	r.log.pulse.due.CompareAndSwap(false, false) // every turn looks at it
	after(d)
}

func TestIntervalModeSyncsAfterTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t, atInterval)
		durable, written := r.send(Durable, add("0a")), r.send(Written, add("0a"))
		synctest.Wait()
		written.want("idle", true)
		after(interval - 1)
		durable.want("before the interval is over", false)
		after(1)
		durable.want("after the interval", true)
	})
}

// Goal: in interval mode what was accepted is synced within a bounded time, also when
// the shard is never idle: a frame must not stay open because reads keep coming.
// Method: turns that each find a read, and a sync lane that always gets its time.
func TestIntervalModeSyncsAlsoWhenTheShardIsNeverIdle(t *testing.T) {
	r := newRig(t, atInterval)
	c := r.send(Durable, add("0a"))
	for range 10 {
		r.send(Applied, ev{key: "1b"})
		r.turn()
		r.sync()
	}
	c.want("after ten intervals", true)
}

// Goal: frames do not become small because the shard has nothing better to do. Method:
// while a sync waits for its interval, turns add to the open frame.
func TestIntervalModeGroupsWhatArrivesInAnInterval(t *testing.T) {
	r := newRig(t, atInterval)
	for range 20 {
		r.send(Durable, add("0a"))
		r.turn()
	}
	r.settle()
	if n := r.log.appended.Load(); n > 2 {
		t.Fatalf("%d frames", n)
	}
}

// Goal: a full segment does not wait until somebody wants a sync: what a crash of the
// system can take stays below two segments, and the segment after it finds nothing to wait
// for. Method: fill one in every mode, and count the syncs that somebody waited for: none.
func TestAFullSegmentIsSyncedInEveryMode(t *testing.T) {
	for mode, change := range map[string]func(*Config){"always": func(*Config) {}, "interval": atInterval, "never": atNever} {
		r := newRig(t, change)
		for r.log.writer.Segments() < 2 {
			r.send(Written, adds("0a", 50)...)
			r.turn()
		}
		full := r.log.appended.Load()
		if !r.log.forced() || !r.log.lane.busy {
			t.Fatalf("%s: no sync was begun behind a full segment", mode)
		}
		r.settle()
		if r.log.durable < full {
			t.Fatalf("%s: %d of %d frames are durable", mode, r.log.durable, full)
		}
	}
}

func TestNeverModeSyncsNothingByItself(t *testing.T) {
	r := newRig(t, atNever)
	written := r.send(Written, add("0a"))
	r.trace()
	r.settle()
	written.want("settled", true)
	if at := r.where(0, crashfs.Sync, ""); at >= 0 {
		t.Fatal("synced: ", r.ops[at])
	}
	want := contents(r.owned)
	r = r.crash(crashfs.Model{Data: crashfs.Kept})
	r.same("kill", want)
}

func TestNeverModeWritesWhenTheShardParks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t, atNever)
		r.send(Applied, add("0a"))
		synctest.Wait()
		want := contents(r.owned)
		r.crash(crashfs.Model{Data: crashfs.Kept}).same("kill", want)
	})
}

// Goal: in every mode a snapshot depends on a durable log, and taking one hastens the
// sync that waits for its interval. Method: fake time, which must not move.
func TestSnapshotDoesNotWaitForTheInterval(t *testing.T) {
	for name, mode := range map[string]func(*Config){"interval": atInterval, "never": atNever} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := running(t, mode, func(c *Config) { c.Log.Interval = time.Hour })
				r.send(Written, add("0a"))
				synctest.Wait()
				began := time.Now()
				if err := r.Snapshot(context.Background()); err != nil {
					t.Fatal(err)
				}
				if waited := time.Since(began); waited != 0 {
					t.Fatalf("it took %v", waited)
				}
			})
		})
	}
}

func TestStopDoesNotWaitForTheInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t, atInterval, func(c *Config) { c.Log.Interval = time.Hour })
		c := r.send(Durable, add("0a"))
		synctest.Wait()
		began := time.Now()
		r.Stop()
		if err := r.Wait(context.Background()); err != nil {
			t.Fatal(err)
		}
		c.want("stopped", true)
		if waited := time.Since(began); waited != 0 {
			t.Fatalf("it took %v", waited)
		}
	})
}

func TestFailedShardDoesNotWaitForTheIntervalToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t, atInterval, func(c *Config) { c.Log.Interval = time.Hour })
		r.send(Durable, add("0a"))
		synctest.Wait()
		began := time.Now()
		r.disk.FailNth(crashfs.Write, 1, crashfs.ErrIO)
		r.send(Durable, add("0a"))
		if err := r.Wait(context.Background()); err == nil {
			t.Fatal("no error")
		}
		if waited := time.Since(began); waited != 0 {
			t.Fatalf("it took %v", waited)
		}
	})
}

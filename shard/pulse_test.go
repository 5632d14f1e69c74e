package shard

import (
	"testing"
	"testing/synctest"

	"github.com/keyfold/keyfold/internal/crashfs"
)

func TestQuietLogWritesOneHeartbeatAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		for range 3 {
			before := r.disk.Ops()
			r.send(Durable, add("0a"))
			synctest.Wait()
			frames := r.log.appended.Load()
			after(pulseInterval - 1)
			if r.log.appended.Load() != frames {
				t.Fatal("a heartbeat came too early")
			}
			after(1)
			if n := r.log.appended.Load() - frames; n != 1 {
				t.Fatalf("%d heartbeats", n)
			}
			quiet := r.disk.Ops()
			if after(100 * pulseInterval); r.disk.Ops() != quiet || quiet == before {
				t.Fatalf("%d operations on an idle disk", r.disk.Ops()-quiet)
			}
		}
		if parts := contents(r.owned); len(parts[0]) != 3 {
			t.Fatal(parts)
		}
	})
}

func TestIdleLogFromTheStartWritesNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		before := r.disk.Ops()
		if after(100 * pulseInterval); r.disk.Ops() != before {
			t.Fatal("something was written")
		}
	})
}

func TestBusyLogWritesNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t)
		for range 20 {
			r.send(Durable, add("0a"))
			after(pulseInterval / 3)
		}
		if n := r.log.appended.Load(); n != 20 {
			t.Fatalf("%d frames for 20 events", n)
		}
	})
}

// Goal: the heartbeat makes rot of the last real frame known for what it is. Method:
// change a byte of that frame on the disk. Without the heartbeat it looks like a tear
// and is dropped; with it recovery must refuse.
func TestHeartbeatVouchesForTheLastFrame(t *testing.T) {
	for name, beat := range map[string]bool{"without": false, "with": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := running(t)
				r.send(Durable, add("0a"))
				synctest.Wait()
				path := r.cfg.generationDir(1) + "/00000000000000000001"
				var end int64
				if err := r.Tell(t.Context(), func() { end = r.log.writer.Bytes() }); err != nil {
					t.Fatal(err)
				}
				if beat {
					after(pulseInterval)
				}
				disk := r.disk.Crash(crashfs.Model{})
				rot(t, disk, path, end-10)
				if _, err := r.reopen(disk); (err != nil) != beat {
					t.Fatalf("the last frame is damaged: %v", err)
				}
			})
		})
	}
}

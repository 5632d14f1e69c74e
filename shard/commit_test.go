package shard

import (
	"slices"
	"testing"

	"github.com/keyfold/keyfold/internal/crashfs"
)

func TestDurableAckWaitsForTheSyncOfItsFrame(t *testing.T) {
	r := newRig(t)
	c := r.send(Durable, add("0a"))
	r.turn()
	c.want("applied and written", false)
	r.trace()
	r.sync()
	if r.where(0, crashfs.Sync, "log/") < 0 {
		t.Fatal("the job synced nothing: ", r.ops)
	}
	c.want("synced, and the shard has not looked", false)
	r.turn()
	c.want("synced", true)
}

func TestAppliedAckWaitsForNothing(t *testing.T) {
	r := newRig(t)
	r.send(Durable, add("0a"))
	r.turn()
	c := r.send(Applied, add("0a"))
	r.turn()
	c.want("applied while a sync is under way", true)
	if r.log.frame.Count != 1 {
		t.Fatal("the event was not left in the open frame")
	}
}

// Goal: the group is whatever arrived during the last sync: one frame, one sync.
// Method: let many turns with events pass while one sync is under way, then count.
func TestEventsOfOneSyncShareTheNextFrame(t *testing.T) {
	r := newRig(t)
	first := r.send(Durable, add("0a"))
	r.turn()
	var group []*call
	for range 20 {
		group = append(group, r.send(Durable, add("1b"), add("2c")))
		r.turn()
	}
	r.sync()
	r.turn()
	first.want("first sync", true)
	if r.log.appended.Load() != 2 {
		t.Fatalf("%d frames were written, want 2", r.log.appended.Load())
	}
	for _, c := range group {
		c.want("written, not synced", false)
	}
	r.sync()
	r.turn()
	for _, c := range group {
		c.want("second sync", true)
	}
	if r.counters.syncs != 2 {
		t.Fatalf("%d syncs, want 2", r.counters.syncs)
	}
}

// Goal: a sync vouches only for frames whose write returned before it began, and at
// most one is under way. Method: from inside the sync of the first frame, make a turn
// that writes another one; it must wait for a sync of its own.
func TestSyncCoversOnlyWhatWasWrittenBeforeItBegan(t *testing.T) {
	r := newRig(t)
	first := r.send(Durable, add("0a"))
	r.turn()
	var second *call
	r.disk.SetHook(func(op crashfs.Op) error {
		if op.Kind != crashfs.Sync || second != nil {
			return nil
		}
		second = r.send(Written, add("0a")) // waits for the write, so it is written now
		durable := r.send(Durable, add("0a"))
		r.turn()
		second.want("written during the sync", true)
		second = durable
		if r.sync() {
			t.Error("a second sync began while the first was under way")
		}
		return nil
	})
	r.sync()
	r.turn()
	first.want("its sync is over", true)
	second.want("its sync has not run", false)
	if r.log.durable != 1 || r.log.appended.Load() != 2 {
		t.Fatalf("durable %d of %d frames, want 1 of 2", r.log.durable, r.log.appended.Load())
	}
	r.sync()
	r.turn()
	second.want("its sync is over", true)
}

// Goal: an ack depends on directory entries, too. Method: the first sync of a segment
// must be followed by the sync of its directory before the shard is told.
func TestDirectoryOfANewSegmentIsSyncedBeforeTheAck(t *testing.T) {
	r := newRig(t)
	r.accept(adds("0a", 300)...) // fills the first segment and begins another
	if len(r.names("log/00000001")) < 2 {
		t.Fatal("one segment was enough")
	}
	c := r.send(Durable, adds("0a", 200)...)
	for !c.done() {
		r.turn()
		r.sync()
	}
	want := contents(r.owned)
	r.crash(crashfs.Model{}).same("power cut after the ack", want)
}

func TestLargeFrameIsWrittenWhileASyncIsUnderWay(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Inbox = 1 << 20 })
	r.send(Durable, add("0a"))
	r.turn()
	r.send(Durable, ev{key: "0a", verb: verbAdd, pad: FrameTargetBytes - 100})
	r.turn()
	if r.log.appended.Load() != 1 {
		t.Fatal("a frame below the target was written during a sync")
	}
	r.send(Durable, ev{key: "0a", verb: verbAdd, pad: 100})
	r.turn()
	if r.log.appended.Load() != 2 {
		t.Fatal("a frame of the target size was not written")
	}
}

// Goal: a run whose records are more than a frame takes is logged in as many frames as
// it needs, and nothing of it is refused. Method: large events with reads between them,
// and a crash.
func TestRunThatNoFrameHoldsIsSplit(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Inbox = 1 << 22 })
	var evs []ev
	for range runOperations / 2 {
		evs = append(evs, ev{key: "0a", verb: verbAdd, pad: 40 << 10}, ev{key: "0a"})
	}
	r.accept(evs...)
	if frames := r.stats().Log.Frames; frames < 3 {
		t.Fatalf("%d frames", frames)
	}
	want := contents(r.owned)
	if n := len(want[0]); n != runOperations/2 {
		t.Fatalf("%d events", n)
	}
	r.crash(crashfs.Model{}).same("replayed", want)
}

func TestWrittenAckHasItsFrameWrittenDuringASync(t *testing.T) {
	r := newRig(t)
	r.send(Durable, add("0a"))
	r.turn()
	c := r.send(Written, add("0a"))
	r.turn()
	c.want("drained", true)
	want := contents(r.owned)
	r.crash(crashfs.Model{Data: crashfs.Kept}).same("kill", want)
}

// Goal: Written is never told of a frame that is still in memory. Method: keep the
// inbox from being drained, so that the frame stays open.
func TestWrittenAckWaitsForTheWrite(t *testing.T) {
	r := newRig(t)
	c := r.send(Written, add("0a"))
	r.send(Applied, adds("0a", runOperations-1)...)
	r.send(Applied, add("0a"))
	r.turn()
	if r.log.frame.Count == 0 {
		t.Fatal("the frame was written although more was waiting")
	}
	c.want("in the open frame", false)
	r.turn()
	c.want("written", true)
}

func TestAcksOfSeveralFramesAreReleasedInOrder(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Inbox = 4 << 20 })
	var calls []*call
	for range 5 {
		calls = append(calls, r.send(Durable, ev{key: "0a", verb: verbAdd, pad: FrameTargetBytes}))
		r.turn()
		if len(calls) == 3 {
			r.sync() // covers the three frames that are written
		}
	}
	r.turn()
	for i, c := range calls {
		c.want("after a sync of three frames", i < 3)
	}
}

// Goal: nobody is refused because of an event that a crash then removes. Method: an
// event is in the open frame when a second one is refused; the refusal must not be
// told before that frame is durable.
func TestRefusalIsReleasedWithTheOpenFrame(t *testing.T) {
	r := newRig(t)
	r.send(Durable, add("0a"))
	r.turn() // a sync is under way: the next frame stays open
	r.send(Applied, add("0a"))
	no := r.send(Durable, ev{key: "0a", verb: verbRefuse})
	r.turn()
	if len(no.refused) != 1 {
		t.Fatal("not refused")
	}
	r.sync()
	r.turn()
	no.want("the frame that was open is written", false)
	r.sync()
	r.turn()
	no.want("the frame that was open is durable", true)
}

func TestRefusalWaitsForTheFrameThatIsBeingSynced(t *testing.T) {
	r := newRig(t)
	r.send(Applied, add("0a"))
	r.turn()
	no := r.send(Durable, ev{key: "0a", verb: verbRefuse})
	r.turn()
	no.want("the event before it is not durable", false)
	r.sync()
	r.turn()
	no.want("the event before it is durable", true)
}

func TestRefusalIsReleasedAtOnceWhenNothingIsUnderWay(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	no := r.send(Durable, ev{key: "0a", verb: verbRefuse})
	r.turn()
	no.want("nothing is under way", true)
	if r.log.frame.Count != 0 || r.log.lane.busy {
		t.Fatal("a refusal was logged")
	}
}

func TestReadOfDurableStateWaitsForTheSync(t *testing.T) {
	r := newRig(t)
	r.send(Durable, add("0a"))
	r.turn()
	applied, durable := r.send(Applied, ev{key: "0a"}), r.send(Durable, ev{key: "0a"})
	r.turn()
	applied.want("read of applied state", true)
	durable.want("read of durable state before the sync", false)
	r.sync()
	r.turn()
	durable.want("read of durable state after the sync", true)
	if len(durable.read) != 1 || durable.read[0] != 1 {
		t.Fatal("read ", durable.read)
	}
}

// Goal: every operation of a block is done before the block is acknowledged, also
// when it takes many runs. Method: one block of several runs between small ones.
func TestBlockOfManyRunsIsAcknowledgedOnce(t *testing.T) {
	r := newRig(t)
	calls := []*call{
		r.send(Durable, adds("0a", 3)...),
		r.send(Applied, adds("1b", 5*runOperations+7)...),
		r.send(Durable, adds("0a", 2)...),
	}
	r.turn()
	calls[1].want("after one run", false)
	r.settle()
	for _, c := range calls {
		c.want("settled", true)
	}
	if n := len(history(r.parts[1])); n != 5*runOperations+7 {
		t.Fatalf("%d events", n)
	}
	if used := r.inbox.Used(); used != 0 {
		t.Fatalf("%d bytes of the inbox were not given back", used)
	}
}

func TestStreamIsToldHowManyOperationsAreDone(t *testing.T) {
	r := newRig(t)
	slot := r.cfg.Slots.New()
	slot.Reset()
	for range 3 {
		r.post(r.block(slot.Stream(), Durable, adds("0a", 10)))
	}
	r.turn()
	if n, _ := slot.Completed(); n != 0 {
		t.Fatalf("%d completed before the sync", n)
	}
	if waiting := len(r.acks.durable.items); waiting != 1 {
		t.Fatalf("%d acks wait for one frame of one stream", waiting)
	}
	r.settle()
	if n, err := slot.Completed(); n != 30 || err != nil {
		t.Fatalf("%d completed with %v, want 30", n, err)
	}
}

func TestTimeOfEventsNeverRunsBack(t *testing.T) {
	r := newRig(t)
	r.accept(add("0a"))
	r.time = 5
	r.accept(add("0a"))
	r.time = 3e6
	r.send(Applied, add("0a"))
	r.send(Applied, adds("0a", 2*runOperations)...)
	r.turn()
	r.time += 2 * timeStep
	r.settle()
	before := int64(0)
	for _, e := range history(r.parts[0]) {
		if e.now < before {
			t.Fatalf("event %d is at %d, behind %d", e.sequence, e.now, before)
		}
		before = e.now
	}
	if before != 3e6+2*timeStep {
		t.Fatalf("the last event is at %d: the time does not move within a frame", before)
	}
	want := contents(r.owned)
	r.crash(crashfs.Model{}).same("replay", want)
}

// An inbox that is never found empty does not keep an event from its ack.
func TestEventsAreAcknowledgedUnderEndlessReads(t *testing.T) {
	r := newRig(t)
	event := r.send(Durable, add("0a"))
	reads := slices.Repeat([]ev{{key: "0a"}}, runOperations)
	r.send(Applied, reads...)
	for range 2*turnsOpen + 2 {
		r.send(Applied, reads...) // one run is taken, one is left
		r.turn()
		r.sync()
	}
	event.want("while reads go on", true)
}

// Goal: the disk does not wait while callers are told: the sync of those who came
// meanwhile is under way before the acks of the last one are given. Method: a caller
// who went away hears of its ack on the shard goroutine, and looks at the lane there.
func TestNextSyncBeginsBeforeTheAcksOfTheLast(t *testing.T) {
	r := newRig(t)
	slot := r.cfg.Slots.New()
	onRelease := false
	slot.Sink = sinkFunc(func() { onRelease = r.log.lane.busy && r.log.appended.Load() == 2 })
	r.post(r.block(slot.Arm(), Durable, adds("0a", 1)))
	slot.Wait(canceled(), Patience{})
	r.turn()
	second := r.send(Durable, add("1b"))
	r.turn()
	r.sync()
	r.turn()
	if !onRelease {
		t.Fatal("the first call was told while nothing was under way for the second")
	}
	second.want("written, not synced", false)
	r.sync()
	r.turn()
	second.want("second sync", true)
}

// A sinkFunc is called when a slot is released.
type sinkFunc func()

func (sinkFunc) Refused(int, uint16, []byte, []byte, error) {}
func (f sinkFunc) Released()                                { f() }

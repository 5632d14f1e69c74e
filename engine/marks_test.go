package engine

import (
	"slices"
	"testing"

	"github.com/keyfold/keyfold/shard"
)

// Goal: a source is never told that something is settled which is not, also when what was
// queued for one shard is split among others before it was sent. Method: a mark that counts
// an event of the first outlet, which then moves to the second.
func TestMarkFollowsEventsThatAreRoutedAgain(t *testing.T) {
	var slots shard.Slots
	outlets := make([]outlet, 2)
	for i := range outlets {
		outlets[i].slot = slots.New()
	}
	var m marks
	m.add(5, outlets) // nothing of it was queued: it is due whatever moves
	outlets[0].queued, outlets[1].queued = 1, 0
	m.add(10, outlets)
	sent := []uint64{0, 0}
	outlets[0].queued, outlets[1].queued = 0, 1
	m.rerouted(sent, outlets)
	outlets[0].queued = 1 // a later event
	if n := m.due(outlets); n != 5 {
		t.Fatalf("%d records are settled, want 5: the event is in the second outlet", n)
	}
	if want := [2]uint64{0, 1}; [2]uint64(m.ring[1].queued) != want {
		t.Fatalf("the mark waits for %v, want %v", m.ring[1].queued, want)
	}
}

// Goal: the same, when the event moves to a shard that is newer than the mark.
func TestMarkWaitsForAShardThatIsNewerThanIt(t *testing.T) {
	var slots shard.Slots
	outlets := []outlet{{slot: slots.New()}, {slot: slots.New()}}
	outlets[0].queued, outlets[1].queued = 10, 10 // none of the second's has left
	var m marks
	m.add(20, outlets)
	outlets = append(outlets, outlet{slot: slots.New()}) // Resize; half of what the second was to get is its now
	outlets[1].queued, outlets[2].queued = 5, 5
	m.rerouted([]uint64{10, 0, 0}, outlets)
	if have := m.ring[0].queued; !slices.Equal(have, []uint64{10, 5, 5}) {
		t.Fatalf("the mark waits for %v, want 10, 5 and 5", have)
	}
}

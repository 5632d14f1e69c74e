package engine

import (
	"fmt"
	"math"
	"time"
)

// A TTL says how long the keys of a table live. The zero TTL is for ever.
//
// A key that is due is removed by its shard, as if an event had removed it: by the time
// that is logged, in the order of when keys are due within a partition, and again in a
// replay, which looks at no clock. It is there until then; what comes for it before that
// finds it alive, and puts off an idle time. A shard that has nothing else to do removes
// it at once, one that is busy within some turns.
type TTL struct {
	// Idle is how long a key lives after its last event. A timer is no event. 0 means for
	// ever.
	Idle time.Duration
	// Age is how long a key lives after it was made. 0 means for ever.
	Age time.Duration
	// Downtime says whether time passes for the table while the store is not open. It
	// goes for timers, too.
	Downtime DowntimeMode
}

// A DowntimeMode says whether time passes for a table while the store is not open.
type DowntimeMode uint8

// The modes of downtime.
const (
	// DowntimeCounts is the default: what was due in the meantime is fired after the next
	// open.
	DowntimeCounts DowntimeMode = iota
	// DowntimeStops stops the table's clock: everything is due later by so long as the
	// store was down, so that a long outage ends no session. After a crash it was down
	// from its last event on.
	DowntimeStops
)

// durationMax is the longest time that a key can live.
const durationMax = 100 * 365 * 24 * time.Hour

// checkTimes says what is wrong with the times of a table.
func (d *declaration) checkTimes() error {
	t := &d.ttl
	for name, lived := range map[string]time.Duration{"Idle": t.Idle, "Age": t.Age} {
		if lived < 0 || lived > durationMax {
			return fmt.Errorf("keyfold: table %q: TTL.%s must be 0 to %v, not %v", d.name, name, durationMax, lived)
		}
	}
	if t.Downtime > DowntimeStops {
		return fmt.Errorf("keyfold: table %q: TTL.Downtime must be one of the DowntimeModes, not %d", d.name, t.Downtime)
	}
	if d.expires && t.Idle == 0 && t.Age == 0 {
		return fmt.Errorf("keyfold: table %q has an OnExpire, and no TTL", d.name)
	}
	return nil
}

// A request is what a function of a table wants to become of the key's times.
type request struct {
	asked requestKind
	kept  bool
	timer int64 // by the table's clock; if asked to set one
}

type requestKind uint8

const (
	askedNothing requestKind = iota
	askedTimer
	askedNoTimer
)

// SetTimer sets the timer of the key: OnTimer is called at that time or, if it has come
// already, right after this function has returned, at a later Now. A key has one timer:
// this one replaces it. It is kept with the state, and goes with it. In Init and Check
// it does nothing. It panics if the table has no OnTimer.
func (c *Context[K]) SetTimer(at time.Time) {
	if !c.timers {
		panic("keyfold: SetTimer in a table without OnTimer")
	}
	c.request.asked, c.request.timer = askedTimer, c.clock+int64(clamp(at.Sub(time.Unix(0, c.now))))
}

// clamp bounds the time from now until a timer.
func clamp(d time.Duration) time.Duration { return min(max(d, 1), math.MaxInt64/2) }

// StopTimer makes the key have no timer. In Init and Check it does nothing.
func (c *Context[K]) StopTimer() { c.request.asked = askedNoTimer }

// Keep keeps the key that OnExpire is called for: its idle time and its age begin again.
// Elsewhere it does nothing.
func (c *Context[K]) Keep() { c.request.kept = true }

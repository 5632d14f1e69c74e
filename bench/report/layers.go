package report

import (
	"fmt"
	"io"
	"time"

	"github.com/keyfold/keyfold/bench/store"
)

// Layers is what the layers of a store did under a load.
type Layers struct {
	// Once is nil unless events had ids.
	Once *Once `json:"once,omitempty"`
	// Name is that of the producers or sources; "" if they had none.
	Name string `json:"name,omitempty"`
	// Time is nil unless the table has timers or its keys an end.
	Time *Time `json:"time,omitempty"`
	// Changes is what a reader of the changes has read; nil without one.
	Changes *store.Read `json:"changes,omitempty"`
}

// Time is what was due under a load, and behind it if it was waited for.
type Time struct {
	// Timer is how long after an event the timer of its key is due, Idle and Age how long a
	// key lives; 0: none, for ever.
	Timer time.Duration `json:"timer_ns"`
	Idle  time.Duration `json:"ttl_idle_ns"`
	Age   time.Duration `json:"ttl_age_ns"`
	store.Timers
}

// Once is what became of events with ids, those of a warm-up included.
type Once struct {
	// IDs is how many ids a partition remembers.
	IDs int `json:"ids"`
	store.Again
	// Skipped is how many events the store did not do, because it had.
	Skipped uint64 `json:"skipped"`
}

// end writes the rows of the end table.
func (l *Layers) end(w io.Writer) {
	if l.Once != nil {
		row(w, "ids", "%s", l.Once.words())
	}
	if l.Name != "" {
		row(w, "name", "%s: the store has each go on where it has stopped", l.Name)
	}
	if l.Time != nil {
		l.Time.end(w)
	}
	if c := l.Changes; c != nil {
		with := ""
		if c.States {
			with = " with the states that they left"
		}
		row(w, "changes", "%s read%s in %.2f s: %s/s; the last one %s behind the load · lag p50 %s · p99 %s · max %s (from apply to the reader)",
			Count(c.Events+c.Fired), with, c.Seconds, Count(int64(c.PerSecond)), Nanos(int64(1e9*c.Behind)), Nanos(c.Lag.P50), Nanos(c.Lag.P99), Nanos(c.Lag.Max))
	}
}

func (t *Time) end(w io.Writer) {
	if t.Timer > 0 {
		row(w, "timers", "%s after each event · %s fired, %s pending · late p50 %s · p99 %s · max %s", t.Timer, Count(t.Fired), Count(t.Pending),
			Nanos(t.Late.P50), Nanos(t.Late.P99), Nanos(t.Late.Max))
	}
	if t.Idle > 0 || t.Age > 0 {
		row(w, "ttl", "%s have come to their end", plural(t.Expired, "key"))
	}
}

func (o *Once) words() string {
	s := fmt.Sprintf("%s remembered in each partition", Count(o.IDs))
	if o.Resent == 0 {
		return s
	}
	s += fmt.Sprintf(" · %s sent again, %s without waiting for an answer; %s skipped", plural(o.Resent, "event"), Count(o.Unanswered), Count(o.Skipped))
	if o.Different > 0 {
		s += fmt.Sprintf("; %s ANSWERED OTHERWISE", Count(o.Different))
	}
	return s
}

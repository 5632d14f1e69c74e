package store

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/keyfold/keyfold/bench/workload"
	"github.com/keyfold/keyfold/engine"
)

// Layers are what a store under load has beyond keys and their states. The zero Layers are
// none.
type Layers struct {
	// Once is how many ids each partition remembers; with 0 events have none. Events with
	// ids are sent by calls and in batches.
	Once int `json:"once,omitempty"`
	// Resend is the share of the events with ids that are sent again.
	Resend float64 `json:"resend,omitempty"`
	// Name is that of producers and sources, each of which adds its number; "" is none.
	Name string `json:"name,omitempty"`
	// First is added to the ordinal of an event for its id, or for its place in what a
	// producer with a name sends: it tells streams to one store apart.
	First uint64 `json:"first,omitempty"`
	// Timer is how long after an event the timer of its key fires; 0: keys have none.
	Timer time.Duration `json:"timer_ns,omitempty"`
	// Idle and Age are how long a key lives after its last event, and at all; 0: for ever.
	Idle time.Duration `json:"ttl_idle_ns,omitempty"`
	Age  time.Duration `json:"ttl_age_ns,omitempty"`
	// KeepBytes and KeepAge are how much of the log is kept; 0: none.
	KeepBytes int64         `json:"keep_log_bytes,omitempty"`
	KeepAge   time.Duration `json:"keep_log_age_ns,omitempty"`
}

// OnceMax bounds Layers.Once, as the engine does.
const OnceMax = 1 << 22

// check says what is wrong with the layers of a store that acknowledges so.
func (l *Layers) check(o *Options, ack engine.Ack) error {
	switch {
	case l.Once < 0 || l.Once > OnceMax:
		return fmt.Errorf("store: a partition remembers up to %d ids, not %d", OnceMax, l.Once)
	case !(l.Resend >= 0 && l.Resend <= 1):
		return fmt.Errorf("store: events are sent again with a share of 0 to 1, not %v", l.Resend)
	case l.Resend > 0 && l.Once == 0:
		return errors.New("store: only events with ids can be sent again: have some remembered, with --once")
	case l.Name != "" && (l.Once > 0 || o.Batch):
		return errors.New("store: producers and sources have names, calls and batches have ids")
	case l.Name != "" && ack != engine.Durable:
		return errors.New("store: producers and sources with a name need the ack durable")
	case l.Timer < 0 || l.Idle < 0 || l.Age < 0 || l.KeepBytes < 0 || l.KeepAge < 0:
		return errors.New("store: timers, times to live and what is kept of a log are not negative")
	}
	return nil
}

// idOf is the id of an event of a stream that begins at first: its place, and a mark so that
// it is never zero.
func idOf(first, ordinal uint64) (id engine.EventID) {
	place := first + ordinal
	for i := range 8 {
		id[i] = byte(place >> (8 * i))
	}
	copy(id[8:], "loadgen.")
	return id
}

// resent says whether an event is sent again: the same ones in each run.
func (l *Layers) resent(ordinal uint64) bool {
	return l.Resend > 0 && float64(scatter(ordinal)) < l.Resend*(math.MaxUint64+1.0)
}

// scatter spreads numbers over all of 64 bits.
func scatter(n uint64) uint64 {
	n = (n + 1) * 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// answering is a table whose answer is the count of the events of the key, so that a retry
// that is answered otherwise than the first call is found out.
func answering[S, E any](spec engine.Spec[string, S, E, struct{}], ids int, of func(*S) *workload.Stats) engine.Spec[string, S, E, uint64] {
	apply := spec.Apply
	return engine.Spec[string, S, E, uint64]{
		Name: spec.Name, Version: spec.Version, EventCodec: spec.EventCodec, OnTimer: spec.OnTimer,
		Apply: func(c *engine.Context[string], s *S, e E) uint64 {
			apply(c, s, e)
			return of(s).Count
		},
		Once: engine.Once{IDs: ids},
	}
}

// Again counts the events that were sent again.
type Again struct {
	// Resent is how many were, Unanswered of them before the first call had an answer.
	Resent     uint64 `json:"resent"`
	Unanswered uint64 `json:"resent_unanswered,omitempty"`
	// Different is how many of them were answered otherwise than the first time.
	Different uint64 `json:"answered_otherwise"`
}

// giveUpAfter is how long a call is waited for that is given up.
const giveUpAfter = 50 * time.Microsecond

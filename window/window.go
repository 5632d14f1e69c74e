// Package window has states that gather the events of a key by time: a [Session] ends
// after a gap without an event, a [Tumbling] window with its part of the clock.
//
// They are plain values to be put into the state of a table, and hold no pointers if the
// Value does not: what they cost is their size. Time is what the caller says it is. With
// Context.Now, and a timer of the key at Deadline, a window ends by itself; with a time
// out of the event, it ends with the first event that comes behind it.
//
//	type User struct {
//		Visit  window.Session[Clicks]
//		Visits int64
//	}
//
//	Apply: func(c *engine.Context[string], u *User, e Click) int64 {
//		if _, ended := u.Visit.Add(c.Now(), gap); ended {
//			u.Visits++
//		}
//		u.Visit.Value.Pages += e.Pages
//		c.SetTimer(u.Visit.Deadline(gap))
//		return u.Visits
//	},
//	OnTimer: func(c *engine.Context[string], u *User) {
//		if _, ended := u.Visit.End(c.Now(), gap); ended {
//			u.Visits++
//		}
//	},
package window

import "time"

// A Session is events with less than a gap between one and the next. The zero Session
// has none. It must be used by one goroutine at a time.
type Session[V any] struct {
	Start, Last int64 // nanoseconds of Unix time: of the first event and of the last
	Events      int64 // 0: there is no session
	Value       V     // the caller's, zero at the start
}

// Add adds an event. If it comes gap or more behind the last one, the session has ended
// and is returned, and the event begins another. One that comes late, but no more than gap
// before the first, belongs to the session too; what comes earlier than that is counted
// as if it came with the first.
func (s *Session[V]) Add(at time.Time, gap time.Duration) (before Session[V], ended bool) {
	now := at.UnixNano()
	if before, ended = s.End(at, gap); s.Events == 0 {
		s.Start, s.Last = now, now
	}
	if now >= s.Start-int64(gap) {
		s.Start = min(s.Start, now)
	}
	s.Last = max(s.Last, now)
	s.Events++
	return before, ended
}

// End ends the session if no event has come within gap up to now, now included, and
// returns it. It is for OnTimer.
func (s *Session[V]) End(now time.Time, gap time.Duration) (before Session[V], ended bool) {
	if s.Events == 0 || now.UnixNano() < s.Last+int64(gap) {
		return before, false
	}
	before, *s = *s, before
	return before, true
}

// Deadline is when the session ends if nothing comes until then, in UTC.
func (s *Session[V]) Deadline(gap time.Duration) time.Time {
	return time.Unix(0, s.Last+int64(gap)).UTC()
}

// A Tumbling window is the events in one part of the clock, which is divided into parts of
// the same width from the beginning of Unix time on. The zero Tumbling has none. It must
// be used by one goroutine at a time.
type Tumbling[V any] struct {
	Start  int64 // nanoseconds of Unix time
	Events int64 // 0: there is no window
	Late   int64 // events that came when their window had ended, since the first window
	Value  V     // the caller's, zero at the start
}

// Add adds an event. If it belongs to a later window, the one before has ended and is
// returned. One that belongs to an earlier window is late: it is counted as such, and
// ok is false.
func (w *Tumbling[V]) Add(at time.Time, width time.Duration) (before Tumbling[V], ended, ok bool) {
	start := floor(at.UnixNano(), int64(width))
	if w.Events > 0 && start < w.Start {
		w.Late++
		return before, false, false
	}
	before, ended = w.End(at, width)
	w.Start = start
	w.Events++
	return before, ended, true
}

// End ends the window if now is behind it, and returns it. It is for OnTimer.
func (w *Tumbling[V]) End(now time.Time, width time.Duration) (before Tumbling[V], ended bool) {
	if w.Events == 0 || now.UnixNano() < w.Start+int64(width) {
		return before, false
	}
	before = *w
	*w = Tumbling[V]{Start: w.Start, Late: w.Late}
	return before, true
}

// Deadline is when the window ends, in UTC.
func (w *Tumbling[V]) Deadline(width time.Duration) time.Time {
	return time.Unix(0, w.Start+int64(width)).UTC()
}

// floor is the largest multiple of width that is not above t.
func floor(t, width int64) int64 {
	rest := t % width
	if rest < 0 {
		rest += width
	}
	return t - rest
}

package bench

// unsettled are the events of a lane that are not acknowledged yet, in the order of
// Send, as runs of neighbours that wait since the same time. Its memory is bounded by
// the window. It belongs to the lane.
type unsettled struct {
	runs    []run
	head    int    // the runs before it are settled
	settled uint64 // so many events are in those
}

// run is some events that were sent one after the other.
type run struct {
	since int64  // when, or when they were due
	sent  int64  // when
	end   uint64 // how many events the lane had sent after the last of them
	next  uint64 // the ordinal after that of the last of them
}

// stampEvents is how many events of a closed loop share one reading of the clock.
const stampEvents = 64

// add begins a run of events that wait since one time and are sent at another.
func (u *unsettled) add(since, sent int64) {
	if len(u.runs) == cap(u.runs) && u.head > len(u.runs)/2 {
		u.runs = u.runs[:copy(u.runs, u.runs[u.head:])]
		u.head = 0
	}
	u.runs = append(u.runs, run{since: since, sent: sent})
}

// grow makes an event part of the last run.
func (u *unsettled) grow(sent, next uint64) {
	last := &u.runs[len(u.runs)-1]
	last.end, last.next = sent, next
}

// settle takes off the runs that end at count or before, and calls fn with each of
// them and the count of its events.
func (u *unsettled) settle(count uint64, fn func(r run, events uint64)) {
	for ; !u.empty() && u.runs[u.head].end <= count; u.head++ {
		r := u.runs[u.head]
		fn(r, r.end-u.settled)
		u.settled = r.end
	}
	if u.empty() {
		u.runs, u.head = u.runs[:0], 0
	}
}

func (u *unsettled) empty() bool { return u.head == len(u.runs) }

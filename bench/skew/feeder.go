package skew

import (
	"io"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/engine"
)

// A feeder is a source of events. It belongs to the shard that polls it, until its feed
// has ended.
type feeder struct {
	drive  *drive
	from   uint64
	at     int      // in the draws
	sent   []uint64 // by key
	polled uint64
	told   uint64
	polls  []poll // that are not settled
	slices []slice
}

// A poll is when the last of some events was handed out.
type poll struct {
	upTo uint64
	at   time.Duration
}

// A slice is what was settled in a part of the time.
type slice struct {
	events uint64
	times  *hdr.Histogram
}

// Range of the histograms, in nanoseconds.
const (
	timeLowest  = 64
	timeHighest = int64(10 * time.Minute)
)

// NewTimes is an empty histogram of nanoseconds.
func NewTimes() *hdr.Histogram { return hdr.New(timeLowest, timeHighest, 2) }

func newFeeder(d *drive, i int) *feeder {
	f := &feeder{drive: d, from: uint64(i), sent: make([]uint64, len(d.keys)), at: i * len(d.Load.draws) / d.Engine.Shards}
	for range int(d.total()/d.Slice) + 1 {
		f.slices = append(f.slices, slice{times: NewTimes()})
	}
	return f
}

// Poll is called by the shard.
func (f *feeder) Poll(records []engine.Record[Key, event]) (int, error) {
	d := f.drive
	now := time.Since(d.began)
	if now >= d.total() {
		return 0, io.EOF
	}
	draws, places := d.Load.draws, d.places[d.phase(now)]
	at := f.at
	for i := range records {
		if at == len(draws) {
			at = 0
		}
		key := places[draws[at]]
		at++
		r := &records[i]
		r.Key, r.Event = d.keys[key], event{From: f.from, Number: f.sent[key]}
		f.sent[key]++
	}
	f.at = at
	f.polled += uint64(len(records))
	f.polls = append(f.polls, poll{f.polled, now})
	return len(records), nil
}

// settled is called by the shard with the number of the first events that are settled.
func (f *feeder) settled(events uint64) {
	now := time.Since(f.drive.began)
	s := &f.slices[min(int(now/f.drive.Slice), len(f.slices)-1)]
	s.events += events - f.told
	done := 0
	for _, p := range f.polls {
		if f.told >= events {
			break
		}
		upTo := min(p.upTo, events)
		_ = s.times.RecordValues(min(int64(now-p.at), timeHighest), int64(upTo-f.told)) // it fits
		if f.told = upTo; upTo == p.upTo {
			done++
		}
	}
	f.polls = f.polls[:copy(f.polls, f.polls[done:])]
}

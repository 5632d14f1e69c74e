package drive

import (
	"errors"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
	"github.com/keyfold/keyfold/bench/peers/rival"
)

// reading is a lane that the store reads itself. Whoever reads it owns it until Read
// returns.
type reading struct {
	waiting batches
	sent    uint64
	settled uint64
	times   *hdr.Histogram
}

// read is the door rival.Stream of a store that takes the events itself. A latency runs
// from the taking of what is read at once.
func (d *driver) read(reader rival.Reader) ([]uint64, error) {
	lanes := make([]reading, len(d.parts))
	for i := range lanes {
		lanes[i].times = newHistogram(3)
	}
	end := d.laneEvents(len(lanes))
	d.start = d.start.Add(d.now()) // nothing is taken before it
	err := reader.Read(func(lane, most int) limit.Stream {
		l, now := &lanes[lane], d.now()
		if l.sent >= end || now >= d.cell.Duration {
			return limit.Stream{}
		}
		batch := job.Next(d.parts[lane], l.sent, uint64(most))
		l.sent += uint64(len(batch.Keys))
		l.waiting.add(waitingBatch{since: now, end: l.sent})
		return batch
	}, func(lane int, events uint64) {
		l, now := &lanes[lane], d.now()
		l.settled = events
		l.waiting.settle(events, func(b waitingBatch, n uint64) { record(l.times, now-b.since, n) })
	})
	sent := make([]uint64, len(lanes))
	for i := range lanes {
		d.add(lanes[i].times, nil)
		sent[i] = lanes[i].sent
		if err == nil && lanes[i].settled < lanes[i].sent {
			err = errors.New("not everything that was read is settled")
		}
	}
	return sent, err
}

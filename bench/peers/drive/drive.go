// Package drive measures one peer: it sends the events of a job through one door of an
// open store, and says how fast they were acknowledged, how late, and at what cost.
package drive

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"github.com/keyfold/keyfold/bench"
	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
	"github.com/keyfold/keyfold/bench/peers/rival"
	"github.com/keyfold/keyfold/internal/affinity"
)

// A Cell is one thing to measure.
type Cell struct {
	Sync rival.Sync `json:"sync"`
	Door rival.Door `json:"door"`
	// InFlight is how many events may be unacknowledged; 0 at the door rival.Stream.
	InFlight int `json:"in_flight"`
	// Events and Duration end the measurement, whichever comes first. Events are rounded up
	// to whole batches.
	Events   uint64        `json:"events"`
	Duration time.Duration `json:"duration"`
}

// Bounds of a cell.
const (
	streamEvents = 256 // a batch
	InFlightMax  = 1 << 16
)

// Measured is what came of a cell.
type Measured struct {
	Cell    Cell          `json:"cell"`
	Events  uint64        `json:"acknowledged"`
	Seconds float64       `json:"seconds"`
	Latency bench.Latency `json:"latency_ns"`
	Usage   Usage         `json:"usage"`
}

// PerSecond is the rate of acknowledged events.
func (m *Measured) PerSecond() float64 { return float64(m.Events) / max(m.Seconds, 1e-9) }

// Run sends the events of a cell from the beginning of each part, and tells expect what
// it has sent. There must be a part for each lane of r. With an error the store may hold
// more than expect knows.
func Run(r *rival.Rival, store rival.Store, parts []limit.Stream, c Cell, expect *job.Expect) (Measured, error) {
	d := &driver{rival: r, store: store, parts: parts, cell: c, start: time.Now(), times: newHistogram(3)}
	before := usageOf(store.Processes())
	d.start = time.Now()
	sent, err := d.send()
	seconds := time.Since(d.start).Seconds()
	m := Measured{Cell: c, Seconds: seconds, Latency: latencyOf(d.times), Usage: usageOf(store.Processes()).since(before, seconds)}
	if len(store.Processes()) == 0 {
		m.Usage.RSSBytes -= min(m.Usage.RSSBytes, streamBytes(parts))
	}
	for i, n := range sent {
		m.Events += n
		err = errors.Join(err, expect.Sent(parts[i], n, c.Door == rival.Callers))
	}
	if err != nil {
		return m, fmt.Errorf("drive: %s, %s: %w", r.Name, c.Door, err)
	}
	return m, nil
}

// streamBytes is the memory of the events, which is not the store's.
func streamBytes(parts []limit.Stream) (n uint64) {
	for _, p := range parts {
		n += uint64(len(p.Keys)) * (limit.KeyBytes + limit.EventBytes)
	}
	return n
}

// driver is a Run under way.
type driver struct {
	rival *rival.Rival
	store rival.Store
	parts []limit.Stream
	cell  Cell
	start time.Time

	mu    sync.Mutex
	times *hdr.Histogram
	errs  []error
}

// send returns how many events of each part were acknowledged.
func (d *driver) send() ([]uint64, error) {
	switch d.cell.Door {
	case rival.Callers:
		return d.callers()
	case rival.Window:
		return d.lanes(min(len(d.parts), d.cell.InFlight), d.window)
	}
	if reader, ok := d.store.(rival.Reader); ok {
		return d.read(reader)
	}
	return d.lanes(len(d.parts), d.stream)
}

// lanes runs send for the first n lanes, a goroutine each.
func (d *driver) lanes(n int, send func(door rival.Lane, index int, times *hdr.Histogram) (uint64, error)) ([]uint64, error) {
	sent, doors := make([]uint64, n), make([]rival.Lane, n)
	for i := range doors {
		var err error
		if doors[i], err = d.store.Lane(i); err != nil {
			return sent, err
		}
	}
	d.start = time.Now()
	var group sync.WaitGroup
	for i, door := range doors {
		group.Go(func() {
			defer d.pin(i, n)()
			times := newHistogram(3)
			var err error
			sent[i], err = send(door, i, times)
			d.add(times, err)
		})
	}
	group.Wait()
	return sent, errors.Join(d.errs...)
}

// pin pins the goroutine of a lane if the rival wants it and there is a CPU for each.
func (d *driver) pin(lane, lanes int) (unpin func()) {
	allowed, err := affinity.Allowed()
	if !d.rival.Pinned || err != nil || len(allowed) < lanes {
		return func() {}
	}
	runtime.LockOSThread()
	free, err := affinity.Pin(allowed[lane])
	return func() {
		if err == nil {
			_ = free() // the thread ends with the goroutine if it cannot be freed
		}
		runtime.UnlockOSThread()
	}
}

// add takes over what a goroutine has measured.
func (d *driver) add(times *hdr.Histogram, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times.Merge(times)
	if err != nil {
		d.errs = append(d.errs, err)
	}
}

// now is the time since the start.
func (d *driver) now() time.Duration { return time.Since(d.start) }

// laneEvents is how many events one of n lanes or parts sends at most.
func (d *driver) laneEvents(n int) uint64 { return (d.cell.Events + uint64(n) - 1) / uint64(n) }

// window is the door rival.Window of one lane.
func (d *driver) window(door rival.Lane, index int, times *hdr.Histogram) (uint64, error) {
	lanes := min(len(d.parts), d.cell.InFlight)
	size := uint64(max(1, d.cell.InFlight/lanes))
	sent, end := uint64(0), d.laneEvents(lanes)
	for now := d.now(); sent < end && now < d.cell.Duration; {
		batch := job.Next(d.parts[index], sent, size)
		err := door.Apply(batch)
		if err == nil {
			err = door.Flush()
		}
		if err != nil {
			return sent, err
		}
		sent += uint64(len(batch.Keys))
		since := now
		now = d.now()
		record(times, now-since, uint64(len(batch.Keys)))
	}
	return sent, nil
}

// stream is the door rival.Stream of one lane.
func (d *driver) stream(door rival.Lane, index int, times *hdr.Histogram) (uint64, error) {
	var waiting batches
	settle := func() {
		now := d.now()
		waiting.settle(door.Settled(), func(b waitingBatch, events uint64) { record(times, now-b.since, events) })
	}
	sent, end := uint64(0), d.laneEvents(len(d.parts))
	for now := d.now(); sent < end && now < d.cell.Duration; now = d.now() {
		batch := job.Next(d.parts[index], sent, streamEvents)
		if err := door.Apply(batch); err != nil {
			return sent, err
		}
		sent += uint64(len(batch.Keys))
		waiting.add(waitingBatch{since: now, end: sent})
		settle()
	}
	err := door.Flush()
	settle()
	return sent, err
}

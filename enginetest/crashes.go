package enginetest

import (
	"context"
	"fmt"
	"slices"

	"github.com/keyfold/keyfold/internal/crashfs"
)

// A history is what a run has shown: at first, and then twice for each event, when its
// time had come and what was due was fired, and when it was done.
type history[K comparable] []image[K]

// crashes ends a run after each operation of the disk, by all that a crash may do to what
// was not synced in turn, and looks at what a recovery finds.
func (r *trial[K, S, E, R]) crashes() error {
	events := r.events(crashEvents)
	s := newSite(r.spec, crashfs.New())
	defer s.end()
	if err := s.open(1); err != nil {
		return err
	}
	first := s.disk.Ops()
	want, err := s.record(events)
	if err != nil {
		return err
	}
	last := s.disk.Ops()
	s.end()
	for n := first; n <= last; n++ {
		models := crashfs.Models(r.seed + uint64(n))
		model := models[n%len(models)]
		if err := r.crashAfter(n, model, events, want); err != nil {
			return fmt.Errorf("after a crash behind operation %d of the disk (%v): %w", n, model, err)
		}
	}
	return nil
}

// record runs all events and notes what is shown.
func (s *site[K, S, E, R]) record(events []sending[K, E]) (history[K], error) {
	keys := keysOf(events)
	var all history[K]
	note := func() error {
		shown, err := look(s.table, keys)
		all = append(all, shown)
		return err
	}
	err := note()
	for i, e := range events {
		if err == nil {
			err = s.advance(e.at)
		}
		if err == nil {
			err = note()
		}
		if err == nil {
			err = send(s.table, e)
		}
		if err == nil {
			err = note()
		}
		if err == nil {
			err = s.pause(i)
		}
	}
	return all, err
}

// pause takes a snapshot in the middle of a run.
func (s *site[K, S, E, R]) pause(event int) error {
	if event != crashEvents/2 {
		return nil
	}
	return s.engine.Snapshot(context.Background())
}

// crashAfter ends a run after n operations of the disk. Every key must then be as after
// the last event that was acknowledged, or as later, up to the event that was under way.
func (r *trial[K, S, E, R]) crashAfter(n int, model crashfs.Model, events []sending[K, E], want history[K]) error {
	s := newSite(r.spec, crashfs.New())
	defer s.end()
	s.disk.StopAfter(n)
	if err := s.open(1); err != nil {
		return fmt.Errorf("it cannot be opened at all: %w", err)
	}
	acked := 0
	for i, e := range events {
		_, err := s.send(e)
		if err == nil {
			acked++
			err = s.pause(i)
		}
		if err != nil {
			break
		}
	}
	again := newSite(r.spec, s.crash(model))
	defer again.end()
	again.now.Store(s.now.Load())
	if err := again.open(1); err != nil {
		return fmt.Errorf("it cannot be opened again: %w", err)
	}
	for _, k := range keysOf(events) {
		text, err := lookAt(again.table, k)
		if err != nil {
			return err
		}
		var may []string
		for _, shown := range want[2*acked : min(len(want), 2*acked+3)] {
			may = append(may, shown[k])
		}
		if may = slices.Compact(may); !slices.Contains(may, text) {
			return fmt.Errorf("%d events had been acknowledged, and key %s must be\n%q, and is\n%q", acked, dump(&k), may, text)
		}
	}
	return nil
}

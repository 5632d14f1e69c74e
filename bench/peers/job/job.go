// Package job is the work that every peer is given: a stream of events that is drawn
// before anything is measured, the fold of events into the states of their keys, and
// what the states must come to. Keys, events and states are those of package limit.
package job

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/workload"
)

// A Spec says which stream to draw.
type Spec struct {
	Keys uint64 `json:"keys"`
	Dist string `json:"dist"`
	Seed uint64 `json:"seed"`
	// Events is how many are drawn. A load that is longer goes through them again.
	Events uint64 `json:"events"`
}

// Draw draws a stream and splits it over lanes by key.
func Draw(s Spec, lanes int) ([]limit.Stream, error) {
	g, err := workload.NewGenerator(workload.Generated{Keys: s.Keys, Dist: s.Dist, Seed: s.Seed, Events: s.Events})
	if err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	all := limit.Stream{Keys: make([]limit.Key, 0, s.Events), Events: make([]limit.Event, 0, s.Events)}
	err = workload.ForEach(g, func(e workload.Event) error {
		all.Keys = append(all.Keys, limit.Key(e.Key))
		all.Events = append(all.Events, eventOf(int64(e.Value), e.Ordinal))
		return nil
	})
	if err != nil || lanes == 1 {
		return []limit.Stream{all}, err
	}
	parts := limit.Split(all, lanes)
	for _, p := range parts {
		if len(p.Keys) == 0 {
			return nil, fmt.Errorf("job: %d events of %d keys leave one of %d lanes without any", s.Events, s.Keys, lanes)
		}
	}
	return parts, nil
}

// eventOf is an event of a value, with an ordinal and sixteen bytes that do not
// compress.
func eventOf(value int64, ordinal uint64) limit.Event {
	noise := (ordinal + 1) * 0x9e3779b97f4a7c15
	return limit.Event{Value: value, Rest: [3]int64{int64(ordinal), int64(noise), int64(noise*0xff51afd7ed558ccd ^ noise>>31)}}
}

// Next is up to n events of a stream from a position that only grows, as far as they
// lie together; behind the end of the stream it begins again. They are borrowed.
func Next(s limit.Stream, position, n uint64) limit.Stream {
	at := position % uint64(len(s.Keys))
	end := min(at+n, uint64(len(s.Keys)))
	return limit.Stream{Keys: s.Keys[at:end], Events: s.Events[at:end]}
}

// fillEvents is how many events of Fill are handed over together.
const fillEvents = 4096

// Fill calls apply with one event of value 0 for each key, split over lanes, so that
// what is measured afterwards is the change of states and not their making.
func Fill(keys uint64, lanes int, apply func(lane int, batch limit.Stream) error) error {
	parts := make([]limit.Stream, lanes)
	flush := func(lane int) error {
		p := &parts[lane]
		err := apply(lane, *p)
		p.Keys, p.Events = p.Keys[:0], p.Events[:0]
		return err
	}
	for number := range keys {
		key := KeyOf(number)
		lane := key.Part(lanes)
		p := &parts[lane]
		p.Keys, p.Events = append(p.Keys, key), append(p.Events, eventOf(0, number))
		if len(p.Keys) == fillEvents {
			if err := flush(lane); err != nil {
				return err
			}
		}
	}
	var errs []error
	for lane := range parts {
		errs = append(errs, flush(lane))
	}
	return errors.Join(errs...)
}

// KeyOf is the key of a number.
func KeyOf(number uint64) (k limit.Key) {
	workload.AppendKey(k[:0], number)
	return k
}

// Bytes is the memory of an event.
func Bytes(e *limit.Event) []byte { return (*[limit.EventBytes]byte)(unsafe.Pointer(e))[:] }

// ValueOf is the value of an event that lies in bytes.
func ValueOf(event []byte) int64 { return int64(binary.NativeEndian.Uint64(event)) }
